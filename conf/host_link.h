/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What our own kernel knows about an interface, from rtnetlink: addresses and default routes, as
 * an administrator or a DHCP client has set them there. It is always read as a whole: a
 * change only says that it is time to.
 */
#pragma once

#include "conf/live.h"

struct nlmsghdr;

struct host_address {
	union address address;
	uint8_t length;
	bool deprecated;
};

struct host_link {
	unsigned ifindex;
	bool has_address[FAMILIES];
	struct host_address address[FAMILIES]; /* the best one so far */
	bool has_gateway[FAMILIES];
	uint32_t metric[FAMILIES]; /* of the best default route so far */
	union address gateway[FAMILIES];
};

/**
 * Take one message of a dump: RTM_NEWADDR or RTM_NEWROUTE. What is about other interfaces, or of
 * no use, or malformed, is skipped.
 */
void host_link_message(struct host_link *link, const struct nlmsghdr *message);

/** Make settings of what has been taken. Resolvers are left alone. */
void host_link_settle(const struct host_link *link, struct live_uplink *uplink);

/**
 * Ask the kernel. It answers at once.
 * @param ifname that need not exist: then nothing is found
 * @return 0 or -errno; -EINTR: it changed meanwhile, ask again
 */
int host_link_read(const char *ifname, struct live_uplink *uplink);

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What our own kernel and the network beyond the uplink say to each other before there is an
 * address to say it with: DHCP, and the neighbour and router discovery that IPv6 needs for its own
 * link-local address. It passes between host port and uplink as it is. This is the one way
 * past flows and rules, so it is narrow: nothing in here means more than one of these messages,
 * complete and well-formed, and answers must have been asked for (see app/configure.c).
 */
#pragma once

#include "classifier/policy.h"

enum configuring {
	CONFIGURING_NOT,  /* a packet like any other */
	CONFIGURING_PASS, /* goes to the other side as it is */
	CONFIGURING_COPY, /* is for us, and the other side gets a copy */
	CONFIGURING_NOTE, /* a packet like any other, but what it asks will be answered to the host
			   */
};

/* Messages that are answered by the number of the question. */
enum configuring_protocol {
	CONFIGURING_DHCP,      /* RFC 2131 */
	CONFIGURING_DHCPV6,    /* RFC 8415 */
	CONFIGURING_DISCOVERY, /* RFC 4861: has no numbers */
	CONFIGURING_PROTOCOLS
};

struct configuring_message {
	enum configuring kind;
	enum configuring_protocol protocol;
	uint32_t id; /* transaction, as it stands there */
};

/**
 * What a parsed packet is in this respect. Only with `policy->configuring`.
 * @param from_host else from the uplink
 * @param own_mac of the uplink, as mac_word() packs it; of what comes from there
 */
struct configuring_message configuring_message(const struct policy *policy, bool from_host,
	uint64_t own_mac, const struct rte_mbuf *mbuf, const struct packet *packet);

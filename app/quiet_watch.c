/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When to look whether the kernel is still deaf.
 *
 * Two netlink sockets tell of changes: addresses, interfaces and their forwarding; nftables. What
 * they say is only a reason to look, and looking is what finds and repairs (quiet_look). So a
 * message may be lost or forged without harm, and those that our own repairs cause end in a look
 * that finds nothing. Some settings change without a message: for them there is a slow look.
 *
 * Whoever changes things all the time must not keep the control thread busy: after a look there is
 * none for LOOK_LEAST_MS, and what was said meanwhile is one look at its end.
 */
#include "app/quiet_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/netconf.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>

#include "app/event.h"
#include "app/quiet.h"

#define LOOK_LEAST_MS 100
#define LOOK_MOST_S 5
/* Of one socket before others have their turn. */
#define READS_MAX 16

struct quiet_watch {
	struct daemon *daemon;
	struct event *timer;
	bool soon; /* the timer was set to the earliest time there may be */
	uint64_t looked_ms;
	struct source {
		struct mnl_socket *socket;
		struct event *event;
	} sources[2];
};

static uint64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
timer_set(struct quiet_watch *watch, uint64_t ms)
{
	const struct timeval delay = {
		.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	evtimer_add(watch->timer, &delay);
}

static void
told(void *context, const char *ifname, const char *what, const char *error)
{
	struct daemon *daemon = context;

	if (error == NULL)
		event_emit(daemon, "deaf",
			json_pack("{s:o, s:s, s:s, s:b}", "text",
				json_sprintf("somebody let the kernel hear %s (%s): it is deaf "
					     "again",
					ifname, what),
				"interface", ifname, "changed", what, "restored", 1));
	else
		event_emit(daemon, "deaf",
			json_pack("{s:o, s:s, s:s, s:b, s:s}", "text",
				json_sprintf("somebody let the kernel hear %s (%s), and it stays "
					     "so: %s",
					ifname, what, error),
				"interface", ifname, "changed", what, "restored", 0, "reason",
				error));
}

static void
look(evutil_socket_t number, short events, void *context)
{
	struct quiet_watch *watch = context;

	(void)number, (void)events;
	quiet_look(told, watch->daemon);
	watch->soon = false;
	watch->looked_ms = now_ms();
	timer_set(watch, LOOK_MOST_S * UINT64_C(1000));
}

static void
look_soon(struct quiet_watch *watch)
{
	uint64_t since_ms = now_ms() - watch->looked_ms;

	if (watch->soon)
		return;
	watch->soon = true;
	timer_set(watch, since_ms < LOOK_LEAST_MS ? LOOK_LEAST_MS - since_ms : 0);
}

/* ---- what the kernel says; @return whether it may concern us */

static int
netconf_index(const struct nlattr *attribute, void *context)
{
	int32_t *index = context;

	if (mnl_attr_get_type(attribute) != NETCONFA_IFINDEX ||
		mnl_attr_validate(attribute, MNL_TYPE_U32) < 0)
		return MNL_CB_OK;
	*index = (int32_t)mnl_attr_get_u32(attribute);
	return MNL_CB_STOP;
}

static bool
route_concerns(const struct nlmsghdr *message)
{
	const void *payload = mnl_nlmsg_get_payload(message);
	size_t size = mnl_nlmsg_get_payload_len(message);
	int32_t index = 0;

	switch (message->nlmsg_type) {
	case RTM_NEWADDR:
		if (size >= sizeof(struct ifaddrmsg))
			index = (int32_t)((const struct ifaddrmsg *)payload)->ifa_index;
		break;
	case RTM_NEWLINK:
		if (size >= sizeof(struct ifinfomsg))
			index = ((const struct ifinfomsg *)payload)->ifi_index;
		break;
	case RTM_NEWNETCONF:
		if (size >= sizeof(struct netconfmsg))
			(void)mnl_attr_parse(
				message, sizeof(struct netconfmsg), netconf_index, &index);
		break;
	default:
		break;
	}
	/* negative ones mean all interfaces, or those to come */
	return index < 0 || (index > 0 && quiet_find((unsigned)index) != NULL);
}

static int
table_compare(const struct nlattr *attribute, void *context)
{
	bool *ours = context;

	/* tables, chains and rules name their table in their first attribute */
	if (mnl_attr_get_type(attribute) != NFTA_TABLE_NAME)
		return MNL_CB_OK;
	*ours = mnl_attr_validate(attribute, MNL_TYPE_NUL_STRING) >= 0 &&
		strcmp(mnl_attr_get_str(attribute), "sluice") == 0;
	return MNL_CB_STOP;
}

/* Anything about our table, which others have no business with. */
static bool
rules_concern(const struct nlmsghdr *message)
{
	const struct nfgenmsg *head = mnl_nlmsg_get_payload(message);
	bool ours = false;

	if (NFNL_SUBSYS_ID(message->nlmsg_type) == NFNL_SUBSYS_NFTABLES &&
		mnl_nlmsg_get_payload_len(message) >= sizeof(*head) &&
		head->nfgen_family == NFPROTO_NETDEV)
		(void)mnl_attr_parse(message, sizeof(*head), table_compare, &ours);
	return ours;
}

static bool
messages_concern(const char *bytes, int length)
{
	const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)bytes;

	for (; mnl_nlmsg_ok(message, length); message = mnl_nlmsg_next(message, &length))
		if (message->nlmsg_type >= NLMSG_MIN_TYPE &&
			(NFNL_SUBSYS_ID(message->nlmsg_type) != NFNL_SUBSYS_NONE
					? rules_concern(message)
					: route_concerns(message)))
			return true;
	return false;
}

static void
heard(evutil_socket_t number, short events, void *context)
{
	struct quiet_watch *watch = context;
	_Alignas(NLMSG_ALIGNTO) char buffer[16384];

	(void)events;
	for (unsigned i = 0; i < READS_MAX; i++) {
		ssize_t length = recv((int)number, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (length < 0 && errno != ENOBUFS)
			return;
		/* some were lost, or this is one that does not fit: who knows of what */
		if (length < 0 || (size_t)length == sizeof(buffer) ||
			messages_concern(buffer, (int)length))
			look_soon(watch);
	}
}

/* ---- */

static bool
source_open(struct quiet_watch *watch, struct source *source, int bus, const unsigned *groups)
{
	source->socket = mnl_socket_open2(bus, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (source->socket == NULL || mnl_socket_bind(source->socket, 0, MNL_SOCKET_AUTOPID) != 0)
		return false;
	for (; *groups != 0; groups++) {
		int group = (int)*groups;

		if (mnl_socket_setsockopt(
			    source->socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0)
			return false;
	}
	source->event = event_new(watch->daemon->base, mnl_socket_get_fd(source->socket),
		EV_READ | EV_PERSIST, heard, watch);
	return source->event != NULL && event_add(source->event, NULL) == 0;
}

int
quiet_watch_create(struct daemon *daemon, const struct report *report, struct quiet_watch **out)
{
	static const unsigned route_groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
		RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF, 0};
	static const unsigned rules_groups[] = {NFNLGRP_NFTABLES, 0};
	struct quiet_watch *watch = calloc(1, sizeof(*watch));

	if (watch == NULL)
		return -ENOMEM;
	watch->daemon = daemon;
	watch->timer = evtimer_new(daemon->base, look, watch);
	if (watch->timer == NULL) {
		free(watch);
		return -ENOMEM;
	}
	if (!source_open(watch, &watch->sources[0], NETLINK_ROUTE, route_groups))
		report_line(report,
			"the kernel does not tell of addresses: %s; looked for every "
			"%d s",
			strerror(errno), LOOK_MOST_S);
	if (!source_open(watch, &watch->sources[1], NETLINK_NETFILTER, rules_groups))
		report_line(report,
			"the kernel does not tell of nftables: %s; looked at every "
			"%d s",
			strerror(errno), LOOK_MOST_S);
	/* what was changed since the ports were opened */
	look_soon(watch);
	*out = watch;
	return 0;
}

void
quiet_watch_free(struct quiet_watch *watch)
{
	if (watch == NULL)
		return;
	for (unsigned i = 0; i < 2; i++) {
		if (watch->sources[i].event != NULL)
			event_free(watch->sources[i].event);
		if (watch->sources[i].socket != NULL)
			mnl_socket_close(watch->sources[i].socket);
	}
	event_free(watch->timer);
	free(watch);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is there is compared with what should be: the one is deleted, then the other added. In this
 * order, because the kernel takes an IPv4 address away with the first one of its network, and the
 * routes of a family with its last address.
 *
 * A gateway is reached whether it is in the address's network or not (RTNH_F_ONLINK): behind a /32
 * of Qubes it never is. Routes have a high metric, so that somebody who has another way out, such
 * as a card for his own access, keeps it.
 */
#include "app/host_interface.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <libmnl/libmnl.h>

/* As IPv6 routes have it that nobody gave one. */
#define METRIC 1024
/* Things to take away at a time; more are left for the next time. */
#define SURPLUS_MAX 32
#define REQUEST_SIZE 256
#define ANSWER_SIZE 32768
#define TYPES 32

_Static_assert(IFA_FLAGS < TYPES && RTA_TABLE < TYPES, "all that are asked for have a place");

static const uint8_t family_code[FAMILIES] = {[FAMILY_IPV4] = AF_INET, [FAMILY_IPV6] = AF_INET6};

struct thing {
	enum family family;
	uint8_t length;        /* of an address */
	uint8_t protocol;      /* of a route */
	uint32_t metric;       /* of a route */
	bool has_gateway;      /* a route without one is a way to the link */
	union address address; /* or a route's gateway */
};

struct sight {
	unsigned ifindex;
	const struct live_uplink *wanted;
	bool has_address[FAMILIES], has_route[FAMILIES];
	unsigned address_count, route_count;
	struct thing addresses[SURPLUS_MAX], routes[SURPLUS_MAX];
};

/* ---- what is there */

static int
attribute_note(const struct nlattr *attribute, void *context)
{
	const struct nlattr **attributes = context;

	if (mnl_attr_get_type(attribute) < TYPES)
		attributes[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}

static bool
family_take(uint8_t code, enum family *family)
{
	*family = code == AF_INET ? FAMILY_IPV4 : FAMILY_IPV6;
	return code == AF_INET || code == AF_INET6;
}

static size_t
address_size(enum family family)
{
	return family == FAMILY_IPV4 ? sizeof(((union address *)0)->v4)
				     : sizeof(((union address *)0)->v6);
}

static bool
address_take(const struct nlattr *attribute, enum family family, union address *address)
{
	*address = (union address){0};
	if (attribute == NULL || mnl_attr_get_payload_len(attribute) != address_size(family))
		return false;
	memcpy(address, mnl_attr_get_payload(attribute), address_size(family));
	return true;
}

static uint32_t
number_of(const struct nlattr *attribute, uint32_t otherwise)
{
	return attribute != NULL && mnl_attr_get_payload_len(attribute) == sizeof(uint32_t)
		       ? mnl_attr_get_u32(attribute)
		       : otherwise;
}

static int
address_seen(const struct nlmsghdr *message, void *context)
{
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attributes[TYPES] = {NULL};
	struct sight *sight = context;
	struct thing thing = {0};

	if (message->nlmsg_type != RTM_NEWADDR ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*head) ||
		!family_take(head->ifa_family, &thing.family) ||
		head->ifa_index != sight->ifindex ||
		mnl_attr_parse(message, sizeof(*head), attribute_note, attributes) < 0 ||
		!address_take(attributes[attributes[IFA_LOCAL] != NULL ? IFA_LOCAL : IFA_ADDRESS],
			thing.family, &thing.address))
		return MNL_CB_OK;
	thing.length = head->ifa_prefixlen;
	/* What the kernel gives itself, and needs for its neighbours. */
	if (thing.family == FAMILY_IPV6 && head->ifa_scope == RT_SCOPE_LINK)
		return MNL_CB_OK;
	if (sight->wanted->has[thing.family] &&
		thing.length == sight->wanted->link[thing.family].length &&
		address_equal(&thing.address, &sight->wanted->address[thing.family]))
		sight->has_address[thing.family] = true;
	else if (sight->address_count < SURPLUS_MAX)
		sight->addresses[sight->address_count++] = thing;
	return MNL_CB_OK;
}

static int
route_seen(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *head = mnl_nlmsg_get_payload(message);
	const struct nlattr *attributes[TYPES] = {NULL};
	struct sight *sight = context;
	struct thing thing = {0};

	if (message->nlmsg_type != RTM_NEWROUTE ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*head) ||
		!family_take(head->rtm_family, &thing.family) || head->rtm_dst_len != 0 ||
		head->rtm_src_len != 0 || head->rtm_type != RTN_UNICAST ||
		(head->rtm_flags & RTM_F_CLONED) != 0 ||
		mnl_attr_parse(message, sizeof(*head), attribute_note, attributes) < 0 ||
		number_of(attributes[RTA_OIF], 0) != sight->ifindex ||
		number_of(attributes[RTA_TABLE], head->rtm_table) != RT_TABLE_MAIN)
		return MNL_CB_OK;
	thing.has_gateway = address_take(attributes[RTA_GATEWAY], thing.family, &thing.address);
	thing.protocol = head->rtm_protocol;
	thing.metric = number_of(attributes[RTA_PRIORITY], 0);
	if (sight->wanted->has_gateway[thing.family] && thing.has_gateway &&
		address_equal(&thing.address, &sight->wanted->gateway[thing.family]))
		sight->has_route[thing.family] = true;
	else if (sight->route_count < SURPLUS_MAX)
		sight->routes[sight->route_count++] = thing;
	return MNL_CB_OK;
}

/* ---- talking */

/* Send a request and take all answers. @return 0 or -errno */
static int
talk(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t found, void *context)
{
	static _Alignas(NLMSG_ALIGNTO) char answer[ANSWER_SIZE];
	static uint32_t sequence;
	int result;

	request->nlmsg_seq = ++sequence;
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	do {
		ssize_t length = mnl_socket_recvfrom(socket, answer, sizeof(answer));

		result = length < 0 ? -1
				    : mnl_cb_run(answer, (size_t)length, request->nlmsg_seq,
					      mnl_socket_get_portid(socket), found, context);
	} while (result > MNL_CB_STOP);
	return result < 0 ? -errno : 0;
}

static int
dump(struct mnl_socket *socket, uint16_t type, mnl_cb_t found, struct sight *sight)
{
	_Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	/* AF_UNSPEC: all */
	mnl_nlmsg_put_extra_header(request, sizeof(struct rtgenmsg));
	return talk(socket, request, found, sight);
}

static int
address_change(struct mnl_socket *socket, bool add, unsigned ifindex, const struct thing *thing)
{
	_Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	struct ifaddrmsg *head;

	request->nlmsg_type = add ? RTM_NEWADDR : RTM_DELADDR;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->ifa_family = family_code[thing->family];
	head->ifa_prefixlen = thing->length;
	head->ifa_scope = RT_SCOPE_UNIVERSE;
	head->ifa_index = ifindex;
	mnl_attr_put(request, IFA_LOCAL, address_size(thing->family), &thing->address);
	/* Of two ends of a link the other one, which an address that is to go may have: any. */
	if (add)
		mnl_attr_put(request, IFA_ADDRESS, address_size(thing->family), &thing->address);
	/* Nobody on this link could have it: we are all there is. */
	if (add && thing->family == FAMILY_IPV6)
		mnl_attr_put_u32(request, IFA_FLAGS, IFA_F_NODAD);
	return talk(socket, request, NULL, NULL);
}

static int
route_change(struct mnl_socket *socket, bool add, unsigned ifindex, const struct thing *thing)
{
	_Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_SIZE];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	struct rtmsg *head;

	request->nlmsg_type = add ? RTM_NEWROUTE : RTM_DELROUTE;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
	head = mnl_nlmsg_put_extra_header(request, sizeof(*head));
	head->rtm_family = family_code[thing->family];
	head->rtm_table = RT_TABLE_MAIN;
	head->rtm_protocol = thing->protocol;
	head->rtm_scope = add ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE;
	head->rtm_type = add ? RTN_UNICAST : RTN_UNSPEC;
	head->rtm_flags = add ? RTNH_F_ONLINK : 0;
	if (thing->has_gateway)
		mnl_attr_put(request, RTA_GATEWAY, address_size(thing->family), &thing->address);
	mnl_attr_put_u32(request, RTA_OIF, ifindex);
	mnl_attr_put_u32(request, RTA_PRIORITY, thing->metric);
	return talk(socket, request, NULL, NULL);
}

/* ---- putting */

struct outcome {
	unsigned changed;
	int result; /* of the first that failed */
	char *error;
	size_t error_size;
};

/* @param fine an error that means that it is as it should be already */
static void
outcome_note(
	struct outcome *outcome, int result, int fine, const char *what, const struct thing *thing)
{
	char text[ADDRESS_TEXT_SIZE];

	if (result == 0)
		outcome->changed++;
	if (result == 0 || result == fine || outcome->result != 0)
		return;
	outcome->result = result;
	snprintf(outcome->error, outcome->error_size, "cannot %s %s: %s", what,
		address_format(text, thing->family, &thing->address), strerror(-result));
}

static void
surplus_remove(struct mnl_socket *socket, const struct sight *sight, struct outcome *outcome)
{
	for (unsigned i = 0; i < sight->route_count; i++)
		outcome_note(outcome,
			route_change(socket, false, sight->ifindex, &sight->routes[i]), -ESRCH,
			"delete the route by", &sight->routes[i]);
	for (unsigned i = 0; i < sight->address_count; i++)
		outcome_note(outcome,
			address_change(socket, false, sight->ifindex, &sight->addresses[i]),
			-EADDRNOTAVAIL, "delete address", &sight->addresses[i]);
}

static void
missing_add(struct mnl_socket *socket, const struct sight *sight, struct outcome *outcome)
{
	const struct live_uplink *wanted = sight->wanted;

	for (enum family family = 0; family < FAMILIES; family++) {
		const struct thing address = {.family = family,
			.length = wanted->link[family].length,
			.address = wanted->address[family]};
		const struct thing route = {.family = family,
			.protocol = RTPROT_STATIC,
			.metric = METRIC,
			.has_gateway = true,
			.address = wanted->gateway[family]};

		if (wanted->has[family] && !sight->has_address[family])
			outcome_note(outcome,
				address_change(socket, true, sight->ifindex, &address), -EEXIST,
				"add address", &address);
		if (wanted->has_gateway[family] && !sight->has_route[family])
			outcome_note(outcome, route_change(socket, true, sight->ifindex, &route), 0,
				"add the route by", &route);
	}
}

int
host_interface_put(
	const char *ifname, const struct live_uplink *wanted, char *error, size_t error_size)
{
	/* The kernel answers within its own call; a reply that is lost must not stop us. */
	const struct timeval patience = {.tv_usec = 200000};
	struct sight sight = {.ifindex = if_nametoindex(ifname), .wanted = wanted};
	struct outcome outcome = {.error = error, .error_size = error_size};
	struct mnl_socket *socket = NULL;
	int result = sight.ifindex != 0 ? 0 : -ENODEV;

	if (result == 0) {
		socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
		if (socket == NULL ||
			setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
				sizeof(patience)) != 0 ||
			mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) != 0)
			result = -errno;
	}
	if (result == 0)
		result = dump(socket, RTM_GETADDR, address_seen, &sight);
	if (result == 0)
		result = dump(socket, RTM_GETROUTE, route_seen, &sight);
	if (result != 0)
		snprintf(error, error_size, "cannot look at it: %s", strerror(-result));
	if (result == 0 && (sight.address_count != 0 || sight.route_count != 0)) {
		surplus_remove(socket, &sight, &outcome);
		/* more may have gone with it than was meant */
		sight.address_count = sight.route_count = 0;
		memset(sight.has_address, 0, sizeof(sight.has_address));
		memset(sight.has_route, 0, sizeof(sight.has_route));
		if (dump(socket, RTM_GETADDR, address_seen, &sight) != 0 ||
			dump(socket, RTM_GETROUTE, route_seen, &sight) != 0)
			result = -EINTR; /* another time */
	}
	if (result == 0)
		missing_add(socket, &sight, &outcome);
	if (socket != NULL)
		mnl_socket_close(socket);
	if (result == 0)
		result = outcome.result;
	return result != 0 ? result : (int)outcome.changed;
}

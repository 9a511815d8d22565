/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Of several addresses one is ours: that of a family which has global scope, works (it is not a
 * duplicate, nor still asked about), was not made for privacy only, is not about to go, and was
 * there first. Of several default routes it is the one that the kernel itself would take.
 */
#include "conf/host_link.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <rte_common.h>

#include "classifier/guard.h"

/* The kernel answers from memory; this is for what should never be. */
#define ANSWER_S 1
#define DUMP_BUFFER (32u << 10)

static bool
family_of(uint8_t af, enum family *family)
{
	if (af != AF_INET && af != AF_INET6)
		return false;
	*family = af == AF_INET ? FAMILY_IPV4 : FAMILY_IPV6;
	return true;
}

/* @return false when the attribute is missing, or no address of the family */
static bool
address_take(const struct nlattr *attribute, enum family family, union address *address)
{
	size_t length = family == FAMILY_IPV4 ? sizeof(address->v4) : sizeof(address->v6);

	if (attribute == NULL || mnl_attr_get_payload_len(attribute) != length)
		return false;
	*address = (union address){0};
	memcpy(address, mnl_attr_get_payload(attribute), length);
	return true;
}

static bool
is_link_local(enum family family, const union address *address)
{
	return family == FAMILY_IPV6 && address->v6[0] == 0xfe && (address->v6[1] & 0xc0) == 0x80;
}

/* Attributes of a message by their type; those that are not known by then do not matter. */
#define TYPES 32

static int
attribute_note(const struct nlattr *attribute, void *context)
{
	const struct nlattr **attributes = context;

	if (mnl_attr_get_type(attribute) < TYPES)
		attributes[mnl_attr_get_type(attribute)] = attribute;
	return MNL_CB_OK;
}
_Static_assert(IFA_FLAGS < TYPES && RTA_TABLE < TYPES, "all that are asked for have a place");

static uint32_t
number_of(const struct nlattr *attribute, uint32_t otherwise)
{
	return attribute != NULL && mnl_attr_get_payload_len(attribute) == sizeof(uint32_t)
		       ? mnl_attr_get_u32(attribute)
		       : otherwise;
}

static void
address_message(struct host_link *link, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attributes[TYPES] = {NULL};
	struct host_address found = {.length = header->ifa_prefixlen};
	enum family family;
	uint32_t flags;

	if (!family_of(header->ifa_family, &family) || header->ifa_index != link->ifindex ||
		header->ifa_scope != RT_SCOPE_UNIVERSE || header->ifa_prefixlen == 0 ||
		header->ifa_prefixlen > (family == FAMILY_IPV4 ? 32 : 128) ||
		mnl_attr_parse(message, sizeof(*header), attribute_note, attributes) < 0)
		return;
	/* Of a point-to-point link IFA_ADDRESS is the other end. */
	if (!address_take(attributes[attributes[IFA_LOCAL] != NULL ? IFA_LOCAL : IFA_ADDRESS],
		    family, &found.address))
		return;
	flags = number_of(attributes[IFA_FLAGS], header->ifa_flags);
	found.deprecated = (flags & IFA_F_DEPRECATED) != 0;
	/* IFA_F_TEMPORARY is the same bit as IFA_F_SECONDARY. */
	if (address_is_martian(family, &found.address) ||
		(flags & (IFA_F_SECONDARY | IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0)
		return;
	if (link->has_address[family] && (!link->address[family].deprecated || found.deprecated))
		return;
	link->has_address[family] = true;
	link->address[family] = found;
}

static void
route_message(struct host_link *link, const struct nlmsghdr *message)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attributes[TYPES] = {NULL};
	union address gateway;
	enum family family;
	uint32_t metric;

	if (!family_of(header->rtm_family, &family) || header->rtm_dst_len != 0 ||
		header->rtm_src_len != 0 || header->rtm_type != RTN_UNICAST ||
		(header->rtm_flags & RTM_F_CLONED) != 0 ||
		mnl_attr_parse(message, sizeof(*header), attribute_note, attributes) < 0)
		return;
	if (number_of(attributes[RTA_OIF], 0) != link->ifindex ||
		number_of(attributes[RTA_TABLE], header->rtm_table) != RT_TABLE_MAIN ||
		!address_take(attributes[RTA_GATEWAY], family, &gateway))
		return;
	/* A link-local router is usual with IPv6. */
	if (address_is_martian(family, &gateway) && !is_link_local(family, &gateway))
		return;
	metric = number_of(attributes[RTA_PRIORITY], 0);
	if (link->has_gateway[family] && link->metric[family] <= metric)
		return;
	link->has_gateway[family] = true;
	link->metric[family] = metric;
	link->gateway[family] = gateway;
}

void
host_link_message(struct host_link *link, const struct nlmsghdr *message)
{
	if (message->nlmsg_type == RTM_NEWADDR &&
		mnl_nlmsg_get_payload_len(message) >= sizeof(struct ifaddrmsg))
		address_message(link, message);
	else if (message->nlmsg_type == RTM_NEWROUTE &&
		 mnl_nlmsg_get_payload_len(message) >= sizeof(struct rtmsg))
		route_message(link, message);
}

/* The network that an address is in. */
static struct prefix
prefix_of(enum family family, const struct host_address *from)
{
	struct prefix prefix = {.length = from->length};
	unsigned bytes = family == FAMILY_IPV4 ? 4 : 16;

	for (unsigned i = 0; i < bytes; i++) {
		unsigned bits = i * 8 >= from->length ? 0u : RTE_MIN(from->length - i * 8, 8u);

		prefix.address.v6[i] = (uint8_t)(from->address.v6[i] & (uint8_t)(0xff00u >> bits));
	}
	return prefix;
}

void
host_link_settle(const struct host_link *link, struct live_uplink *uplink)
{
	for (enum family family = 0; family < FAMILIES; family++) {
		uplink->has[family] = link->has_address[family];
		uplink->has_gateway[family] =
			link->has_address[family] && link->has_gateway[family] &&
			!address_equal(&link->gateway[family], &link->address[family].address);
		if (!uplink->has[family])
			continue;
		uplink->address[family] = link->address[family].address;
		uplink->link[family] = prefix_of(family, &link->address[family]);
		uplink->gateway[family] = link->gateway[family];
	}
}

/* Reading. */

static int
message_take(const struct nlmsghdr *message, void *context)
{
	host_link_message(context, message);
	return MNL_CB_OK;
}

static int
dump(struct mnl_socket *socket, uint16_t type, struct host_link *link)
{
	static _Alignas(NLMSG_ALIGNTO) char buffer[DUMP_BUFFER];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	uint32_t sequence = (uint32_t)time(NULL);
	int result = MNL_CB_OK;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->nlmsg_seq = sequence;
	mnl_nlmsg_put_extra_header(request, sizeof(struct rtgenmsg)); /* AF_UNSPEC: all */
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	while (result > MNL_CB_STOP) {
		ssize_t got = mnl_socket_recvfrom(socket, buffer, sizeof(buffer));

		if (got < 0)
			return -errno;
		result = mnl_cb_run(buffer, (size_t)got, sequence, mnl_socket_get_portid(socket),
			message_take, link);
	}
	return result == MNL_CB_STOP ? 0 : -errno;
}

int
host_link_read(const char *ifname, struct live_uplink *uplink)
{
	const struct timeval longest = {.tv_sec = ANSWER_S};
	struct host_link link = {.ifindex = if_nametoindex(ifname)};
	struct mnl_socket *socket;
	int error = 0;

	if (link.ifindex != 0) {
		socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
		if (socket == NULL)
			return -errno;
		if (setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &longest,
			    sizeof(longest)) != 0 ||
			mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) != 0)
			error = -errno;
		if (error == 0)
			error = dump(socket, RTM_GETADDR, &link);
		if (error == 0)
			error = dump(socket, RTM_GETROUTE, &link);
		mnl_socket_close(socket);
	}
	if (error == 0)
		host_link_settle(&link, uplink);
	return error;
}

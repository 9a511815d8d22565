/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel describes an address in the same words in which it is told to delete it: a dump of all
 * addresses is turned into requests, one for each that should not be there.
 */
#include "app/quiet_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>

/* More at once are left for the next look. */
#define REMOVED_MAX 64
/* Of a message that describes one address: what we copy of it. */
#define REQUEST_SIZE 256
/* What the kernel sends of a dump at a time, at most. */
#define ANSWER_SIZE 32768
#define ADDRESS_SIZE (INET6_ADDRSTRLEN + 4)

struct search {
	bool (*ours)(void *context, unsigned ifindex);
	void *context;
	unsigned count;
	struct request {
		_Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_SIZE];
		unsigned ifindex;
		char address[ADDRESS_SIZE];
	} requests[REMOVED_MAX];
};

/* The attributes by which an address is told from others; the rest is of no use here. */
static int
attribute_take(const struct nlattr *attribute, void *context)
{
	struct request *request = context;
	struct nlmsghdr *copy = (struct nlmsghdr *)(void *)request->bytes;
	const struct ifaddrmsg *head = mnl_nlmsg_get_payload(copy);
	uint16_t type = mnl_attr_get_type(attribute);
	uint16_t size = mnl_attr_get_payload_len(attribute);

	if (type != IFA_LOCAL && type != IFA_ADDRESS && type != IFA_LABEL)
		return MNL_CB_OK;
	mnl_attr_put_check(copy, REQUEST_SIZE, type, size, mnl_attr_get_payload(attribute));
	/* Its own address, which is not the peer's on links that have one. */
	if ((type == IFA_LOCAL || (type == IFA_ADDRESS && request->address[0] == '\0')) &&
		size == (head->ifa_family == AF_INET ? 4 : 16))
		inet_ntop(head->ifa_family, mnl_attr_get_payload(attribute), request->address,
			sizeof(request->address));
	return MNL_CB_OK;
}

static int
address_found(const struct nlmsghdr *message, void *context)
{
	const struct ifaddrmsg *head;
	struct search *search = context;
	struct request *request;
	struct nlmsghdr *copy;
	size_t length;

	if (message->nlmsg_type != RTM_NEWADDR ||
		mnl_nlmsg_get_payload_len(message) < sizeof(*head))
		return MNL_CB_OK;
	head = mnl_nlmsg_get_payload(message);
	if ((head->ifa_family != AF_INET && head->ifa_family != AF_INET6) ||
		search->count == REMOVED_MAX || !search->ours(search->context, head->ifa_index))
		return MNL_CB_OK;
	request = &search->requests[search->count++];
	request->ifindex = head->ifa_index;
	copy = mnl_nlmsg_put_header(request->bytes);
	copy->nlmsg_type = RTM_DELADDR;
	copy->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	memcpy(mnl_nlmsg_put_extra_header(copy, sizeof(*head)), head, sizeof(*head));
	(void)mnl_attr_parse(message, sizeof(*head), attribute_take, request);
	length = strlen(request->address);
	snprintf(request->address + length, sizeof(request->address) - length, "/%u",
		head->ifa_prefixlen);
	return MNL_CB_OK;
}

/* Send a request and take all answers. @return 0 or -errno */
static int
talk(struct mnl_socket *socket, struct nlmsghdr *request, mnl_cb_t found, void *context)
{
	static uint32_t sequence;
	unsigned port = mnl_socket_get_portid(socket);
	char *buffer = malloc(ANSWER_SIZE);
	int result = -ENOMEM;

	request->nlmsg_seq = ++sequence;
	if (buffer == NULL)
		return result;
	if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
		result = -errno;
		free(buffer);
		return result;
	}
	do {
		ssize_t length = mnl_socket_recvfrom(socket, buffer, ANSWER_SIZE);

		result = length < 0 ? -1
				    : mnl_cb_run(buffer, (size_t)length, request->nlmsg_seq, port,
					      found, context);
	} while (result > MNL_CB_STOP);
	result = result < 0 ? -errno : 0;
	free(buffer);
	return result;
}

static struct mnl_socket *
socket_open(void)
{
	/* The kernel answers within its own call; a reply that is lost must not stop us. */
	const struct timeval patience = {.tv_usec = 200000};
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (socket == NULL)
		return NULL;
	if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) == 0 &&
		setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &patience,
			sizeof(patience)) == 0)
		return socket;
	mnl_socket_close(socket);
	return NULL;
}

int
addresses_remove(bool (*ours)(void *context, unsigned ifindex), address_fn told, void *context)
{
	_Alignas(NLMSG_ALIGNTO) char bytes[REQUEST_SIZE];
	struct mnl_socket *socket = socket_open();
	struct search *search = calloc(1, sizeof(*search));
	struct nlmsghdr *dump;
	struct rtgenmsg *generic;
	int result;

	if (socket == NULL || search == NULL) {
		result = socket == NULL ? -errno : -ENOMEM;
		if (socket != NULL)
			mnl_socket_close(socket);
		free(search);
		return result;
	}
	*search = (struct search){.ours = ours, .context = context};
	dump = mnl_nlmsg_put_header(bytes);
	dump->nlmsg_type = RTM_GETADDR;
	dump->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	generic = mnl_nlmsg_put_extra_header(dump, sizeof(*generic));
	generic->rtgen_family = AF_UNSPEC;
	result = talk(socket, dump, address_found, search);
	for (unsigned i = 0; i < search->count; i++) {
		struct request *request = &search->requests[i];
		int error = talk(socket, (struct nlmsghdr *)(void *)request->bytes, NULL, NULL);

		/* gone by itself, as those of a subnet do with its first one */
		if (error == -EADDRNOTAVAIL || error == -ENODEV)
			error = 0;
		told(context, request->ifindex, request->address,
			error != 0 ? strerror(-error) : NULL);
	}
	free(search);
	mnl_socket_close(socket);
	return result;
}

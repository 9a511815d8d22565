/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel port listens beside the kernel, not instead of it: every frame it takes would also
 * go up the kernel's own stack, which could answer ARP, reset connections, or, worst of all,
 * forward the packet around the firewall. So the kernel is made deaf, twice over:
 *
 *	an nftables chain on the ingress hook of the device drops everything; packet sockets get
 *	their copy before that hook
 *	the interface's own settings switch IPv6, ARP answers and forwarding off, which holds even
 *	when somebody flushes the ruleset
 *
 * Both stay when sluice ends or dies: an interface without sluice passes nothing. Whoever wants
 * it back for the kernel deletes the chain (`nft delete table netdev sluice`).
 *
 * Addresses are not removed but refused: an address means that somebody else uses the interface,
 * and taking it away could cut off the administrator who made the mistake.
 */
#include "app/quiet.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nftables/libnftables.h>

/* What each interface has under /proc/sys/net, and what it must say. */
static const struct {
	const char *tree;
	const char *name;
	const char *value;
} settings[] = {
	{"ipv6", "disable_ipv6", "1"}, /* also takes the link-local address away */
	{"ipv4", "forwarding", "0"}, {"ipv4", "arp_ignore", "8"}, /* answer for no local address */
};

/*
 * The name becomes part of paths and of nftables text, so only what needs no quoting in either is
 * let through. Xen's names (vif4.0) and all usual ones are among them.
 */
static bool
name_is_plain(const char *ifname)
{
	size_t length = strlen(ifname);

	if (length == 0 || length >= IFNAMSIZ || ifname[0] == '.')
		return false;
	for (size_t i = 0; i < length; i++)
		if (!isalnum((unsigned char)ifname[i]) && strchr("._-", ifname[i]) == NULL)
			return false;
	return true;
}

static unsigned
netmask_length(const struct sockaddr *netmask, int family)
{
	const unsigned char *bytes;
	size_t count;
	unsigned length = 0;

	if (netmask == NULL)
		return family == AF_INET ? 32 : 128;
	if (family == AF_INET) {
		bytes = (const void *)&((const struct sockaddr_in *)netmask)->sin_addr;
		count = sizeof(struct in_addr);
	} else {
		bytes = (const void *)&((const struct sockaddr_in6 *)netmask)->sin6_addr;
		count = sizeof(struct in6_addr);
	}
	for (size_t i = 0; i < count; i++)
		length += (unsigned)__builtin_popcount(bytes[i]);
	return length;
}

/* An address that makes the kernel a host on the link; link-local IPv6 goes away by itself. */
static bool
address_binds_kernel(const struct sockaddr *address)
{
	if (address == NULL)
		return false;
	if (address->sa_family == AF_INET)
		return true;
	return address->sa_family == AF_INET6 &&
	       !IN6_IS_ADDR_LINKLOCAL(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

int
quiet_check(const char *ifname, char *error, size_t error_size)
{
	struct ifaddrs *list;
	int result = 0;

	if (!name_is_plain(ifname)) {
		snprintf(error, error_size,
			"\"%s\" is no usable interface name: 1 to 15 letters, digits, "
			"dots, dashes and underscores",
			ifname);
		return -EINVAL;
	}
	if (getifaddrs(&list) != 0) {
		result = -errno;
		snprintf(error, error_size, "cannot list the addresses of %s: %s", ifname,
			strerror(-result));
		return result;
	}
	for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		const void *address;
		int family;

		if (strcmp(entry->ifa_name, ifname) != 0 || !address_binds_kernel(entry->ifa_addr))
			continue;
		family = entry->ifa_addr->sa_family;
		address = family == AF_INET
				  ? (const void *)&((const struct sockaddr_in *)entry->ifa_addr)
					    ->sin_addr
				  : (const void *)&((const struct sockaddr_in6 *)entry->ifa_addr)
					    ->sin6_addr;
		if (inet_ntop(family, address, text, sizeof(text)) == NULL)
			text[0] = '\0';
		snprintf(error, error_size,
			"%s has address %s/%u: sluice owns this interface, "
			"remove it with `ip address flush dev %s`",
			ifname, text, netmask_length(entry->ifa_netmask, family), ifname);
		result = -EADDRINUSE;
		break;
	}
	freeifaddrs(list);
	return result;
}

/* @return 0, also when the kernel lacks the setting (then there is nothing to silence) */
static int
setting_write(const char *path, const char *value, char *error, size_t error_size)
{
	char present[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result = 0;

	if (fd < 0 && errno == ENOENT)
		return 0;
	/* Written only where it differs: somebody may have set it before making /proc read-only. */
	if (fd >= 0) {
		if (read(fd, present, sizeof(present) - 1) > 0)
			present[strcspn(present, "\n")] = '\0';
		close(fd);
	}
	if (strcmp(present, value) == 0)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0) {
		result = -errno;
		snprintf(error, error_size, "cannot write %s to %s: %s", value, path,
			strerror(-result));
	}
	if (fd >= 0)
		close(fd);
	return result;
}

/* Cut a text of several lines after the first: a report is one line. */
static const char *
first_line(const char *text, char *line, size_t size)
{
	snprintf(line, size, "%s", text != NULL ? text : "");
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static int
ingress_drop(const char *ifname, char *error, size_t error_size)
{
	char line[128];
	char command[256];
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	int result = 0;

	if (nft == NULL) {
		snprintf(error, error_size, "libnftables does not start");
		return -ENOMEM;
	}
	/*
	 * "add" is silent about what exists already. One transaction: a chain never exists without
	 * its policy.
	 */
	snprintf(command, sizeof(command),
		"add table netdev sluice\n"
		"add chain netdev sluice port-%s { type filter hook ingress device \"%s\" "
		"priority -500; policy drop; }\n",
		ifname, ifname);
	if (nft_ctx_buffer_error(nft) != 0 || nft_ctx_buffer_output(nft) != 0 ||
		nft_run_cmd_from_buffer(nft, command) != 0) {
		snprintf(error, error_size,
			"cannot make the kernel drop what arrives on %s: nftables: %s (is "
			"nf_tables in this kernel, and CAP_NET_ADMIN ours?)",
			ifname, first_line(nft_ctx_get_error_buffer(nft), line, sizeof(line)));
		result = -ENOTSUP;
	}
	nft_ctx_free(nft);
	return result;
}

int
quiet_start(const char *ifname, char *error, size_t error_size)
{
	if (!name_is_plain(ifname)) {
		snprintf(error, error_size, "\"%s\" is no usable interface name", ifname);
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		char path[128];
		int result;

		snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", settings[i].tree,
			ifname, settings[i].name);
		result = setting_write(path, settings[i].value, error, error_size);
		if (result != 0)
			return result;
	}
	return ingress_drop(ifname, error, error_size);
}

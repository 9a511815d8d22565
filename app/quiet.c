/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The kernel port listens beside the kernel, not instead of it: every frame it takes would also
 * go up the kernel's own stack, which could answer ARP, reset connections, or, worst of all,
 * forward the packet around the firewall. So the kernel is made deaf, twice over:
 *
 *	an nftables chain on the ingress hook of the device drops everything; packet sockets get
 *	their copy before that hook
 *	the interface's own settings switch IPv6, ARP answers, forwarding and reception off, which
 *	holds even when somebody flushes the ruleset
 *
 * Both stay when sluice ends or dies: an interface without sluice passes nothing. Whoever wants
 * it back for the kernel says `sluiced --release`.
 *
 * While sluice runs, what somebody changes of all this is put right (app/quiet_watch.c says when).
 * Addresses are refused at the start: an address means that somebody else uses the interface, and
 * taking it away could cut off the administrator who made the mistake. One that comes later is of
 * no use to anybody, because the kernel hears nothing there, but the kernel would send from it
 * past all rules: it is removed.
 */
#include "app/quiet.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/quiet_address.h"
#include "app/quiet_rules.h"
#include "app/quiet_settings.h"

/* The interfaces that are ours. */
static struct held {
	struct held *next;
	char ifname[IFNAMSIZ];
	unsigned uses;
	int claim;   /* socket that nobody else can have while we live */
	char *rules; /* what nft says of the chain that was made */
} * interfaces;

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

/* ---- whose it is */

static struct held *
held_find(const char *ifname)
{
	struct held *held = interfaces;

	while (held != NULL && strcmp(held->ifname, ifname) != 0)
		held = held->next;
	return held;
}

/*
 * A socket's name without a file lives in the network namespace, as the interface does, and ends
 * with its process, however that ends.
 * @return a descriptor, -EBUSY when another process has it, -errno
 */
static int
claim_take(const char *ifname, char *error, size_t error_size)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int result;

	snprintf(name.sun_path + 1, sizeof(name.sun_path) - 1, "sluice/port/%s", ifname);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&name,
			       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
					   strlen(name.sun_path + 1))) == 0)
		return fd;
	result = errno == EADDRINUSE ? -EBUSY : -errno;
	if (fd >= 0)
		close(fd);
	if (result == -EBUSY)
		snprintf(error, error_size, "a sluiced that runs has %s", ifname);
	else
		snprintf(error, error_size, "cannot claim %s: %s", ifname, strerror(-result));
	return result;
}

static void
held_free(struct held *held)
{
	struct held **link = &interfaces;

	while (*link != held)
		link = &(*link)->next;
	*link = held->next;
	close(held->claim);
	free(held->rules);
	free(held);
}

static int
held_new(const char *ifname, struct held **out, char *error, size_t error_size)
{
	int claim = claim_take(ifname, error, error_size);
	struct held *held;

	if (claim < 0)
		return claim;
	held = calloc(1, sizeof(*held));
	if (held == NULL) {
		close(claim);
		snprintf(error, error_size, "out of memory");
		return -ENOMEM;
	}
	snprintf(held->ifname, sizeof(held->ifname), "%s", ifname);
	held->claim = claim;
	held->next = interfaces;
	interfaces = held;
	*out = held;
	return 0;
}

void
quiet_keep_in(const char *state_dir)
{
	settings_keep_in(state_dir);
}

bool
quiet_has(const char *ifname)
{
	return held_find(ifname) != NULL;
}

const char *
quiet_find(unsigned ifindex)
{
	char ifname[IFNAMSIZ];
	const struct held *held =
		if_indextoname(ifindex, ifname) != NULL ? held_find(ifname) : NULL;

	return held != NULL ? held->ifname : NULL;
}

/* ---- from here on the kernel is deaf */

/* Have the chain, and remember how it looks. */
static int
rules_put(struct held *held, char *error, size_t error_size)
{
	int result = rules_drop(held->ifname, error, error_size);
	char *listing;

	if (result != 0)
		return result;
	listing = rules_list();
	free(held->rules);
	held->rules = listing != NULL ? rules_extract(listing, held->ifname) : NULL;
	free(listing);
	if (held->rules != NULL)
		return 0;
	snprintf(error, error_size, "nftables does not show the chain of %s", held->ifname);
	return -ENOTSUP;
}

int
quiet_start(const char *ifname, char *error, size_t error_size)
{
	struct held *held;
	int result = 0;

	if (!name_is_plain(ifname)) {
		snprintf(error, error_size, "\"%s\" is no usable interface name", ifname);
		return -EINVAL;
	}
	held = held_find(ifname);
	if (held == NULL)
		result = held_new(ifname, &held, error, error_size);
	if (result != 0)
		return result;
	settings_note(ifname);
	result = settings_quiet(ifname, NULL, NULL, error, error_size);
	if (result == 0)
		result = rules_put(held, error, error_size);
	if (result == 0)
		held->uses++;
	else if (held->uses == 0)
		held_free(held);
	return result;
}

/* Not merely hard to ask for: what is there must stay deaf. */
static bool
interface_is_gone(const char *ifname)
{
	return if_nametoindex(ifname) == 0 && errno == ENODEV;
}

void
quiet_end(const char *ifname)
{
	struct held *held = held_find(ifname);
	char error[256];

	if (held == NULL || --held->uses != 0)
		return;
	held_free(held);
	if (!interface_is_gone(ifname))
		return;
	/* Names of vifs do not come again soon: nothing must be left for each of them. */
	settings_forget(ifname);
	(void)rules_delete(ifname, error, sizeof(error));
}

/* ---- and stays so */

struct look {
	quiet_told_fn told;
	void *context;
	const char *ifname;
};

static void
setting_told(void *context, const char *setting, const char *was, const char *error)
{
	const struct look *look = context;
	char what[160];

	snprintf(what, sizeof(what), "%s=%s", setting, was);
	look->told(look->context, look->ifname, what, error);
}

static bool
address_ours(void *context, unsigned ifindex)
{
	(void)context;
	return quiet_find(ifindex) != NULL;
}

static void
address_told(void *context, unsigned ifindex, const char *address, const char *error)
{
	const struct look *look = context;
	const char *ifname = quiet_find(ifindex);
	char what[80];

	snprintf(what, sizeof(what), "address %s", address);
	if (ifname != NULL)
		look->told(look->context, ifname, what, error);
}

static void
rules_look(const struct look *look, struct held *held, const char *listing)
{
	char *present = rules_extract(listing, held->ifname);
	char error[256] = "";
	const char *what = present == NULL ? "nftables chain deleted" : "nftables chain changed";

	if (present == NULL || held->rules == NULL || strcmp(present, held->rules) != 0) {
		int result = rules_put(held, error, sizeof(error));

		look->told(look->context, held->ifname, what, result != 0 ? error : NULL);
	}
	free(present);
}

/* Ended while its interface was there, which has gone since: a vif closes before netback removes
 * it. */
static void
ended_forget(void *context, const char *ifname)
{
	char error[256];
	int claim;

	(void)context;
	if (!name_is_plain(ifname) || quiet_has(ifname) || !interface_is_gone(ifname))
		return;
	claim = claim_take(ifname, error, sizeof(error));
	if (claim < 0)
		return;
	settings_forget(ifname);
	(void)rules_delete(ifname, error, sizeof(error));
	close(claim);
}

void
quiet_look(quiet_told_fn told, void *context)
{
	struct look look = {.told = told, .context = context};
	char *listing;
	char error[256];

	if (interfaces == NULL)
		return;
	/* The strongest first. */
	listing = rules_list();
	for (struct held *held = interfaces; held != NULL; held = held->next) {
		look.ifname = held->ifname;
		/* one that is gone has taken all with it */
		if (if_nametoindex(held->ifname) == 0)
			continue;
		if (listing != NULL)
			rules_look(&look, held, listing);
		(void)settings_quiet(held->ifname, setting_told, &look, error, sizeof(error));
	}
	if (listing != NULL)
		rules_each(listing, ended_forget, NULL);
	settings_each(ended_forget, NULL);
	free(listing);
	(void)addresses_remove(address_ours, address_told, &look);
}

/* ---- until somebody asks for it */

struct sought {
	const char *ifname;
	bool found;
};

static void
sought_compare(void *context, const char *ifname)
{
	struct sought *sought = context;

	sought->found |= strcmp(sought->ifname, ifname) == 0;
}

int
quiet_release(const char *ifname, char *error, size_t error_size)
{
	struct sought sought = {.ifname = ifname};
	int claim, result;

	if (!name_is_plain(ifname)) {
		snprintf(error, error_size, "\"%s\" is no usable interface name", ifname);
		return -EINVAL;
	}
	claim = claim_take(ifname, error, error_size);
	if (claim < 0)
		return claim;
	quiet_each(sought_compare, &sought);
	if (!sought.found) {
		close(claim);
		snprintf(error, error_size,
			"sluice has not taken it, there is nothing to give back");
		return -ENOENT;
	}
	/* As long as anything of it fails, the chain stands. */
	result = settings_restore(ifname, error, error_size);
	if (result == 0)
		result = rules_delete(ifname, error, error_size);
	close(claim);
	return result;
}

void
quiet_each(void (*found)(void *context, const char *ifname), void *context)
{
	char *listing = rules_list();

	if (listing != NULL)
		rules_each(listing, found, context);
	free(listing);
	settings_each(found, context);
}

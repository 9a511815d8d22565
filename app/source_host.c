/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Following the uplink's settings where our own kernel has them, and the uplink where it is more
 * than its settings: its MAC, MTU and carrier are shown on the host port's interface.
 *
 * rtnetlink and inotify say that something has changed, never what: when it has been quiet for a
 * moment everything is read as it is now, and put in force if it is not what is. Messages that
 * were lost cost nothing that way. Once a second there is a look besides, at what nobody tells: the
 * uplink's link, and a resolv.conf behind links or in a directory that is not there yet.
 *
 * With `settings = uplink` of the host port it is the other way round: the interface is given what
 * the uplink has, and it is put right when somebody else changes it.
 *
 * Settings that cannot be in force, such as an address that is also a qube's, leave the uplink
 * without any: with the ones before it would speak as somebody it is no more.
 */
#include "app/source_host.h"

#include <errno.h>
#include <limits.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>
#include <libmnl/libmnl.h>

#include "app/daemon.h"
#include "app/event.h"
#include "app/host_interface.h"
#include "app/log.h"
#include "app/port_tap.h"
#include "app/uplink_change.h"
#include "conf/host_link.h"
#include "conf/live.h"
#include "conf/resolv_conf.h"

#define SETTLE_MS 50 /* a change comes in several messages */
#define SETTLE_MOST_MS 500
#define TICK_S 1
/* Somebody who has other plans for the interface is not answered more often. */
#define PUT_LEAST_MS 1000

/* Where resolvers stand, best first: systemd-resolved's own list names no stub of its own. */
static const char *const usual_places[] = {
	"/run/systemd/resolve/resolv.conf",
	"/etc/resolv.conf",
};
#define PLACES_MAX 2

struct place {
	const char *path;
	char directory[PATH_MAX];
	int watch;        /* of its directory, -1: none */
	struct stat seen; /* zeros: it was not there */
};

struct source_host {
	struct daemon *daemon;
	struct mnl_socket *netlink;
	int inotify;
	struct event *changed, *files_changed, *settle, *tick;
	uint64_t restless_ms; /* since when changes have been coming; 0: they have not */
	unsigned place_count;
	struct place places[PLACES_MAX];
	char resolv_conf[sizeof(((struct conf_port *)0)->resolv_conf)];
	/* what has been done */
	bool follows; /* settings = host */
	bool was_refused;
	struct live_uplink refused; /* settings that could not be put in force */
	uint8_t mac[6];
	uint16_t mtu;
	bool linked;
	/* what the interface was given, for settings = uplink */
	struct live_uplink given;
	uint64_t given_ms; /* when something had to be changed there */
	bool owed;         /* with the next tick */
	char put_error[256];
	unsigned written_count;
	rte_be32_t written[RESOLVERS_MAX];
	char written_to[sizeof(((struct conf_port *)0)->resolv_conf)];
	int write_error;
};

/* Reading. */

static const struct conf_port *
port_of_role(const struct conf *conf, enum role role)
{
	for (unsigned i = 0; conf != NULL && i < conf->port_count; i++)
		if (conf->ports[i].role == role)
			return &conf->ports[i];
	return NULL;
}

static bool
settings_are_host(const struct conf *conf)
{
	const struct conf_port *uplink = port_of_role(conf, ROLE_UPLINK);

	return uplink != NULL && uplink->settings == SETTINGS_HOST &&
	       port_of_role(conf, ROLE_HOST) != NULL;
}

static void
resolvers_read(const struct conf_port *uplink, struct live_uplink *settings)
{
	int count = -ENOENT;

	if (uplink->resolv_conf[0] != '\0')
		count = resolv_conf_read(uplink->resolv_conf, settings->resolver);
	for (unsigned i = 0; uplink->resolv_conf[0] == '\0' && count <= 0 && i < PLACES_MAX; i++)
		count = resolv_conf_read(usual_places[i], settings->resolver);
	settings->resolver_count = count > 0 ? (unsigned)count : 0;
}

/* Resolvers that are no host beyond the uplink: a stub of our own would never answer. */
static void
resolvers_foreign(const struct conf *conf, struct live_uplink *settings)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < settings->resolver_count; i++) {
		rte_be32_t address = settings->resolver[i];
		bool ours =
			settings->has[FAMILY_IPV4] && settings->address[FAMILY_IPV4].v4 == address;

		ours |= conf->has_gateway[FAMILY_IPV4] && conf->gateway[FAMILY_IPV4].v4 == address;
		for (unsigned j = 0; j < conf->virtual_dns_count; j++)
			ours |= conf->virtual_dns[j] == address;
		if (!ours)
			settings->resolver[kept++] = address;
	}
	settings->resolver_count = kept;
}

/* @return 0 or -errno */
static int
settings_read(const struct conf *conf, struct live_uplink *settings)
{
	const struct conf_port *host = port_of_role(conf, ROLE_HOST);
	int error;

	*settings = (struct live_uplink){0};
	error = host_link_read(host->argument, settings);
	if (error != 0)
		return error;
	resolvers_read(port_of_role(conf, ROLE_UPLINK), settings);
	resolvers_foreign(conf, settings);
	return 0;
}

void
source_host_look(const struct conf *file, struct live *live, const struct report *report)
{
	struct live_uplink settings;
	int error;

	if (!settings_are_host(file))
		return;
	error = settings_read(file, &settings);
	if (error == 0)
		live_uplink_set(live, &settings);
	else
		report_line(report, "uplink: no settings from the host: %s", strerror(-error));
}

/* Putting in force. */

static bool
settings_same(const struct live_uplink *settings, const struct conf_port *port)
{
	for (unsigned family = 0; family < FAMILIES; family++) {
		if (settings->has[family] != port->has[family] ||
			settings->has_gateway[family] != port->has_gateway[family])
			return false;
		if (settings->has[family] &&
			(!address_equal(&settings->address[family], &port->address[family]) ||
				settings->link[family].length != port->link[family].length))
			return false;
		if (settings->has_gateway[family] &&
			!address_equal(&settings->gateway[family], &port->gateway[family]))
			return false;
	}
	return settings->resolver_count == port->resolver_count &&
	       memcmp(settings->resolver, port->resolver,
		       settings->resolver_count * sizeof(settings->resolver[0])) == 0;
}

static void
settings_tell(struct daemon *daemon, const struct live_uplink *settings)
{
	char address[FAMILIES][ADDRESS_TEXT_SIZE], gateway[ADDRESS_TEXT_SIZE] = "none";

	for (unsigned family = 0; family < FAMILIES; family++)
		if (settings->has[family])
			address_format(address[family], family, &settings->address[family]);
		else
			snprintf(address[family], ADDRESS_TEXT_SIZE, "none");
	for (unsigned family = FAMILIES; family-- > 0;)
		if (settings->has_gateway[family])
			address_format(gateway, family, &settings->gateway[family]);
	log_line(
		"uplink: the host says address %s, IPv6 %s, gateway %s, %u resolvers: policy %u in "
		"force",
		address[FAMILY_IPV4], address[FAMILY_IPV6], gateway, settings->resolver_count,
		daemon_policy(daemon)->generation);
}

static void
settings_apply(struct source_host *source)
{
	struct daemon *daemon = source->daemon;
	const struct conf_port *port = port_of_role(daemon->conf, ROLE_UPLINK);
	struct live_uplink settings;
	int error = settings_read(daemon->conf, &settings);

	if (error != 0) {
		/* Changing under our eyes, or too much of it: there will be another time. */
		if (error != -EINTR)
			log_line("uplink: cannot be read from the host: %s", strerror(-error));
		source_host_refresh(daemon);
		return;
	}
	if (settings_same(&settings, port) ||
		(source->was_refused && memcmp(&settings, &source->refused, sizeof(settings)) == 0))
		return;
	live_uplink_set(daemon->live, &settings);
	source->was_refused = daemon_apply(daemon, &log_report) != 0;
	if (!source->was_refused) {
		settings_tell(daemon, &settings);
		return;
	}
	source->refused = settings;
	log_line("uplink: what the host says cannot be in force: nothing is sent there");
	live_uplink_set(daemon->live, NULL);
	if (daemon_apply(daemon, &log_report) != 0)
		log_line("uplink: what was in force stays in force");
}

/* The interface of our own kernel. */

static struct port *
host_port(const struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->dataplane->port_count; i++)
		if (daemon->dataplane->ports[i].ops != NULL &&
			port_is_tap(&daemon->dataplane->ports[i]))
			return &daemon->dataplane->ports[i];
	return NULL;
}

static struct port *
uplink_port(const struct daemon *daemon)
{
	const struct policy *policy = daemon_policy(daemon);
	struct port *port =
		policy->uplink != PORT_NONE ? &daemon->dataplane->ports[policy->uplink] : NULL;

	return port != NULL && port->ops != NULL ? port : NULL;
}

static void
interface_follow(struct source_host *source)
{
	struct port *host = host_port(source->daemon), *uplink = uplink_port(source->daemon);
	bool linked;
	int error;

	/* One that comes back is as new as any other. */
	if (host == NULL) {
		memset(source->mac, 0, sizeof(source->mac));
		source->linked = true;
	}
	if (host == NULL || uplink == NULL)
		return;
	if (memcmp(source->mac, uplink->mac, sizeof(source->mac)) != 0 ||
		source->mtu != uplink->mtu) {
		error = port_tap_follow(host, uplink->mac, uplink->mtu);
		if (error != 0)
			log_line("port %s: %s cannot be configured: %s", host->name,
				port_tap_name(host), strerror(-error));
		memcpy(source->mac, uplink->mac, sizeof(source->mac));
		source->mtu = uplink->mtu;
	}
	linked = uplink->ops->link_up == NULL || uplink->ops->link_up(uplink);
	if (linked == source->linked)
		return;
	source->linked = linked;
	if (linked)
		uplink_change_relinked(source->daemon, uplink->index);
	port_tap_carrier(host, linked);
}

/* Giving it what the uplink has. */

static uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void
addresses_put(struct source_host *source, const struct port *host, const struct live_uplink *wanted)
{
	bool news = memcmp(wanted, &source->given, sizeof(*wanted)) != 0;
	uint64_t now_ms = clock_ms();
	char error[sizeof(source->put_error)] = "";
	int changed;

	source->owed = !news && source->given_ms != 0 && now_ms - source->given_ms < PUT_LEAST_MS;
	if (source->owed)
		return;
	changed = host_interface_put(port_tap_name(host), wanted, error, sizeof(error));
	source->given = *wanted;
	if (changed > 0)
		source->given_ms = now_ms;
	/* It is tried again, and told when it is another reason. */
	source->owed = changed < 0;
	if (changed < 0 && strcmp(error, source->put_error) != 0)
		log_line("port %s: %s: %s", host->name, port_tap_name(host), error);
	else if (changed > 0)
		log_line("port %s: %s has the settings of the uplink", host->name,
			port_tap_name(host));
	snprintf(source->put_error, sizeof(source->put_error), "%s", error);
}

/* The resolvers that our own kernel uses: as a qube, the virtual ones, if there are any. */
static void
resolvers_put(struct source_host *source, const struct conf_port *uplink, const char *path)
{
	const struct conf *conf = source->daemon->conf;
	const rte_be32_t *list = uplink->resolver;
	unsigned count = uplink->resolver_count;
	int error;

	if (conf->virtual_dns_count != 0) {
		list = conf->virtual_dns;
		count = conf->virtual_dns_count;
	}
	if (path[0] == '\0' || (source->write_error == 0 && strcmp(path, source->written_to) == 0 &&
				       count == source->written_count &&
				       memcmp(list, source->written, count * sizeof(*list)) == 0))
		return;
	error = resolv_conf_write(path, list, count);
	if (error != 0 && error != source->write_error)
		log_line("%s: cannot be written: %s", path, strerror(-error));
	source->write_error = error;
	source->owed |= error != 0;
	source->written_count = count;
	memcpy(source->written, list, count * sizeof(*list));
	snprintf(source->written_to, sizeof(source->written_to), "%s", path);
}

static void
settings_put(struct source_host *source)
{
	const struct conf *conf = source->daemon->conf;
	const struct conf_port *uplink = port_of_role(conf, ROLE_UPLINK);
	const struct conf_port *wish = port_of_role(conf, ROLE_HOST);
	const struct port *host = host_port(source->daemon);
	struct live_uplink wanted;

	source->owed = false;
	if (host == NULL || wish == NULL || uplink == NULL || wish->settings != SETTINGS_UPLINK)
		return;
	memset(&wanted, 0, sizeof(wanted)); /* it is compared as a whole */
	for (unsigned family = 0; family < FAMILIES; family++) {
		wanted.has[family] = uplink->has[family];
		wanted.has_gateway[family] = uplink->has[family] && uplink->has_gateway[family];
		if (wanted.has[family]) {
			wanted.address[family] = uplink->address[family];
			wanted.link[family].length = uplink->link[family].length;
		}
		if (wanted.has_gateway[family])
			wanted.gateway[family] = uplink->gateway[family];
	}
	addresses_put(source, host, &wanted);
	resolvers_put(source, uplink, wish->resolv_conf);
}

/* Being told. */

void
source_host_refresh(struct daemon *daemon)
{
	const struct timeval settle = {.tv_usec = SETTLE_MS * 1000};
	struct source_host *source = daemon->host;
	uint64_t now_ms = clock_ms();

	if (source == NULL) {
		/* There may be a host port by now. */
		(void)source_host_open(daemon, &log_report);
		return;
	}
	if (source->restless_ms == 0)
		source->restless_ms = now_ms;
	/* Somebody who never stops must not keep us from looking. */
	if (now_ms - source->restless_ms < SETTLE_MOST_MS || !evtimer_pending(source->settle, NULL))
		event_add(source->settle, &settle);
}

static void
settled(evutil_socket_t fd, short events, void *context)
{
	struct source_host *source = context;

	(void)fd, (void)events;
	source->restless_ms = 0;
	interface_follow(source);
	settings_put(source);
	if (settings_are_host(source->daemon->conf))
		settings_apply(source);
}

/* Read away what is there; what it says is looked up. */
static void
drain(int fd)
{
	char buffer[8192];

	for (unsigned i = 0; i < 64; i++) {
		ssize_t got = read(fd, buffer, sizeof(buffer));

		/* ENOBUFS: there was more than fits, which we look at anyway */
		if (got <= 0 && errno != ENOBUFS && errno != EINTR)
			return;
	}
}

static void
changed(evutil_socket_t fd, short events, void *context)
{
	struct source_host *source = context;

	(void)events;
	drain(fd);
	source_host_refresh(source->daemon);
}

/* Watch the directory that a file is in: files are replaced, not written to. */
static void
place_watch(struct source_host *source, struct place *place)
{
	char real[PATH_MAX];
	char *slash;

	/* The file that is meant, which another program replaces. */
	if (realpath(place->path, real) == NULL)
		snprintf(real, sizeof(real), "%s", place->path);
	slash = strrchr(real, '/');
	if (slash == NULL)
		return;
	slash[slash == real] = '\0';
	if (place->watch >= 0 && strcmp(real, place->directory) == 0)
		return;
	if (place->watch >= 0)
		(void)inotify_rm_watch(source->inotify, place->watch);
	snprintf(place->directory, sizeof(place->directory), "%s", real);
	place->watch = inotify_add_watch(source->inotify, real,
		IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE |
			IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR);
}

static bool
place_changed(struct place *place)
{
	struct stat now = {0};
	bool same;

	if (stat(place->path, &now) != 0)
		now = (struct stat){0};
	same = now.st_dev == place->seen.st_dev && now.st_ino == place->seen.st_ino &&
	       now.st_size == place->seen.st_size &&
	       now.st_mtim.tv_sec == place->seen.st_mtim.tv_sec &&
	       now.st_mtim.tv_nsec == place->seen.st_mtim.tv_nsec;
	place->seen = now;
	return !same;
}

static void
places_fill(struct source_host *source)
{
	const struct conf_port *uplink = port_of_role(source->daemon->conf, ROLE_UPLINK);

	for (unsigned i = 0; i < source->place_count; i++)
		if (source->places[i].watch >= 0)
			(void)inotify_rm_watch(source->inotify, source->places[i].watch);
	snprintf(source->resolv_conf, sizeof(source->resolv_conf), "%s", uplink->resolv_conf);
	source->place_count = source->resolv_conf[0] != '\0' ? 1 : PLACES_MAX;
	for (unsigned i = 0; i < source->place_count; i++)
		source->places[i] = (struct place){
			.path = source->resolv_conf[0] != '\0' ? source->resolv_conf
							       : usual_places[i],
			.watch = -1,
		};
}

static void
ticked(evutil_socket_t fd, short events, void *context)
{
	struct source_host *source = context;
	const struct conf_port *uplink = port_of_role(source->daemon->conf, ROLE_UPLINK);
	bool follows = settings_are_host(source->daemon->conf);
	bool news = follows != source->follows;

	(void)fd, (void)events;
	source->follows = follows;
	interface_follow(source);
	if (source->owed)
		settings_put(source);
	if (!follows || uplink == NULL)
		return;
	if (source->place_count == 0 || strcmp(uplink->resolv_conf, source->resolv_conf) != 0)
		places_fill(source);
	for (unsigned i = 0; i < source->place_count; i++) {
		place_watch(source, &source->places[i]);
		news |= place_changed(&source->places[i]);
	}
	if (news)
		source_host_refresh(source->daemon);
}

/* Opening and closing. */

static struct event *
event_for(struct source_host *source, int fd, event_callback_fn callback)
{
	struct event *event =
		event_new(source->daemon->base, fd, EV_READ | EV_PERSIST, callback, source);

	if (event != NULL && event_add(event, NULL) != 0) {
		event_free(event);
		return NULL;
	}
	return event;
}

static int
netlink_open(struct source_host *source)
{
	static const unsigned groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
		RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};

	source->netlink = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (source->netlink == NULL || mnl_socket_bind(source->netlink, 0, MNL_SOCKET_AUTOPID) != 0)
		return -errno;
	for (unsigned i = 0; i < RTE_DIM(groups); i++)
		if (mnl_socket_setsockopt(source->netlink, NETLINK_ADD_MEMBERSHIP,
			    (void *)(uintptr_t)&groups[i], sizeof(groups[i])) != 0)
			return -errno;
	return 0;
}

int
source_host_open(struct daemon *daemon, const struct report *report)
{
	const struct timeval tick = {.tv_sec = TICK_S};
	struct source_host *source;
	int error;

	if (daemon->host != NULL || host_port(daemon) == NULL)
		return 0;
	source = calloc(1, sizeof(*source));
	if (source == NULL)
		return -ENOMEM;
	daemon->host = source;
	source->daemon = daemon;
	source->linked = true; /* as a TAP is when it is made */
	source->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	error = source->inotify < 0 ? -errno : netlink_open(source);
	if (error == 0) {
		source->changed = event_for(source, mnl_socket_get_fd(source->netlink), changed);
		source->files_changed = event_for(source, source->inotify, changed);
		source->settle = evtimer_new(daemon->base, settled, source);
		source->tick = event_new(daemon->base, -1, EV_PERSIST, ticked, source);
		if (source->changed == NULL || source->files_changed == NULL ||
			source->settle == NULL || source->tick == NULL ||
			event_add(source->tick, &tick) != 0)
			error = -ENOMEM;
	}
	if (error != 0) {
		report_line(report, "the host's settings cannot be followed: %s", strerror(-error));
		source_host_close(daemon);
		return error;
	}
	ticked(-1, 0, source);
	source_host_refresh(daemon);
	return 0;
}

void
source_host_close(struct daemon *daemon)
{
	struct source_host *source = daemon->host;
	struct event *const events[] = {source != NULL ? source->changed : NULL,
		source != NULL ? source->files_changed : NULL,
		source != NULL ? source->settle : NULL, source != NULL ? source->tick : NULL};

	if (source == NULL)
		return;
	daemon->host = NULL;
	for (unsigned i = 0; i < RTE_DIM(events); i++)
		if (events[i] != NULL)
			event_free(events[i]);
	if (source->netlink != NULL)
		mnl_socket_close(source->netlink);
	if (source->inotify >= 0)
		close(source->inotify);
	free(source);
}

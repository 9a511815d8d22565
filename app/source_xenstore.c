/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Nothing here follows events: each of them - a new view of xenstore, an interface of the kernel
 * that changed, a second that went by - is only a reason to look at all vifs again, and to do for
 * each what it takes to get from where it is to where it should be. So it does not matter which
 * events were lost, came twice, or came together.
 *
 * The kernel's interface is what tells one vif from the next of the same name: netback makes it
 * when the node is made and removes it with the node, and its index is never used again. Beside it
 * count the values in xenstore, and whether `hotplug-status` is still there, which only who makes a
 * node anew leaves out.
 *
 * xenstored's tree may be empty for a while after it was started again. So what is attached stays
 * attached when it is missing there, as long as its interface exists, for GRACE_MS.
 *
 * Nothing is switched off for the guest (`feature-gso-*`, `feature-sg`): a kernel port takes frames
 * of 64 KiB with partial checksums, and one that cannot be had with a virtio_net_hdr is not opened.
 */
#include "app/source_xenstore.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <rte_common.h>

#include "app/event.h"
#include "app/log.h"
#include "app/method.h"
#include "app/xenstore_client.h"
#include "conf/live.h"

/* netback has said that it waits, but its interface is still to come. */
#define INTERFACE_MS 3000
/* After xenstored came back: its tree may be filled again. */
#define GRACE_MS 5000
/* What could not be put in force is tried again, even if nothing of it changes. */
#define RETRY_LEAST_MS 2000
#define RETRY_MOST_MS 300000
/*
 * A guest can close its end and open it again as often as it likes. After so many lives shorter
 * than that in a row, each next one has to wait longer.
 */
#define LIFE_SHORT_MS 10000
#define LIVES_SHORT_MAX 3
#define REST_LEAST_MS 500
#define REST_MOST_MS 8000
/* That the control thread is busy with vifs before others have their turn. */
#define TURN_MS 20
#define LINK_MESSAGES_MAX 256
/* xenstored is called hung. */
#define HANG_MS 3000

enum stage {
	STAGE_WAITS, /* for what is missing; not in force */
	STAGE_UP,
	STAGE_REFUSED,
};

struct attachment {
	struct xenstore_vif seen; /* as xenstore had it when it was last there */
	bool there;
	enum stage stage;
	struct xenstore_vif used; /* STAGE_UP: what is in force; STAGE_REFUSED: what was refused */
	unsigned ifindex;         /* likewise */
	uint64_t announced;       /* number of the last announcement, 0: none */
	uint64_t announced_ms;    /* when that was */
	int write_error;          /* of it */
	uint64_t up_ms;           /* when it was brought up last */
	unsigned short_lives;     /* in a row */
	uint64_t rests_till_ms;   /* not brought up before */
	uint64_t deadline_ms; /* 0: none. STAGE_WAITS: for the interface. STAGE_UP: for the node.
				 STAGE_REFUSED: until the next try */
	uint64_t pause_ms;    /* before that */
};

struct source_xenstore {
	struct daemon *daemon;
	struct xenstore_client *client;
	struct event *news, *links, *tick, *again;
	int link_fd; /* -1: interfaces are looked at once a second */
	int query_fd;
	bool connected, told, hangs;
	bool settled; /* what was there at the beginning has been seen to, if anything was */
	unsigned session, left_out;
	uint64_t announced; /* what the last view knows of */
	bool apply_failed;  /* something is to go that did not */
	unsigned count;
	struct attachment *attachments; /* by domid, then devid */
};

static uint64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* 0: there is none. */
static unsigned
interface_index(const struct source_xenstore *source, const struct attachment *attachment)
{
	struct ifreq request = {0};

	xenstore_ifname_format(request.ifr_name, attachment->seen.domid, attachment->seen.devid);
	return ioctl(source->query_fd, SIOCGIFINDEX, &request) == 0 ? (unsigned)request.ifr_ifindex
								    : 0;
}

static void
vif_tell(struct source_xenstore *source, const struct attachment *attachment, const char *what,
	const char *why)
{
	char ifname[IFNAMSIZ];

	json_t *details, *reason = why != NULL ? control_text(why) : NULL;

	xenstore_ifname_format(ifname, attachment->seen.domid, attachment->seen.devid);
	details = json_pack("{s:s, s:s}", "vif", ifname, "what", what);
	if (reason != NULL)
		json_object_set_new(details, "text",
			json_sprintf("%s %s: %s", ifname, what, json_string_value(reason)));
	else
		json_object_set_new(details, "text", json_sprintf("%s %s", ifname, what));
	if (reason != NULL)
		json_object_set_new(details, "reason", reason);
	event_emit(source->daemon, "vif", details);
}

/* --- what is in force --- */

/* The last thing that is reported is why something fails; the log has all of it. */
struct failure {
	char text[256];
};

static void
failure_note(void *context, const char *line)
{
	struct failure *failure = context;

	log_report.line(log_report.context, line);
	snprintf(failure->text, sizeof(failure->text), "%s", line);
}

static int
apply(struct source_xenstore *source, struct failure *failure)
{
	const struct report report = {.line = failure_note, .context = failure};
	int error;

	failure->text[0] = '\0';
	error = daemon_apply(source->daemon, &report);
	if (error == 0)
		source->apply_failed = false;
	else if (failure->text[0] == '\0')
		snprintf(failure->text, sizeof(failure->text), "%s", strerror(-error));
	return error;
}

static int
live_put(struct source_xenstore *source, const struct xenstore_vif *vif)
{
	struct live_vif live = {.domid = vif->domid, .devid = vif->devid, .has_mac = true};

	xenstore_ifname_format(live.ifname, vif->domid, vif->devid);
	memcpy(live.has, vif->has, sizeof(live.has));
	memcpy(live.address, vif->address, sizeof(live.address));
	memcpy(live.mac, vif->mac, sizeof(live.mac));
	return live_vif_put(source->daemon->live, &live);
}

static void
life_count(struct attachment *attachment)
{
	uint64_t now_ms = clock_ms();
	unsigned over;

	if (now_ms - attachment->up_ms >= LIFE_SHORT_MS)
		attachment->short_lives = 0;
	else
		attachment->short_lives++;
	if (attachment->short_lives <= LIVES_SHORT_MAX)
		return;
	over = RTE_MIN(attachment->short_lives - LIVES_SHORT_MAX - 1, 8u);
	attachment->rests_till_ms =
		now_ms + RTE_MIN((uint64_t)REST_LEAST_MS << over, (uint64_t)REST_MOST_MS);
}

static void
connected_announce(struct source_xenstore *source, struct attachment *attachment)
{
	attachment->announced = xenstore_client_announce(source->client, &attachment->seen, NULL);
	attachment->announced_ms = clock_ms();
}

static void
vif_down(struct source_xenstore *source, struct attachment *attachment, const char *why)
{
	struct failure failure;

	live_vif_drop(source->daemon->live, attachment->used.domid, attachment->used.devid);
	if (apply(source, &failure) != 0)
		source->apply_failed = true; /* tick tries again */
	attachment->stage = STAGE_WAITS;
	attachment->deadline_ms = 0;
	life_count(attachment);
	vif_tell(source, attachment, "detached", why);
}

static void
vif_refuse(struct source_xenstore *source, struct attachment *attachment, unsigned ifindex,
	const char *why)
{
	attachment->stage = STAGE_REFUSED;
	attachment->used = attachment->seen;
	attachment->ifindex = ifindex;
	attachment->deadline_ms = 0;
	attachment->announced = xenstore_client_announce(source->client, &attachment->seen, why);
	vif_tell(source, attachment, "refused", why);
}

static void
vif_up(struct source_xenstore *source, struct attachment *attachment, unsigned ifindex)
{
	struct failure failure;

	/* a port that should be closed may still be open: on an interface that is gone, by this
	 * name */
	if (source->apply_failed && apply(source, &failure) != 0)
		return;
	if (live_put(source, &attachment->seen) != 0) {
		snprintf(failure.text, sizeof(failure.text), "out of memory");
	} else if (apply(source, &failure) == 0) {
		attachment->stage = STAGE_UP;
		attachment->used = attachment->seen;
		attachment->ifindex = ifindex;
		attachment->deadline_ms = 0;
		attachment->pause_ms = 0;
		attachment->up_ms = clock_ms();
		if (attachment->seen.hotplug == HOTPLUG_CONNECTED)
			attachment->announced = source->announced;
		else
			connected_announce(source, attachment);
		vif_tell(source, attachment, "attached", NULL);
		return;
	} else {
		live_vif_drop(source->daemon->live, attachment->seen.domid, attachment->seen.devid);
	}
	vif_refuse(source, attachment, ifindex, failure.text);
	attachment->pause_ms = RTE_MIN(RTE_MAX(attachment->pause_ms * 2, (uint64_t)RETRY_LEAST_MS),
		(uint64_t)RETRY_MOST_MS);
	attachment->deadline_ms = clock_ms() + attachment->pause_ms;
}

/* --- where a vif should be --- */

/* `hotplug-status`, which had been written, is not there. */
static bool
status_is_lost(const struct source_xenstore *source, const struct attachment *attachment)
{
	return attachment->there && attachment->seen.hotplug == HOTPLUG_NONE &&
	       attachment->write_error == 0 && source->announced >= attachment->announced;
}

/* `hotplug-status` could not be written: xenstored may have been at a limit. */
static bool
status_is_owed(
	const struct source_xenstore *source, const struct attachment *attachment, uint64_t now_ms)
{
	return attachment->there && attachment->seen.hotplug != HOTPLUG_CONNECTED &&
	       attachment->write_error != 0 && source->announced >= attachment->announced &&
	       now_ms >= attachment->announced_ms + RETRY_LEAST_MS;
}

/* Why a vif that is up must go; NULL: it need not. */
static const char *
down_reason(const struct source_xenstore *source, const struct attachment *attachment,
	unsigned ifindex, uint64_t now_ms)
{
	const struct xenstore_vif *seen = &attachment->seen;

	if (ifindex == 0)
		return "its interface is gone";
	if (ifindex != attachment->ifindex)
		return "its interface is another one";
	if (!attachment->there)
		return attachment->deadline_ms > now_ms ? NULL : "it is gone from xenstore";
	if (seen->error[0] != '\0')
		return seen->error;
	if (seen->state == XENBUS_CLOSING || seen->state == XENBUS_CLOSED)
		return "its backend closes";
	if (!xenbus_state_is_up(seen->state))
		return "it has been made anew";
	if (!xenstore_vif_same(seen, &attachment->used))
		return "it has changed";
	/* Some kernels remove it once they are connected. */
	if (status_is_lost(source, attachment) && seen->state < XENBUS_CONNECTED)
		return "it has been made anew";
	return NULL;
}

/* Whether what was refused is worth another try. */
static bool
refused_has_changed(const struct source_xenstore *source, const struct attachment *attachment,
	unsigned ifindex, uint64_t now_ms)
{
	return !xenstore_vif_same(&attachment->seen, &attachment->used) ||
	       ifindex != attachment->ifindex || !xenbus_state_is_up(attachment->seen.state) ||
	       status_is_lost(source, attachment) ||
	       (attachment->deadline_ms != 0 && attachment->deadline_ms <= now_ms);
}

/* It is not in force: bring it up, if it is all there. */
static void
waiting_look(struct source_xenstore *source, struct attachment *attachment, unsigned ifindex,
	uint64_t now_ms)
{
	const struct xenstore_vif *seen = &attachment->seen;
	char why[64];

	if (!attachment->there || !xenbus_state_is_up(seen->state) || !seen->online) {
		attachment->deadline_ms = 0;
	} else if (seen->error[0] != '\0') {
		vif_refuse(source, attachment, ifindex, seen->error);
	} else if (attachment->rests_till_ms > now_ms) {
		attachment->deadline_ms = 0; /* look_now is called every second */
	} else if (ifindex != 0) {
		vif_up(source, attachment, ifindex);
	} else if (attachment->deadline_ms == 0) {
		attachment->deadline_ms = now_ms + INTERFACE_MS;
	} else if (attachment->deadline_ms <= now_ms) {
		snprintf(why, sizeof(why), "there is no interface vif%u.%u", (unsigned)seen->domid,
			(unsigned)seen->devid);
		vif_refuse(source, attachment, ifindex, why);
	}
}

/* @return whether it took long, so that others may want their turn */
static bool
attachment_look(struct source_xenstore *source, struct attachment *attachment, uint64_t now_ms)
{
	unsigned ifindex = interface_index(source, attachment);
	enum stage before = attachment->stage;

	if (attachment->stage == STAGE_UP) {
		const char *why = down_reason(source, attachment, ifindex, now_ms);

		if (why != NULL)
			vif_down(source, attachment, why);
		else if (status_is_lost(source, attachment) ||
			 status_is_owed(source, attachment, now_ms))
			connected_announce(source, attachment);
	} else if (attachment->stage == STAGE_REFUSED &&
		   (!attachment->there ||
			   refused_has_changed(source, attachment, ifindex, now_ms))) {
		attachment->stage = STAGE_WAITS;
		attachment->deadline_ms = 0;
	}
	if (attachment->stage == STAGE_WAITS)
		waiting_look(source, attachment, ifindex, now_ms);
	return attachment->stage != before;
}

/* Forget those that are gone. */
static void
attachments_sweep(struct source_xenstore *source)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < source->count; i++) {
		const struct attachment *attachment = &source->attachments[i];

		if (attachment->there || attachment->stage == STAGE_UP)
			source->attachments[kept++] = *attachment;
	}
	source->count = kept;
}

static void
look_now(struct source_xenstore *source)
{
	uint64_t began_ms = clock_ms(), now_ms = began_ms;

	for (unsigned i = 0; i < source->count; i++) {
		if (!attachment_look(source, &source->attachments[i], now_ms))
			continue;
		now_ms = clock_ms();
		if (now_ms - began_ms >= TURN_MS) {
			event_active(source->again, EV_TIMEOUT, 0);
			return;
		}
	}
	attachments_sweep(source);
	source->settled |= source->told;
}

/* --- what xenstore says --- */

static int
vif_compare(const struct xenstore_vif *a, const struct xenstore_vif *b)
{
	return a->domid != b->domid ? (a->domid < b->domid ? -1 : 1)
				    : (int)a->devid - (int)b->devid;
}

static void
attachment_update(struct attachment *attachment, const struct xenstore_seen *seen)
{
	if (seen->write_error != 0 && attachment->write_error != seen->write_error)
		log_line("xenstore: hotplug-status of vif%u.%u cannot be written: %s",
			(unsigned)seen->vif.domid, (unsigned)seen->vif.devid,
			strerror(seen->write_error));
	attachment->write_error = seen->write_error;
	attachment->seen = seen->vif;
	if (!attachment->there && attachment->stage == STAGE_UP)
		attachment->deadline_ms = 0;
	attachment->there = true;
}

/* @param deadline_ms until when it may be missing */
static void
attachment_missing(struct attachment *attachment, bool new_session, uint64_t deadline_ms)
{
	if (attachment->stage == STAGE_UP && new_session)
		attachment->deadline_ms = deadline_ms;
	attachment->there = false;
}

/* Both are in the same order. @return false for want of memory: then nothing has changed */
static bool
view_merge(struct source_xenstore *source, const struct xenstore_view *view)
{
	const bool new_session = view->session != source->session;
	const uint64_t deadline_ms = clock_ms() + GRACE_MS;
	struct attachment *merged =
		calloc(source->count + view->count + 1, sizeof(*source->attachments));
	unsigned count = 0, old = 0;

	if (merged == NULL)
		return false;
	for (unsigned i = 0; i < view->count || old < source->count;) {
		int order = i == view->count       ? 1
			    : old == source->count ? -1
						   : vif_compare(&view->vifs[i].vif,
							     &source->attachments[old].seen);

		if (order >= 0)
			merged[count] = source->attachments[old++];
		if (order <= 0)
			attachment_update(&merged[count], &view->vifs[i++]);
		else
			attachment_missing(&merged[count], new_session, deadline_ms);
		count++;
	}
	free(source->attachments);
	source->attachments = merged;
	source->count = count;
	source->session = view->session;
	source->announced = view->announced;
	return true;
}

/* @param text taken */
static void
source_tell(const struct source_xenstore *source, bool up, json_t *text)
{
	event_emit(source->daemon, "source",
		json_pack("{s:o, s:s, s:b}", "text", text, "source", "xenstore", "up", (int)up));
}

static void
connection_tell(struct source_xenstore *source, const struct xenstore_view *view)
{
	if (view->connected && !source->connected)
		source_tell(
			source, true, json_sprintf("xenstore: connected, %u vifs", view->count));
	else if (!view->connected && source->connected)
		source_tell(source, false,
			json_sprintf("xenstore: the connection is lost (%s), vifs stay as they are",
				strerror(view->error)));
	else if (!view->connected && !source->told)
		source_tell(source, false,
			json_sprintf("xenstore: there is no xenstored (%s), it is tried again",
				strerror(view->error)));
	if (view->left_out != 0 && source->left_out == 0)
		log_line("xenstore: there are more than %u vifs; %u are left out",
			XENSTORE_VIFS_MAX, view->left_out);
	source->told = true;
	source->connected = view->connected;
	source->left_out = view->left_out;
}

/* --- reasons to look --- */

static void
view_came(evutil_socket_t number, short events, void *context)
{
	struct source_xenstore *source = context;
	struct xenstore_view *view = xenstore_client_take(source->client);

	(void)number, (void)events;
	if (view == NULL)
		return;
	connection_tell(source, view);
	if (!view->connected || view_merge(source, view))
		look_now(source);
	free(view);
}

/* What the message says does not matter, nor how many were lost. */
static void
link_changed(evutil_socket_t number, short events, void *context)
{
	char ignored[8192];

	(void)events;
	for (unsigned i = 0; i < LINK_MESSAGES_MAX; i++)
		if (recv((int)number, ignored, sizeof(ignored), MSG_DONTWAIT) < 0 &&
			errno != ENOBUFS)
			break;
	look_now(context);
}

static void
hang_tell(struct source_xenstore *source)
{
	bool hangs = xenstore_client_waits_ms(source->client) >= HANG_MS;

	if (hangs && !source->hangs)
		source_tell(source, false,
			json_sprintf("xenstore: xenstored has not answered for %u s, vifs stay as "
				     "they are",
				HANG_MS / 1000));
	else if (!hangs && source->hangs)
		source_tell(source, true, json_sprintf("xenstore: xenstored answers again"));
	source->hangs = hangs;
}

static void
second_went(evutil_socket_t number, short events, void *context)
{
	struct source_xenstore *source = context;
	struct failure failure;

	(void)number, (void)events;
	hang_tell(source);
	if (source->apply_failed)
		(void)apply(source, &failure);
	look_now(source);
}

static void
look_again(evutil_socket_t number, short events, void *context)
{
	(void)number, (void)events;
	look_now(context);
}

/* --- open, close --- */

/* Without it interfaces are looked at once a second. */
static void
links_open(struct source_xenstore *source)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	source->link_fd = fd;
	if (fd >= 0 && bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		source->links = event_new(
			source->daemon->base, fd, EV_READ | EV_PERSIST, link_changed, source);
	if (source->links == NULL || event_add(source->links, NULL) != 0)
		log_line("xenstore: the kernel does not tell of interfaces: %s; vifs may take a "
			 "second longer",
			strerror(errno));
}

int
source_xenstore_open(
	struct daemon *daemon, const struct report *report, struct source_xenstore **out)
{
	const struct timeval second = {.tv_sec = 1};
	struct source_xenstore *source = calloc(1, sizeof(*source));
	int error = 0;

	if (source == NULL) {
		report_line(report, "out of memory");
		return -ENOMEM;
	}
	source->daemon = daemon;
	source->link_fd = -1;
	source->query_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (source->query_fd < 0)
		error = -errno;
	if (error == 0)
		error = xenstore_client_create(&source->client);
	if (error == 0) {
		source->news = event_new(daemon->base, xenstore_client_fd(source->client),
			EV_READ | EV_PERSIST, view_came, source);
		source->tick = event_new(daemon->base, -1, EV_PERSIST, second_went, source);
		source->again = event_new(daemon->base, -1, 0, look_again, source);
		if (source->news == NULL || source->tick == NULL || source->again == NULL ||
			event_add(source->news, NULL) != 0 || event_add(source->tick, &second) != 0)
			error = -ENOMEM;
	}
	if (error != 0) {
		report_line(report, "xenstore cannot be followed: %s", strerror(-error));
		source_xenstore_close(source);
		return error;
	}
	links_open(source);
	*out = source;
	return 0;
}

static void
too_late(evutil_socket_t number, short events, void *context)
{
	(void)number, (void)events;
	*(bool *)context = true;
}

void
source_xenstore_settle(struct source_xenstore *source, unsigned most_ms)
{
	const struct timeval most = {
		.tv_sec = most_ms / 1000, .tv_usec = (suseconds_t)(most_ms % 1000 * 1000)};
	struct event *timer;
	bool late = false;

	if (source == NULL)
		return;
	timer = evtimer_new(source->daemon->base, too_late, &late);
	if (timer == NULL || evtimer_add(timer, &most) != 0)
		late = true;
	while (!late && !source->settled)
		event_base_loop(source->daemon->base, EVLOOP_ONCE);
	if (!source->settled)
		log_line("xenstore: not all vifs are there after %u ms, they come later", most_ms);
	if (timer != NULL)
		event_free(timer);
}

static void
event_end(struct event *event)
{
	if (event != NULL)
		event_free(event);
}

void
source_xenstore_close(struct source_xenstore *source)
{
	if (source == NULL)
		return;
	event_end(source->news);
	event_end(source->links);
	event_end(source->tick);
	event_end(source->again);
	xenstore_client_free(source->client);
	if (source->link_fd >= 0)
		close(source->link_fd);
	if (source->query_fd >= 0)
		close(source->query_fd);
	free(source->attachments);
	free(source);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What happens, told to whoever has asked for it over the control socket, and to the log.
 *
 * One table of kinds. Each row is EVENT(identifier, "kind", lines, "help"): the log takes at most
 * `lines` lines of a kind per minute, 0 is no limit; what it left out is said with the next one.
 * EVENT_UNLOGGED are for subscribers alone: of drops the log has its own lines, which never name a
 * destination of what was accepted (app/refusal_log.h).
 * Nothing here is called by a worker.
 */
#pragma once

#include <jansson.h>
#include <limits.h>

#include "app/daemon.h"

#define EVENT_UNLOGGED UINT_MAX

/* clang-format off */
#define EVENTS(EVENT) \
	EVENT(POLICY,		"policy",	     0, "a policy has come into force") \
	EVENT(POLICY_REFUSED,	"policy-refused",    0, "a change or a configuration was not taken up") \
	EVENT(PORT,		"port",		     0, "the link of a port has come up or gone down") \
	EVENT(VIF,		"vif",		   120, "a vif was attached, detached or refused") \
	EVENT(PORT_ADDED,	"port-added",	     0, "a port has been opened while sluiced runs") \
	EVENT(PORT_REMOVED,	"port-removed",	     0, "a port that was taken away has been closed") \
	EVENT(FORWARD_ADDED,	"forward-added",     0, "a port forward listens") \
	EVENT(FORWARD_DELETED,	"forward-deleted",   0, "a port forward does not listen any more") \
	EVENT(FORWARD_EXPIRED,	"forward-expired",   0, "the time of a port forward is over") \
	EVENT(RULE_EXPIRED,	"rule-expired",	     0, "the time of a rule is over") \
	EVENT(NAME,		"name",		    20, "a name in rules has an address that it did not have") \
	EVENT(RULES_REFUSED,	"rules-refused",    60, "rules that QubesDB has are refused") \
	EVENT(SOURCE,		"source",	    60, "QubesDB or xenstore is there, or is not") \
	EVENT(BUDGET,		"budget",	    60, "a qube was refused something by its limits") \
	EVENT(DEAF,		"deaf",		    60, "somebody let the kernel hear what is ours; put right") \
	EVENT(USER_SCRIPTS,	"user-scripts",	     0, "scripts for qubes-firewall or hooks are there, and have no effect") \
	EVENT(DROP,		"drop", EVENT_UNLOGGED, "a packet was dropped, one of many")
/* clang-format on */

enum event_kind {
#define EVENT_ENUM(identifier, name, lines, help) EVENT_##identifier,
	EVENTS(EVENT_ENUM)
#undef EVENT_ENUM
		EVENT_KINDS
};

struct event_info {
	const char *name;
	const char *help;
	unsigned lines;
};
extern const struct event_info event_kinds[EVENT_KINDS];

struct control_request;
struct events;

/** Be ready for subscribers, and look at ports and budgets from now on. @return 0 or -errno */
int events_create(struct daemon *daemon, struct events **out);

/** No subscriber may be left: after control_close. NULL is fine. */
void events_free(struct events *events);

/**
 * Tell subscribers and the log. Never waits for anybody.
 * @param name one of the table
 * @param details taken: an object whose member `text` is one sentence for people; what else it has
 *	goes as it is, but `id`, `kind`, `missed`, and `time` (unix seconds) unless it is there
 */
void event_emit(struct daemon *daemon, const char *name, json_t *details);

/** The method `events`: subscribe a request to a list of kinds, NULL for all; or fail it. */
void event_subscribe(struct control_request *request, const json_t *kinds);

/** Whether anybody would hear of an event of this kind now: what is costly need not be made else.
 */
bool event_wanted(const struct daemon *daemon, const char *kind);

/** Whether the device behind a port was up when it was last looked at. */
bool event_port_up(const struct daemon *daemon, unsigned port);

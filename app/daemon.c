/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a policy comes into force in sluiced: when the configuration is read again, when something is
 * changed over the control socket, and when the time of a rule or forward is over. Whatever cannot
 * be done changes nothing.
 *
 * A change goes this way: policy built -> kept changes on disk -> policy published -> answered.
 * So what was answered is in force and outlives a crash, and what cannot be written is not in force
 * either.
 */
#include "app/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <rte_cycles.h>

#include "app/event.h"
#include "app/log.h"
#include "app/method_change.h"
#include "app/name_service.h"
#include "app/port_change.h"
#include "app/settings.h"
#include "app/source_host.h"
#include "app/telemetry.h"
#include "app/uplink_change.h"
#include "conf/changes_file.h"
#include "conf/live.h"
#include "conf/rule_text.h"

/* After an expiry that could not be carried out, such as without memory. */
#define RETRY_S 1

const struct policy *
daemon_policy(const struct daemon *daemon)
{
	return atomic_load_explicit(&daemon->dataplane->policy, memory_order_relaxed);
}

uint64_t
daemon_now(void)
{
	struct timespec now;

	/* time() may lag behind by a tick, and a timer would find that it has come too early. */
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

bool
daemon_rule_origin(const struct daemon *daemon, const struct conf_qube *qube, unsigned number,
	char *text, size_t text_size)
{
	struct qube_rules rules = changes_rules(daemon->changes, qube);
	const struct rule *rule;

	/* Not from the policy: rules that moved in their file without changing stay compiled. */
	if (rules.state != RULES_VALID || number >= rules.ruleset->count)
		return false;
	rule = &rules.ruleset->rules[number];
	if (rule->line != 0 && rule->origin == ORIGIN_QUBESDB)
		snprintf(text, text_size, "%s:%04u", change_origin(rule->origin), rule->line - 1);
	else if (rule->line != 0 && rules.source != NULL)
		snprintf(text, text_size, "%s:%u", rules.source, rule->line);
	else
		snprintf(text, text_size, "%s", change_origin(rule->origin));
	return true;
}

/* Building and publishing. */

/* Rules that are sound, and that the compiler refuses: for want of memory, as a rule. */
static bool
compiler_refuses(
	const struct conf *conf, const struct changes *changes, const struct policy *wanted)
{
	for (unsigned i = 0; i < wanted->qube_count; i++) {
		const struct qube *qube = &wanted->qubes[i];

		if (qube->rules->state != RULES_BAD)
			continue;
		for (unsigned j = 0; j < conf->qube_count; j++)
			if (strcmp(conf->qubes[j].name, qube->name) == 0 &&
				changes_rules(changes, &conf->qubes[j]).state == RULES_VALID)
				return true;
	}
	return false;
}

/* Whether QubesDB has rules for a qube that count, and are bad: then nothing is what it may do. */
static bool
qubesdb_refuses(const struct conf *conf, const struct changes *changes, const char *name)
{
	const struct conf_qube *qube = conf_qube_find(conf, name);

	return qube != NULL &&
	       (qube->tree[FAMILY_IPV4] != NULL || qube->tree[FAMILY_IPV6] != NULL) &&
	       changes_rules(changes, qube).state == RULES_BAD;
}

/* Whether rules that are in force would become unusable. */
static bool
breaks_rules(const struct conf *conf, const struct changes *changes, const struct policy *running,
	const struct policy *wanted)
{
	for (unsigned i = 0; i < RTE_MIN(running->qube_count, wanted->qube_count); i++)
		if (wanted->qubes[i].rules->state == RULES_BAD &&
			running->qubes[i].rules->state != RULES_BAD &&
			running->qubes[i].name[0] != '\0' &&
			!qubesdb_refuses(conf, changes, wanted->qubes[i].name))
			return true;
	return false;
}

static void
publish(struct daemon *daemon, struct policy *wanted)
{
	telemetry_hold(true);
	dataplane_publish(daemon->dataplane, wanted);
	telemetry_hold(false);
	uplink_change_follow(daemon);
	daemon->policy_s = daemon_now();
	name_service_policy(daemon->names);
}

int
daemon_commit(struct daemon *daemon, const struct conf *conf, const struct changes *changes,
	const struct report *report)
{
	const struct policy *running = daemon_policy(daemon);
	struct policy *wanted = NULL;
	struct port_plan *plan = NULL;
	int error = policy_build_changed(conf, changes, running, daemon_now(), report, &wanted);

	if (error != 0)
		return error;
	if (breaks_rules(conf, changes, running, wanted)) {
		policy_free(wanted);
		return -EINVAL;
	}
	error = port_plan_make(daemon, conf, wanted, report, &plan);
	if (error != 0) {
		policy_free(wanted);
		return error;
	}
	publish(daemon, wanted);
	port_plan_carry_out(plan);
	return 0;
}

int
daemon_apply(struct daemon *daemon, const struct report *report)
{
	struct conf *wanted;
	int error = conf_compose(daemon->file, daemon->live, report, &wanted);

	if (error != 0)
		return error;
	error = daemon_commit(daemon, wanted, daemon->changes, report);
	if (error != 0) {
		conf_free(wanted);
		return error;
	}
	conf_free(daemon->conf);
	daemon->conf = wanted;
	daemon_expiry_arm(daemon);
	return 0;
}

/* Changes. */

int
daemon_changes_load(struct daemon *daemon, const struct report *report)
{
	const char *state_dir = daemon->conf->state_dir;
	int error;

	if (mkdir(state_dir, 0700) != 0 && errno != EEXIST)
		report_line(report, "%s cannot be created: %s; nothing can be kept there",
			state_dir, strerror(errno));
	error = changes_file_open(state_dir, daemon_now(), report, &daemon->kept, &daemon->changes);
	if (error == 0)
		changes_warn(daemon->changes, daemon->conf, daemon_now(), report);
	return error;
}

int
daemon_change(struct daemon *daemon, struct changes *changes, enum change_mode mode,
	const struct report *report)
{
	struct policy *wanted = NULL;
	int error = policy_build_changed(
		daemon->conf, changes, daemon_policy(daemon), daemon_now(), report, &wanted);

	if (error == 0 && compiler_refuses(daemon->conf, changes, wanted))
		error = -ENOMEM;
	if (error == 0 && mode == CHANGE_KEPT)
		error = changes_file_keep(daemon->kept, changes, daemon_now(), report);
	if (error != 0 || mode == CHANGE_CHECK) {
		policy_free(wanted);
		return error;
	}
	publish(daemon, wanted);
	changes_free(daemon->changes);
	daemon->changes = changes;
	daemon_expiry_arm(daemon);
	return 0;
}

/* Time. */

/* @param expire_s unix time, 0: never */
static void
expiry_set(const struct daemon *daemon, uint64_t expire_s)
{
	const struct itimerspec when = {.it_value.tv_sec = (time_t)expire_s};

	if (daemon->expiry == NULL)
		return; /* it begins with what there is then */
	/* Whoever sets the clock wakes us too. */
	(void)timerfd_settime(event_get_fd(daemon->expiry),
		TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

void
daemon_expiry_arm(struct daemon *daemon)
{
	uint64_t forward_s = forward_next_expiry(daemon_policy(daemon)->forwards);
	uint64_t next_s = changes_next_expiry(daemon->changes);

	if (next_s == 0 || (forward_s != 0 && forward_s < next_s))
		next_s = forward_s;
	expiry_set(daemon, next_s);
}

int
daemon_expiry_open(struct daemon *daemon, const struct report *report)
{
	int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	daemon->expiry =
		fd >= 0 ? event_new(daemon->base, fd, EV_READ | EV_PERSIST, daemon_expired, daemon)
			: NULL;
	if (daemon->expiry != NULL && event_add(daemon->expiry, NULL) == 0) {
		daemon_expiry_arm(daemon);
		return 0;
	}
	report_line(report, "no timer for rules and forwards that end: %s", strerror(errno));
	if (daemon->expiry == NULL && fd >= 0)
		close(fd);
	return -EIO;
}

void
daemon_expiry_close(struct daemon *daemon)
{
	int fd;

	if (daemon->expiry == NULL)
		return;
	fd = event_get_fd(daemon->expiry);
	event_free(daemon->expiry);
	close(fd);
}

/* @param why taken */
static void
tell_policy(struct daemon *daemon, json_t *why)
{
	const struct policy *policy = daemon_policy(daemon);

	event_emit(daemon, "policy",
		json_pack("{s:o, s:I, s:I, s:I}", "text", why, "generation",
			(json_int_t)policy->generation, "forwards",
			(json_int_t)policy->forwards->count, "compiled",
			(json_int_t)policy->compiled));
}

static bool
is_over(uint64_t expire_s, uint64_t now_s)
{
	return expire_s != 0 && expire_s <= now_s;
}

/* Note the rules in force whose time is over. */
static void
rules_note_over(const struct daemon *daemon, uint64_t now_s, json_t *events)
{
	for (unsigned i = 0; i < daemon->conf->qube_count; i++) {
		const struct conf_qube *qube = &daemon->conf->qubes[i];
		struct qube_rules rules = changes_rules(daemon->changes, qube);

		if (rules.state != RULES_VALID || rules.layer <= ORIGIN_QUBESDB)
			continue;
		for (unsigned j = 0; j < rules.ruleset->count; j++) {
			const struct rule *rule = &rules.ruleset->rules[j];
			char *text;

			if (!is_over(rule->expire_s, now_s))
				continue;
			text = rule_format(rule, true);
			json_array_append_new(events,
				json_pack("{s:s, s:o, s:s, s:s?}", "kind", "rule-expired", "text",
					json_sprintf("the time of a rule of qube %s is over: %s",
						qube->name, text != NULL ? text : ""),
					"qube", qube->name, "rule", text));
			free(text);
		}
	}
}

static void
forwards_note_over(const struct daemon *daemon, uint64_t now_s, json_t *events)
{
	const struct policy *policy = daemon_policy(daemon);

	for (unsigned i = 0; i < policy->forwards->count; i++) {
		const struct forward *forward = &policy->forwards->forwards[i];

		if (!is_over(forward->expire_s, now_s))
			continue;
		json_array_append_new(events,
			json_pack("{s:s, s:o, s:s, s:s}", "kind", "forward-expired", "text",
				json_sprintf("the time of forward %s is over", forward->name),
				"name", forward->name, "qube", policy->qubes[forward->qube].name));
	}
}

/* What is over goes, whatever else it costs: a rule that ended must not stay for want of memory. */
static int
expire(struct daemon *daemon, uint64_t now_s)
{
	struct changes *changes = changes_copy(daemon->changes);
	struct policy *wanted = NULL;
	int error = changes != NULL && changes_expire(changes, now_s) >= 0 ? 0 : -ENOMEM;

	if (error == 0)
		error = policy_build_changed(
			daemon->conf, changes, daemon_policy(daemon), now_s, &log_report, &wanted);
	if (error != 0) {
		changes_free(changes);
		return error;
	}
	publish(daemon, wanted);
	changes_free(daemon->changes);
	daemon->changes = changes;
	return 0;
}

void
daemon_expired(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	uint64_t now_s, fired;
	json_t *over, *event;
	unsigned forwards;
	size_t i;

	(void)events;
	/* Fails when the clock was set: then too everything is looked at again. */
	if (read((int)number, &fired, sizeof(fired)) < 0 && errno == EAGAIN)
		return;
	now_s = daemon_now();
	over = json_array();
	forwards_note_over(daemon, now_s, over);
	forwards = (unsigned)json_array_size(over);
	rules_note_over(daemon, now_s, over);
	if (json_array_size(over) == 0 && !is_over(changes_next_expiry(daemon->changes), now_s)) {
		json_decref(over);
		daemon_expiry_arm(daemon);
		return;
	}
	if (expire(daemon, now_s) != 0) {
		json_decref(over);
		expiry_set(daemon, now_s + RETRY_S);
		return;
	}
	daemon_expiry_arm(daemon);
	json_array_foreach (over, i, event) {
		char kind[32];

		snprintf(kind, sizeof(kind), "%s",
			json_string_value(json_object_get(event, "kind")));
		json_object_del(event, "kind");
		event_emit(daemon, kind, json_incref(event));
	}
	tell_policy(daemon, json_sprintf("policy %u in force: %u rules and %u forwards expired",
				    daemon_policy(daemon)->generation,
				    (unsigned)json_array_size(over) - forwards, forwards));
	json_decref(over);
}

/* Reloading. */

/*
 * What was reported last is why something is refused: before it come things that are worth knowing
 * only, such as rules of a qube that had an error already. The log has all of them.
 */
static void
last_line(void *context, const char *line)
{
	char **last = context;

	log_report.line(log_report.context, line);
	free(*last);
	*last = strdup(line);
}

void
daemon_reload(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	uint64_t start_tsc = rte_rdtsc();
	const struct policy *policy;
	struct conf *file = NULL, *conf = NULL;
	char *reason = NULL;
	const struct report report = {.line = last_line, .context = &reason};

	(void)number, (void)events;
	if (conf_load(daemon->path, &report, &file) != 0 ||
		conf_reload_check(daemon->file, file, &report) != 0 ||
		conf_compose(file, daemon->live, &report, &conf) != 0 ||
		daemon_commit(daemon, conf, daemon->changes, &report) != 0) {
		event_emit(daemon, "policy-refused",
			json_pack("{s:o, s:s, s:s}", "text",
				json_sprintf("reload: %s is not taken up, what was in force stays "
					     "in force",
					daemon->path),
				"reason", reason != NULL ? reason : "out of memory", "by",
				"SIGHUP"));
		free(reason);
		conf_free(conf);
		conf_free(file);
		return;
	}
	free(reason);
	settings_log(file, daemon->file);
	/* in this order: what was made of a file borrows from it */
	conf_free(daemon->conf);
	conf_free(daemon->file);
	daemon->conf = conf;
	daemon->file = file;
	source_host_refresh(daemon);
	changes_warn(daemon->changes, conf, daemon_now(), &log_report);
	daemon_expiry_arm(daemon);
	policy = daemon_policy(daemon);
	tell_policy(daemon,
		json_sprintf("policy %u in force: %u qubes, %u forwards, %u rulesets compiled, in "
			     "%.1f ms",
			policy->generation, conf->qube_count, policy->forwards->count,
			policy->compiled,
			(double)(rte_rdtsc() - start_tsc) * 1e3 / (double)rte_get_tsc_hz()));
}

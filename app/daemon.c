/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a policy comes into force in sluiced: when the configuration is read again, when something is
 * changed over the control socket, and when the time of a forward is over. Whatever cannot be done
 * changes nothing.
 */
#include "app/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <event2/event.h>
#include <rte_cycles.h>

#include "app/event.h"
#include "app/log.h"

const struct policy *
daemon_policy(const struct daemon *daemon)
{
	return atomic_load_explicit(&daemon->dataplane->policy, memory_order_relaxed);
}

void
daemon_expiry_arm(struct daemon *daemon)
{
	/* Longer sleeps would overflow somewhere: look again after a day. */
	const uint64_t longest_s = 24 * 3600;
	uint64_t next_s = forward_next_expiry(daemon_policy(daemon)->forwards);
	uint64_t now_s = (uint64_t)time(NULL);
	struct timeval wait = {0};

	if (next_s == 0) {
		event_del(daemon->expiry);
		return;
	}
	wait.tv_sec = (time_t)(next_s > now_s ? RTE_MIN(next_s - now_s, longest_s) : 0);
	wait.tv_usec = 1000; /* behind the second, not before it */
	event_add(daemon->expiry, &wait);
}

/* Whether rules that are in force would become unusable. */
static bool
breaks_rules(const struct policy *running, const struct policy *wanted)
{
	for (unsigned i = 0; i < RTE_MIN(running->qube_count, wanted->qube_count); i++)
		if (wanted->qubes[i].rules->state == RULES_BAD &&
			running->qubes[i].rules->state != RULES_BAD &&
			running->qubes[i].name[0] != '\0')
			return true;
	return false;
}

int
daemon_commit(struct daemon *daemon, const struct conf *conf, const struct changes *changes,
	const struct report *report)
{
	const struct policy *running = daemon_policy(daemon);
	struct policy *wanted = NULL;
	int error = policy_build(conf, running, (uint64_t)time(NULL), report, &wanted);

	(void)changes;
	if (error != 0)
		return error;
	if (breaks_rules(running, wanted)) {
		policy_free(wanted);
		return -EINVAL;
	}
	dataplane_publish(daemon->dataplane, wanted);
	daemon->policy_s = (uint64_t)time(NULL);
	daemon_expiry_arm(daemon);
	return 0;
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

/* The first thing that was reported is why something is refused; the log has all of them. */
static void
first_line(void *context, const char *line)
{
	char **first = context;

	log_report.line(log_report.context, line);
	if (*first == NULL)
		*first = strdup(line);
}

void
daemon_expired(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	unsigned before = daemon_policy(daemon)->forwards->count;

	(void)number, (void)events;
	if (daemon_commit(daemon, daemon->conf, daemon->changes, &log_report) != 0)
		return;
	tell_policy(daemon, json_sprintf("policy %u in force: %u forwards expired",
				    daemon_policy(daemon)->generation,
				    before - daemon_policy(daemon)->forwards->count));
}

void
daemon_reload(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	uint64_t start_tsc = rte_rdtsc();
	const struct policy *policy;
	struct conf *conf = NULL;
	char *reason = NULL;
	const struct report report = {.line = first_line, .context = &reason};

	(void)number, (void)events;
	if (conf_load(daemon->path, &report, &conf) != 0 ||
		conf_reload_check(daemon->conf, conf, &report) != 0 ||
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
		return;
	}
	free(reason);
	conf_free(daemon->conf);
	daemon->conf = conf;
	policy = daemon_policy(daemon);
	tell_policy(daemon,
		json_sprintf("policy %u in force: %u qubes, %u forwards, %u rulesets compiled, in "
			     "%.1f ms",
			policy->generation, conf->qube_count, policy->forwards->count,
			policy->compiled,
			(double)(rte_rdtsc() - start_tsc) * 1e3 / (double)rte_get_tsc_hz()));
}

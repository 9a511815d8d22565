/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a policy comes into force in sluiced: when the configuration is read again, when something is
 * changed over the control socket, and when the time of a forward is over. Whatever cannot be done
 * changes nothing.
 */
#include "app/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <event2/event.h>
#include <rte_cycles.h>

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
	daemon_expiry_arm(daemon);
	return 0;
}

void
daemon_expired(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	unsigned before = daemon_policy(daemon)->forwards->count;

	(void)number, (void)events;
	if (daemon_commit(daemon, daemon->conf, daemon->changes, &log_report) != 0)
		return;
	log_line("policy %u in force: %u forwards expired", daemon_policy(daemon)->generation,
		before - daemon_policy(daemon)->forwards->count);
}

void
daemon_reload(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;
	uint64_t start_tsc = rte_rdtsc();
	const struct policy *policy;
	struct conf *conf = NULL;

	(void)number, (void)events;
	if (conf_load(daemon->path, &log_report, &conf) != 0 ||
		conf_reload_check(daemon->conf, conf, &log_report) != 0 ||
		daemon_commit(daemon, conf, daemon->changes, &log_report) != 0) {
		log_line("reload: %s is not taken up, what was in force stays in force",
			daemon->path);
		conf_free(conf);
		return;
	}
	conf_free(daemon->conf);
	daemon->conf = conf;
	policy = daemon_policy(daemon);
	log_line("policy %u in force: %u qubes, %u forwards, %u rulesets compiled, in %.1f ms",
		policy->generation, conf->qube_count, policy->forwards->count, policy->compiled,
		(double)(rte_rdtsc() - start_tsc) * 1e3 / (double)rte_get_tsc_hz());
}

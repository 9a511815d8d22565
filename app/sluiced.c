/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluiced: the firewall.
 *
 * The main lcore is the control thread: it reads the configuration, builds the policy, opens the
 * ports and then waits for signals and requests. The workers are the other lcores. Until all of it
 * stands nothing is forwarded, and when any of it fails nothing is.
 *
 * SIGHUP reads the configuration again. Whatever is wrong with it is said, and then nothing has
 * changed; else workers find the new policy with their next burst. The same happens, with the
 * configuration in force, when the time of a forward is over.
 */
#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include <event2/event.h>
#include <rte_eal.h>

#include "app/control.h"
#include "app/daemon.h"
#include "app/drop_poll.h"
#include "app/eal.h"
#include "app/event.h"
#include "app/log.h"
#include "app/loop.h"
#include "app/name_service.h"
#include "app/own_udp.h"
#include "app/port_change.h"
#include "app/quiet.h"
#include "app/quiet_watch.h"
#include "app/service.h"
#include "app/privilege.h"
#include "app/settings.h"
#include "app/snapshot.h"
#include "app/source_host.h"
#include "app/source_qubesdb.h"
#include "app/source_xenstore.h"
#include "app/tap_table.h"
#include "app/telemetry.h"
#include "app/uplink_change.h"
#include "app/user_scripts.h"
#include "app/worker_call.h"
#include "conf/changes_file.h"
#include "conf/live.h"

#define DEFAULT_CONFIG "/etc/sluice/sluice.conf"
#define SNAPSHOT_NAME "flows.snapshot"
/* Longest wait for QubesDB before qubes may appear without their rules, and then for their vifs. */
#define SETTLE_MS 2000

static void
usage(FILE *stream)
{
	fputs("usage: sluiced [--config FILE]\n"
	      "       sluiced --check FILE\n"
	      "       sluiced --release [--config FILE] [INTERFACE...]\n"
	      "\n"
	      "A firewall for the network qube, on DPDK. Runs in the foreground, logs to stderr.\n"
	      "\n"
	      "  -c, --config FILE  configuration (default " DEFAULT_CONFIG ")\n"
	      "      --check FILE   only validate a configuration and its rules files\n"
	      "      --release      give interfaces back to the kernel, all without names\n"
	      "  -h, --help         this text\n"
	      "      --version      the version\n",
		stream);
}

/*
 * Rules that cannot be used are no error of the configuration: their qube is refused, and
 * conf_load has said why. Only who asks for a check gets an error for them.
 */
static unsigned
bad_rules(const struct conf *conf)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < conf->qube_count; i++)
		bad += conf->qubes[i].state == RULES_BAD;
	return bad;
}

/* Kept changes that sluiced would refuse to start with. */
static bool
bad_changes(const struct conf *conf)
{
	struct changes *changes = NULL;
	int error = changes_read(conf->state_dir, daemon_now(), &log_report, &changes);

	if (error == 0)
		changes_warn(changes, conf, daemon_now(), &log_report);
	changes_free(changes);
	return error != 0;
}

static int
check(const char *path)
{
	struct conf *conf = NULL;
	bool bad;

	privilege_begin(); /* as when it runs */
	if (conf_load(path, &log_report, &conf) != 0)
		return EXIT_FAILURE;
	bad = bad_rules(conf) != 0;
	bad |= bad_changes(conf);
	if (!bad)
		printf("%s: %u ports, %u qubes: good\n", path, conf->port_count, conf->qube_count);
	conf_free(conf);
	return bad ? EXIT_FAILURE : EXIT_SUCCESS;
}

struct release {
	char names[PORTS_MAX][IFNAMSIZ];
	unsigned count;
};

static void
release_add(void *context, const char *ifname)
{
	struct release *list = context;

	for (unsigned i = 0; i < list->count; i++)
		if (strcmp(list->names[i], ifname) == 0)
			return;
	if (list->count < PORTS_MAX)
		snprintf(list->names[list->count++], IFNAMSIZ, "%s", ifname);
}

/*
 * The kernel may have its interfaces back. Who asks for it may have a configuration that does not
 * load any more: it only says where was noted what their settings were.
 */
static int
release(const char *path, char *const *names)
{
	struct release list = {0};
	struct conf *conf = NULL;
	int status = EXIT_SUCCESS;
	char error[256] = "";

	if (conf_load(path, &log_report, &conf) != 0)
		log_line("going on with what was noted in " STATE_DIR_DEFAULT);
	quiet_keep_in(conf != NULL ? conf->state_dir : STATE_DIR_DEFAULT);
	for (unsigned i = 0; names[i] != NULL; i++) {
		if (strlen(names[i]) < IFNAMSIZ) {
			release_add(&list, names[i]);
			continue;
		}
		log_line("%s: no interface has such a name", names[i]);
		status = EXIT_FAILURE;
	}
	if (names[0] == NULL)
		quiet_each(release_add, &list);
	for (unsigned i = 0; i < list.count; i++) {
		if (quiet_release(list.names[i], error, sizeof(error)) == 0) {
			printf("%s: given back to the kernel\n", list.names[i]);
			continue;
		}
		log_line("%s: %s", list.names[i], error);
		status = EXIT_FAILURE;
	}
	if (list.count == 0 && names[0] == NULL)
		printf("no interface was taken\n");
	conf_free(conf);
	return status;
}

/* A kernel port takes three descriptors and one more for each worker; 1024 are soon used up. */
static void
descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		log_line("no more than %llu files can be open: %s",
			(unsigned long long)limit.rlim_cur, strerror(errno));
}

/*
 * Let the signals we serve wait until we do, or let them in. All other threads are started while
 * they are held, and never get any.
 */
static void
signals_hold(bool hold)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

/*
 * Take up the flows that the last stop left. From here on they are in our hands alone, their file
 * is gone: whatever else goes wrong, they are written again. Nothing of it keeps us from starting.
 */
static void
flows_restore(struct daemon *daemon)
{
	if (asprintf(&daemon->snapshot_path, "%s/%s", daemon->conf->state_dir, SNAPSHOT_NAME) < 0) {
		daemon->snapshot_path = NULL;
		log_line("out of memory: connections do not survive this restart");
		return;
	}
	/* Without it, connections may be taken up in the middle, if that is configured. */
	daemon->dataplane->pickup =
		snapshot_read(daemon->dataplane, 0, daemon->snapshot_path, &log_report) != 0;
}

/* @param now_ms the clock of the workers, which have stopped, or never ran */
static void
flows_save(struct daemon *daemon, uint32_t now_ms)
{
	if (daemon->snapshot_path != NULL)
		(void)snapshot_write(daemon->dataplane, now_ms, daemon->snapshot_path, &log_report);
	free(daemon->snapshot_path);
}

static int
build(struct daemon *daemon)
{
	struct policy *policy = NULL;
	int error;

	control_prepare(daemon->conf);
	error = privilege_directories_check(daemon->conf, &log_report);
	if (error == 0)
		error = privilege_reduce(daemon->conf, &log_report);
	if (error == 0)
		error = eal_start("sluiced", daemon->conf, false, &log_report);
	if (error == 0)
		error = daemon_changes_load(daemon, &log_report);
	if (error == 0)
		error = policy_build_changed(
			daemon->conf, daemon->changes, NULL, daemon_now(), &log_report, &policy);
	if (error == 0)
		error = dataplane_create(
			daemon->conf, policy, NULL, false, &log_report, &daemon->dataplane);
	quiet_keep_in(daemon->conf->state_dir);
	if (error == 0)
		error = port_changes_first(daemon);
	if (error == 0)
		error = worker_calls_create(daemon->dataplane, daemon->base, &daemon->calls);
	if (error == 0)
		error = port_changes_create(daemon, &daemon->ports);
	if (error == 0)
		error = events_create(daemon, &daemon->events);
	if (error == 0)
		error = uplink_change_create(daemon, &daemon->uplink_change);
	if (error == 0)
		error = source_host_open(daemon, &log_report);
	if (error == 0)
		error = drop_poll_create(daemon, &daemon->drops);
	if (error == 0)
		error = tap_table_create(daemon, &daemon->taps);
	if (error == 0)
		error = quiet_watch_create(daemon, &log_report, &daemon->deaf);
	if (error == 0)
		error = telemetry_open(daemon);
	if (error == 0)
		error = source_qubesdb_open(daemon, &daemon->qubesdb);
	if (error == 0)
		source_qubesdb_settle(daemon->qubesdb, SETTLE_MS);
	if (error == 0 && daemon->file->xenstore)
		error = source_xenstore_open(daemon, &log_report, &daemon->xenstore);
	if (error == 0)
		source_xenstore_settle(daemon->xenstore, SETTLE_MS);
	if (error == -ENOMEM)
		log_line("out of memory");
	if (error == 0)
		error = control_open(daemon->conf->socket_path, daemon->base, daemon, &log_report,
			&daemon->control);
	/* What needs more than sluiced has while it serves goes before this, the rest behind it. */
	if (error == 0)
		error = privilege_lock(daemon->conf, &log_report);
	if (error == 0) {
		flows_restore(daemon);
		daemon->policy_s = (uint64_t)time(NULL);
		daemon->dataplane->own = own_udp_create();
		if (daemon->dataplane->own == NULL) {
			log_line("out of memory");
			return -ENOMEM;
		}
		error = loop_start(
			daemon->dataplane, daemon->conf->idle, &log_report, &daemon->loop);
	}
	if (error == 0)
		error = name_service_create(daemon, &log_report, &daemon->names);
	if (error == 0)
		error = service_create(daemon, &daemon->service);
	return error;
}

static void
stop(evutil_socket_t number, short events, void *context)
{
	struct daemon *daemon = context;

	(void)events;
	service_stopping();
	log_line("signal %d: stopping", (int)number);
	event_base_loopbreak(daemon->base);
}

static void
reload(evutil_socket_t number, short events, void *context)
{
	service_reloading();
	daemon_reload(number, events, context);
	user_scripts_warn(context);
	service_ready(context);
}

static int
serve(struct daemon *daemon)
{
	struct event *term = evsignal_new(daemon->base, SIGTERM, stop, daemon);
	struct event *interrupt = evsignal_new(daemon->base, SIGINT, stop, daemon);
	struct event *hangup = evsignal_new(daemon->base, SIGHUP, reload, daemon);
	int status = EXIT_FAILURE;

	if (term != NULL && interrupt != NULL && hangup != NULL && event_add(term, NULL) == 0 &&
		event_add(interrupt, NULL) == 0 && event_add(hangup, NULL) == 0 &&
		daemon_expiry_open(daemon, &log_report) == 0) {
		signals_hold(false);
		log_line("ready: %u ports, %u qubes, %u workers", daemon->conf->port_count,
			daemon->conf->qube_count, daemon->conf->workers);
		user_scripts_warn(daemon);
		service_ready(daemon);
		if (event_base_dispatch(daemon->base) == 0)
			status = EXIT_SUCCESS;
	}
	/* Who says it twice must not cost the connections that are about to be saved. */
	signals_hold(true);
	if (term != NULL)
		event_free(term);
	if (interrupt != NULL)
		event_free(interrupt);
	if (hangup != NULL)
		event_free(hangup);
	daemon_expiry_close(daemon);
	return status;
}

static int
run(const char *path)
{
	struct daemon daemon = {.path = path, .start_s = (uint64_t)time(NULL)};
	int status = EXIT_FAILURE;
	uint32_t now_ms = 0;

	privilege_begin();
	if (conf_load(path, &log_report, &daemon.file) != 0)
		return EXIT_FAILURE;
	daemon.live = live_new();
	if (daemon.live == NULL) {
		log_line("out of memory");
		conf_free(daemon.file);
		return EXIT_FAILURE;
	}
	settings_log(daemon.file, NULL);
	descriptors_raise();
	signal(SIGPIPE, SIG_IGN);
	signals_hold(true);
	signal(SIGXFSZ, SIG_IGN); /* a snapshot over a limit is an error like a full disk */
	source_host_look(daemon.file, daemon.live, &log_report);
	daemon.base = event_base_new();
	if (daemon.base == NULL)
		log_line("out of memory");
	else if (conf_compose(daemon.file, daemon.live, &log_report, &daemon.conf) == 0 &&
		 build(&daemon) == 0)
		status = serve(&daemon);

	source_xenstore_close(daemon.xenstore);
	service_free(daemon.service);
	if (daemon.loop != NULL) {
		now_ms = loop_now(daemon.loop);
		loop_stop(daemon.loop);
	}
	name_service_stop(daemon.names);
	flows_save(&daemon, now_ms);
	telemetry_close();
	control_close(daemon.control);
	source_qubesdb_close(daemon.qubesdb);
	quiet_watch_free(daemon.deaf);
	drop_poll_free(daemon.drops);
	events_free(daemon.events);
	source_host_close(&daemon);
	uplink_change_free(daemon.uplink_change); /* its call may wait */
	port_changes_stop(daemon.ports);
	worker_calls_free(daemon.calls);
	port_changes_free(daemon.ports);
	name_service_free(daemon.names); /* its calls may have waited */
	if (daemon.dataplane != NULL)
		own_udp_free(daemon.dataplane->own);
	tap_table_free(daemon.taps); /* its calls may have waited */
	dataplane_free(daemon.dataplane);
	if (daemon.base != NULL)
		event_base_free(daemon.base);
	changes_file_close(daemon.kept, daemon_now(), &log_report);
	changes_free(daemon.changes);
	conf_free(daemon.conf);
	conf_free(daemon.file);
	live_free(daemon.live);
	rte_eal_cleanup();
	return status;
}

int
main(int argc, char **argv)
{
	enum { OPTION_CHECK = 256, OPTION_RELEASE, OPTION_VERSION };
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", required_argument, NULL, OPTION_CHECK},
		{"release", no_argument, NULL, OPTION_RELEASE},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, OPTION_VERSION},
		{NULL, 0, NULL, 0},
	};
	const char *path = DEFAULT_CONFIG;
	bool releases = false;
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			path = optarg;
			break;
		case OPTION_CHECK:
			return check(optarg);
		case OPTION_RELEASE:
			releases = true;
			break;
		case OPTION_VERSION:
			puts("sluiced " SLUICE_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			usage(stdout);
			return EXIT_SUCCESS;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (releases)
		return release(path, argv + optind);
	if (optind != argc) {
		usage(stderr);
		return 2;
	}
	return run(path);
}

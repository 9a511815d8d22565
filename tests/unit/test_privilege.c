/* SPDX-License-Identifier: BSD-3-Clause */
/* Capabilities: who needs which, and that every thread gives up the others. */
#include "app/privilege.h"
#include "app/syscall_filter.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIT(capability) (UINT64_C(1) << (capability))
#define STAYS_KERNEL (BIT(CAP_NET_RAW) | BIT(CAP_NET_ADMIN))
#define STAYS_DPDK (STAYS_KERNEL | BIT(CAP_IPC_LOCK))

static char reported[512];

static void
report_keep(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
}

static const struct report report = {report_keep, NULL};

static void
test_needed(void)
{
	struct conf_port ports[] = {{.device = DEVICE_KERNEL}, {.device = DEVICE_KERNEL}};
	struct conf conf = {.ports = ports, .port_count = 2};

	CU_ASSERT_EQUAL(privilege_needed(&conf, false), STAYS_KERNEL);
	CU_ASSERT_EQUAL(privilege_needed(&conf, true), STAYS_KERNEL);
	conf.look_group.set = true;
	CU_ASSERT_EQUAL(privilege_needed(&conf, false), STAYS_KERNEL | BIT(CAP_CHOWN));
	CU_ASSERT_EQUAL(privilege_needed(&conf, true), STAYS_KERNEL);
	conf.look_group.set = false;
	ports[1].device = DEVICE_PCI;
	CU_ASSERT_EQUAL(privilege_needed(&conf, true), STAYS_DPDK);
	CU_ASSERT((privilege_needed(&conf, false) & BIT(CAP_SYS_ADMIN)) != 0);
	ports[1].device = DEVICE_DPDK;
	CU_ASSERT_EQUAL(privilege_needed(&conf, true), STAYS_DPDK);
}

/* A line of a status file as a number. */
static uint64_t
status_of(const char *path, const char *key)
{
	char line[256];
	uint64_t value = UINT64_MAX;
	FILE *file = fopen(path, "re");

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0)
			value = strtoull(line + strlen(key), NULL, 16);
	if (file != NULL)
		fclose(file);
	return value;
}

/* @return how many threads there are for which all of it holds; negative: one for which not */
static int
threads_have(uint64_t permitted, uint64_t seccomp)
{
	DIR *directory = opendir("/proc/self/task");
	const struct dirent *entry;
	int count = 0;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		char path[300];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		if (status_of(path, "CapPrm:") != permitted ||
			status_of(path, "CapEff:") != permitted ||
			status_of(path, "CapInh:") != 0 || status_of(path, "CapBnd:") != 0 ||
			status_of(path, "CapAmb:") != 0 || status_of(path, "NoNewPrivs:") != 1 ||
			status_of(path, "Seccomp:") != seccomp)
			return -1;
		count++;
	}
	if (directory != NULL)
		closedir(directory);
	return count;
}

static void *
thread_busy(void *context)
{
	for (;;)
		sched_yield();
	return context;
}

static void *
thread_sleeps(void *context)
{
	char byte;

	/* as an lcore that waits for work: a signal must not end it */
	return read(*(const int *)context, &byte, 1) == 1 ? context : NULL;
}

static void *
thread_deaf(void *context)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	return thread_sleeps(context);
}

/* A child that starts as sluiced does, with a thread of each kind. @return its exit status */
static int
start(const struct conf *conf, void *(*third)(void *context), bool starts_more)
{
	/* a container may have taken some */
	uint64_t had = status_of("/proc/self/status", "CapEff:");
	uint64_t first = privilege_needed(conf, false) & had;
	uint64_t last = privilege_needed(conf, true) & had;
	uint64_t filtered = conf->seccomp == SECCOMP_OFF ? 0 : 2;
	pid_t child;
	int status;

	fflush(NULL);
	child = fork();
	if (child == 0) {
		pthread_t threads[3];
		int ends[2];
		void *result;

		privilege_begin();
		if ((status_of("/proc/self/status", "CapEff:") & BIT(CAP_DAC_OVERRIDE)) != 0)
			_exit(1);
		if (privilege_reduce(conf, &report) != 0 || threads_have(first, 0) != 1)
			_exit(2);
		if (pipe(ends) != 0 || pthread_create(&threads[0], NULL, thread_busy, NULL) != 0 ||
			pthread_create(&threads[1], NULL, thread_sleeps, &ends[0]) != 0 ||
			pthread_create(&threads[2], NULL, third, &ends[0]) != 0)
			_exit(3);
		if (starts_more)
			usleep(10000);
		if (privilege_lock(conf, &report) != 0)
			_exit(4);
		if (threads_have(last, filtered) != 4)
			_exit(5);
		/* they live, and still wait */
		if (write(ends[1], "xx", 2) != 2 || pthread_join(threads[1], &result) != 0 ||
			result != &ends[0])
			_exit(6);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
test_threads(void)
{
	struct conf_port port = {.device = DEVICE_KERNEL};
	struct conf conf = {.ports = &port, .port_count = 1};

	CU_ASSERT_EQUAL(start(&conf, thread_busy, false), 0);
	conf.group.set = true;
	CU_ASSERT_EQUAL(start(&conf, thread_busy, false), 0);
	port.device = DEVICE_DPDK;
	CU_ASSERT_EQUAL(start(&conf, thread_sleeps, false), 0);
	conf.seccomp = SECCOMP_OFF;
	CU_ASSERT_EQUAL(start(&conf, thread_sleeps, false), 0);
	/* a thread that cannot be made to give up anything keeps sluiced from starting */
	CU_ASSERT_EQUAL(start(&conf, thread_deaf, true), 4);
	/* unless it has nothing to give up */
	port.device = DEVICE_KERNEL;
	conf.group.set = false;
	conf.seccomp = SECCOMP_KILL;
	CU_ASSERT_EQUAL(start(&conf, thread_deaf, true), 0);
}

/* --- directories --- */

static int
check(const char *run, const char *state)
{
	char socket[128];
	struct conf conf = {.socket_path = socket, .state_dir = (char *)(uintptr_t)state};

	snprintf(socket, sizeof(socket), "%s/control.sock", run);
	reported[0] = '\0';
	return privilege_directories_check(&conf, &report);
}

static void
test_directories(void)
{
	char run[] = "/tmp/sluice-test-run-XXXXXX", state[] = "/tmp/sluice-test-state-XXXXXX";

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(run));
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(state));
	CU_ASSERT_EQUAL(check(run, state), 0);
	CU_ASSERT_EQUAL(check("/no/such/place", "/no/such/place/either"), 0);
	CU_ASSERT_EQUAL(chmod(run, 0755), 0);
	CU_ASSERT_EQUAL(check(run, state), 0);
	CU_ASSERT_EQUAL(chmod(run, 0775), 0);
	CU_ASSERT_EQUAL(check(run, state), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, run));
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "the control socket: `chmod go-w"));
	CU_ASSERT_EQUAL(chmod(run, 0757), 0);
	CU_ASSERT_EQUAL(check(run, state), -EPERM);
	/* nobody can take away what is ours there */
	CU_ASSERT_EQUAL(chmod(run, 01777), 0);
	CU_ASSERT_EQUAL(check(run, state), 0);
	CU_ASSERT_EQUAL(chmod(state, 0720), 0);
	CU_ASSERT_EQUAL(check(run, state), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "state-dir"));
	CU_ASSERT_EQUAL(chmod(state, 0700), 0);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chown(state, 1000, (gid_t)-1), 0);
		CU_ASSERT_EQUAL(check(run, state), -EPERM);
		CU_ASSERT_PTR_NOT_NULL(strstr(reported, "belongs to user 1000"));
	}
	rmdir(run);
	rmdir(state);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"who needs which", test_needed},
		{"directories that others can write to", test_directories},
		{"all threads give them up", test_threads},
	};
	/* the last one needs capabilities, and the filter that sanitizers do without */
	bool whole = geteuid() == 0 && syscall_filter_possible();

	return unit_run("privilege", tests, whole ? 3 : 2);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Capabilities belong to threads, and those of DPDK have been started by the time that the last of
 * them can go. As the C library does for setuid(), every thread is sent a signal whose handler
 * gives them up; then the kernel is asked, for every thread, whether it has.
 */
#include "app/privilege.h"

#include <cap-ng.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_common.h>

#include "app/syscall_filter.h"

#define ASK_SIGNAL SIGRTMAX
#define ASK_TRIES 2000
#define ASK_WAIT_US 1000

static const struct privilege {
	unsigned capability;
	enum privilege_for whom;
	bool stays;
} privileges[] = {
#define STAYS true
#define STARTS false
#define PRIVILEGE_ROW(name, whom, until, help) {CAP_##name, PRIVILEGE_##whom, until},
	PRIVILEGES(PRIVILEGE_ROW)
#undef PRIVILEGE_ROW
#undef STAYS
#undef STARTS
};

static bool
conf_has_dpdk_port(const struct conf *conf)
{
	for (unsigned i = 0; i < conf->port_count; i++)
		if (conf->ports[i].device == DEVICE_PCI || conf->ports[i].device == DEVICE_DPDK)
			return true;
	return false;
}

uint64_t
privilege_needed(const struct conf *conf, bool serving)
{
	const bool there[] = {
		[PRIVILEGE_ANY] = true,
		[PRIVILEGE_DPDK] = conf_has_dpdk_port(conf),
		[PRIVILEGE_GROUP] = conf->group.set || conf->look_group.set,
	};
	uint64_t needed = 0;

	for (size_t i = 0; i < RTE_DIM(privileges); i++)
		if (there[privileges[i].whom] && (privileges[i].stays || !serving))
			needed |= UINT64_C(1) << privileges[i].capability;
	return needed;
}

/* Those of @p set that we have: a container or a service file may have taken some. */
static uint64_t
capabilities_had(uint64_t set)
{
	uint64_t had = 0;

	capng_get_caps_process();
	for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
		if ((set & (UINT64_C(1) << i)) != 0 && capng_have_capability(CAPNG_PERMITTED, i))
			had |= UINT64_C(1) << i;
	return had;
}

void
privilege_begin(void)
{
	capng_get_caps_process();
	capng_updatev(CAPNG_DROP, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED),
		CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, -1);
	(void)capng_apply(CAPNG_SELECT_CAPS); /* it was not ours, then */
}

int
privilege_reduce(const struct conf *conf, const struct report *report)
{
	uint64_t keep = capabilities_had(privilege_needed(conf, false));
	bool bounded = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
	int status;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
		report_line(report, "no_new_privs: %s", strerror(errno));
		return -errno;
	}
	capng_clear(CAPNG_SELECT_ALL);
	for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
		if ((keep & (UINT64_C(1) << i)) != 0)
			capng_update(
				CAPNG_ADD, (capng_type_t)(CAPNG_EFFECTIVE | CAPNG_PERMITTED), i);
	/* Who cannot empty the bounding set has nobody to run who could gain by it. */
	status = bounded ? capng_apply(CAPNG_SELECT_BOUNDS) : 0;
	if (status == 0)
		status = capng_apply(CAPNG_SELECT_CAPS);
	if (status == 0)
		status = capng_apply(CAPNG_SELECT_AMBIENT);
	if (status != 0) {
		report_line(report, "capabilities cannot be given up (libcap-ng: %d): %s", status,
			strerror(errno));
		return -EPERM;
	}
	return 0;
}

/* ---- all threads ------------------------------------------------------------------------- */

static struct __user_cap_data_struct kept[_LINUX_CAPABILITY_U32S_3];

static void
capabilities_keep(int number)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	int before = errno;

	(void)number;
	(void)syscall(SYS_capset, &header, kept);
	errno = before;
}

/* A line of /proc/self/task/TID/status. @return false when the thread is gone */
static bool
thread_set(const char *tid, const char *key, uint64_t *set)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", tid);
	file = fopen(path, "re");
	while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, key, strlen(key)) == 0) {
			*set = strtoull(line + strlen(key), NULL, 16);
			found = true;
		}
	if (file != NULL)
		fclose(file);
	return found;
}

/* Ask every thread that has more than it is to keep. @param tid out: one of them @return how many
 */
static unsigned
threads_ask(uint64_t keep, char *tid, size_t tid_size)
{
	DIR *directory = opendir("/proc/self/task");
	const struct dirent *entry;
	unsigned asked = 0;
	uint64_t has;

	tid[0] = '\0';
	if (directory == NULL)
		return 1;
	while ((entry = readdir(directory)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
			!thread_set(entry->d_name, "CapPrm:", &has) || (has & ~keep) == 0)
			continue;
		asked++;
		snprintf(tid, tid_size, "%.16s", entry->d_name);
		(void)syscall(SYS_tgkill, getpid(), atoi(entry->d_name), ASK_SIGNAL);
	}
	closedir(directory);
	return asked;
}

static int
threads_reduce(uint64_t keep, const struct report *report)
{
	struct sigaction handler = {.sa_handler = capabilities_keep, .sa_flags = SA_RESTART};
	char tid[32] = "";
	unsigned tries = 0;

	for (unsigned i = 0; i < RTE_DIM(kept); i++)
		kept[i].effective = kept[i].permitted = (uint32_t)(keep >> (32 * i));
	if (sigaction(ASK_SIGNAL, &handler, NULL) != 0)
		return -errno;
	while (threads_ask(keep, tid, sizeof(tid)) > 0 && ++tries < ASK_TRIES)
		usleep(ASK_WAIT_US);
	handler.sa_handler = SIG_IGN;
	(void)sigaction(ASK_SIGNAL, &handler, NULL);
	if (tries < ASK_TRIES)
		return 0;
	report_line(report, "thread %s keeps capabilities it must not have", tid);
	return -EPERM;
}

int
privilege_lock(const struct conf *conf, const struct report *report)
{
	int error = threads_reduce(capabilities_had(privilege_needed(conf, true)), report);

	if (error != 0 || conf->seccomp == SECCOMP_OFF)
		return error;
	if (!syscall_filter_possible()) {
		report_line(report, "seccomp: this is a build with sanitizers, which make system "
				    "calls of their own: they are not filtered");
		return 0;
	}
	return syscall_filter_install(conf->seccomp, report);
}

/* ---- directories ------------------------------------------------------------------------- */

static int
directory_check(const char *path, const char *what, const struct report *report)
{
	struct stat status;

	if (stat(path, &status) != 0 || !S_ISDIR(status.st_mode))
		return 0; /* whoever needs it says what is wrong */
	if (status.st_uid != 0 && status.st_uid != geteuid()) {
		report_line(report,
			"%s: the directory of %s belongs to user %u, who could put other files "
			"there: `chown root %s`",
			path, what, status.st_uid, path);
		return -EPERM;
	}
	/* in one like /tmp, files of ours are ours */
	if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (status.st_mode & S_ISVTX) == 0) {
		report_line(report,
			"%s: others could put other files into the directory of %s: `chmod "
			"go-w %s`",
			path, what, path);
		return -EPERM;
	}
	return 0;
}

int
privilege_directories_check(const struct conf *conf, const struct report *report)
{
	char *parent = strdup(conf->socket_path);
	char *slash = parent != NULL ? strrchr(parent, '/') : NULL;
	int error = parent != NULL ? 0 : -ENOMEM;

	if (slash != NULL) {
		slash[slash == parent] = '\0';
		error = directory_check(parent, "the control socket", report);
	}
	free(parent);
	return error != 0 ? error : directory_check(conf->state_dir, "state-dir", report);
}

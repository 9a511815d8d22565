/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/syscall_filter.h"

#include <errno.h>
#include <execinfo.h>
#include <grp.h>
#include <linux/tiocl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_common.h>

/*
 * What sluiced and its libraries call while it serves. A name that this libseccomp or this machine
 * does not know is left out.
 */
static const char *const allowed[] = {
	/* descriptors */
	"close",
	"close_range",
	"dup",
	"dup2",
	"dup3",
	"fcntl",
	"fcntl64",
	"ioctl",
	"lseek",
	"_llseek",
	"pread64",
	"preadv",
	"preadv2",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"read",
	"readv",
	"write",
	"writev",
	"pipe",
	"pipe2",
	"eventfd",
	"eventfd2",
	"memfd_create",
	/* waiting */
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_pwait2",
	"epoll_wait",
	"poll",
	"ppoll",
	"ppoll_time64",
	"pselect6",
	"pselect6_time64",
	"select",
	"_newselect",
	/* time */
	"clock_getres",
	"clock_getres_time64",
	"clock_gettime",
	"clock_gettime64",
	"clock_nanosleep",
	"clock_nanosleep_time64",
	"gettimeofday",
	"nanosleep",
	"time",
	"timerfd_create",
	"timerfd_gettime",
	"timerfd_gettime64",
	"timerfd_settime",
	"timerfd_settime64",
	"times",
	/* files: configuration, kept changes, snapshot, settings of interfaces, sockets of ours */
	"access",
	"chmod",
	"creat",
	"faccessat",
	"faccessat2",
	"fallocate",
	"fchmod",
	"fchmodat",
	"fchmodat2",
	"fdatasync",
	"flock",
	"fstat",
	"fstat64",
	"fstatat64",
	"fstatfs",
	"fstatfs64",
	"fsync",
	"ftruncate",
	"ftruncate64",
	"getcwd",
	"getdents",
	"getdents64",
	"lstat",
	"lstat64",
	"mkdir",
	"mkdirat",
	"newfstatat",
	"open",
	"openat",
	"openat2",
	"readahead",
	"readlink",
	"readlinkat",
	"rename",
	"renameat",
	"renameat2",
	"rmdir",
	"stat",
	"stat64",
	"statfs",
	"statfs64",
	"statx",
	"umask",
	"unlink",
	"unlinkat",
	/* files that others change: resolv.conf */
	"inotify_add_watch",
	"inotify_init",
	"inotify_init1",
	"inotify_rm_watch",
	/* sockets: ports, clients, QubesDB, xenstore, netlink, resolvers, systemd */
	"accept",
	"accept4",
	"bind",
	"connect",
	"getpeername",
	"getsockname",
	"getsockopt",
	"listen",
	"recv",
	"recvfrom",
	"recvmmsg",
	"recvmmsg_time64",
	"recvmsg",
	"send",
	"sendmmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	"socket",
	"socketpair",
	/* memory */
	"brk",
	"get_mempolicy",
	"madvise",
	"mbind",
	"mincore",
	"mlock",
	"mlock2",
	"mmap",
	"mmap2",
	"mprotect",
	"mremap",
	"msync",
	"munlock",
	"munmap",
	"set_mempolicy",
	/* threads that libraries start: xenstore's reader, one for each client of telemetry */
	"clone",
	"exit",
	"exit_group",
	"futex",
	"futex_time64",
	"futex_waitv",
	"get_robust_list",
	"getcpu",
	"gettid",
	"membarrier",
	"pause",
	"prctl",
	"restart_syscall",
	"rseq",
	"sched_get_priority_max",
	"sched_get_priority_min",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"sched_setaffinity",
	"sched_yield",
	"set_robust_list",
	"set_tid_address",
	"tgkill",
	/* signals */
	"rt_sigaction",
	"rt_sigpending",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigsuspend",
	"rt_sigtimedwait",
	"rt_sigtimedwait_time64",
	"sigaltstack",
	"sigreturn",
	/* who and where we are */
	"capget",
	"getegid",
	"getegid32",
	"geteuid",
	"geteuid32",
	"getgid",
	"getgid32",
	"getgroups",
	"getgroups32",
	"getpgrp",
	"getpid",
	"getppid",
	"getrandom",
	"getresgid",
	"getresgid32",
	"getresuid",
	"getresuid32",
	"getrlimit",
	"getrusage",
	"getuid",
	"getuid32",
	"prlimit64",
	"setrlimit",
	"sysinfo",
	"ugetrlimit",
	"uname",
};

/* What nobody calls by mistake. */
static const char *const never[] = {
	/* other programs, and other processes */
	"execve",
	"execveat",
	"fork",
	"vfork",
	"ptrace",
	"process_vm_readv",
	"process_vm_writev",
	"pidfd_getfd",
	"pidfd_open",
	"pidfd_send_signal",
	"process_madvise",
	"kcmp",
	"kill",
	"tkill",
	/* other places: mounts, namespaces, files by handle */
	"chroot",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"mount",
	"mount_setattr",
	"move_mount",
	"name_to_handle_at",
	"open_by_handle_at",
	"open_tree",
	"pivot_root",
	"setns",
	"umount",
	"umount2",
	"unshare",
	/* the kernel itself */
	"add_key",
	"delete_module",
	"finit_module",
	"init_module",
	"ioperm",
	"iopl",
	"kexec_file_load",
	"kexec_load",
	"keyctl",
	"lookup_dcookie",
	"perf_event_open",
	"personality",
	"quotactl",
	"reboot",
	"request_key",
	"swapoff",
	"swapon",
	"syslog",
	"userfaultfd",
	"vm86",
	"modify_ldt",
	/* calls around this filter */
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	"io_submit",
	/* other users */
	"capset",
	"setfsgid",
	"setfsuid",
	"setgid",
	"setgroups",
	"setregid",
	"setresgid",
	"setresuid",
	"setreuid",
	"setuid",
	/* the clock */
	"adjtimex",
	"clock_adjtime",
	"clock_settime",
	"settimeofday",
	"stime",
};

/* What libraries try and can do without. */
static const struct {
	const char *name;
	int error;
	/* clone3: its flags are in memory, where no filter sees them; clone is tried next */
	/* bpf: a driver of a dpdk: port that is opened later may try; it must not end us */
} refused[] = {
	{"clone3", ENOSYS},
	{"bpf", EPERM},
	{"sched_setscheduler", EPERM},
	{"sched_setparam", EPERM},
	{"sched_setattr", EPERM},
	{"setpriority", EPERM},
	{"chown", EPERM},
	{"fchown", EPERM},
	{"fchownat", EPERM},
	{"lchown", EPERM},
};

/* Families that sockets may have: control clients and systemd, resolvers, netlink, kernel ports. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
/* Greater than all families there are, and a power of two. */
#define FAMILIES_END 64

/*
 * Calls above this one, futex_waitv of Linux 5.16, are younger than the list. It says so itself: a
 * libseccomp that knows their names does not make them better known here.
 */
#define NUMBER_YOUNGEST 449
/* Numbers of calls that may come in kernels we do not know yet. */
#define NUMBERS_END 640

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED
#endif
#endif

#define INT_MASK UINT64_C(0xffffffff)

static const char *number_names[NUMBERS_END];
static bool number_listed[NUMBERS_END];

bool
syscall_filter_possible(void)
{
#ifdef SANITIZED
	return false;
#else
	return true;
#endif
}

/* ---- the last words ---------------------------------------------------------------------- */

/* Text in pieces, without memory of our own: the call may come from within malloc(). */
static void
say(const char *text)
{
	ssize_t written = write(STDERR_FILENO, text, strlen(text));

	(void)written;
}

static void
forbidden_call(int number, siginfo_t *info, void *context)
{
	int call = info->si_syscall;
	const struct sigaction die = {.sa_handler = SIG_DFL};
	char digits[] = "0000";
	sigset_t mask;

	(void)context;
	say("sluiced: system call ");
	if (call >= 0 && call < NUMBERS_END && number_names[call] != NULL) {
		say(number_names[call]);
	} else {
		for (int i = 3, rest = call; i >= 0; i--, rest /= 10)
			digits[i] = (char)('0' + rest % 10);
		say(digits);
	}
	say(" is not on the list of those allowed: ending; `seccomp = log` in [sluice] only has "
	    "the kernel write of it\n");
	sigaction(number, &die, NULL);
	sigemptyset(&mask);
	sigaddset(&mask, number);
	pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
	raise(number);
	_exit(128 + number);
}

static int
last_words_prepare(void)
{
	struct sigaction action = {.sa_sigaction = forbidden_call, .sa_flags = SA_SIGINFO};

	for (int number = 0; number < NUMBERS_END; number++)
		if (number_names[number] == NULL)
			number_names[number] =
				seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
	return sigaction(SIGSYS, &action, NULL) == 0 ? 0 : -errno;
}

/*
 * What the C library loads when it is first needed must be there before: no code comes later. Names
 * of groups stand in sluice.conf, and a thread that is cancelled is unwound.
 */
static void
libraries_load(void)
{
	void *frame;

	(void)getgrnam("root");
	(void)backtrace(&frame, 1);
}

/* ---- the list ---------------------------------------------------------------------------- */

/* @return 0 also for calls that this machine does not have */
static int
rule_add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);
	int error;

	if (number == __NR_SCMP_ERROR)
		return 0;
	if (number >= 0 && number < NUMBERS_END)
		number_listed[number] = true;
	error = seccomp_rule_add(filter, action, number, 0);
	/* -EEXIST, -EDOM: there is no such call here, or it is part of another one */
	return error == -EACCES || error == -EDOM || error == -EEXIST ? 0 : error;
}

/* @param forbidden what becomes of calls that are not on the list; `never`: of those */
static int
list_fill(scmp_filter_ctx filter, uint32_t killed)
{
	int error = 0;

	for (size_t i = 0; i < RTE_DIM(allowed) && error == 0; i++)
		error = rule_add(filter, SCMP_ACT_ALLOW, allowed[i]);
	for (size_t i = 0; i < RTE_DIM(never) && error == 0; i++)
		error = rule_add(filter, killed, never[i]);
	for (size_t i = 0; i < RTE_DIM(refused) && error == 0; i++)
		error = rule_add(
			filter, SCMP_ACT_ERRNO((unsigned)refused[i].error), refused[i].name);
	for (int number = 0; number < NUMBERS_END && error == 0; number++)
		if (!number_listed[number] &&
			(number_names[number] == NULL || number > NUMBER_YOUNGEST))
			error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), number, 0);
	return error;
}

/* ---- the conditions ---------------------------------------------------------------------- */

/* Nothing but our own families. The kernel looks at the lower half of the argument. */
static int
families_restrict(scmp_filter_ctx filter)
{
	const uint32_t action = SCMP_ACT_ERRNO(EAFNOSUPPORT);
	int error = 0;

	for (unsigned family = 0; family < FAMILIES_END && error == 0; family++) {
		bool ours = false;

		for (size_t i = 0; i < RTE_DIM(families); i++)
			ours = ours || families[i] == (int)family;
		if (!ours)
			error = seccomp_rule_add(filter, action, SCMP_SYS(socket), 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family));
	}
	for (uint64_t bit = FAMILIES_END; bit < INT_MASK && error == 0; bit <<= 1)
		error = seccomp_rule_add(
			filter, action, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
	return error;
}

static int
conditions_fill(scmp_filter_ctx filter, uint32_t killed)
{
	const unsigned long terminal[] = {TIOCSTI, TIOCLINUX};
	int error = families_restrict(filter);

	/* no code but what is there */
	if (error == 0)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mmap), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	if (error == 0)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EACCES), SCMP_SYS(mprotect), 1,
			SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
	/* no process but this */
	if (error == 0)
		error = seccomp_rule_add(filter, killed, SCMP_SYS(clone), 1,
			SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
	if (error == 0)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid()));
	/* no limits for other processes of root */
	if (error == 0)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prlimit64), 1,
			SCMP_A0(SCMP_CMP_NE, 0));
	/* no typing into the terminal we were started from */
	for (size_t i = 0; i < RTE_DIM(terminal) && error == 0; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
			SCMP_A1(SCMP_CMP_MASKED_EQ, INT_MASK, terminal[i]));
	return error;
}

/* ---- together ---------------------------------------------------------------------------- */

static int
filter_load(uint32_t otherwise, uint32_t killed, int (*fill)(scmp_filter_ctx, uint32_t))
{
	scmp_filter_ctx filter = seccomp_init(otherwise);
	int error;

	if (filter == NULL)
		return -ENOMEM;
	/* Calls of another ABI have other numbers. */
	error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (error == 0)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	if (error == 0)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (error == 0)
		error = fill(filter, killed);
	if (error == 0)
		error = seccomp_load(filter);
	seccomp_release(filter);
	return error;
}

int
syscall_filter_install(enum seccomp_mode mode, const struct report *report)
{
	uint32_t killed = mode == SECCOMP_LOG ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	uint32_t otherwise = mode == SECCOMP_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP;
	int error = last_words_prepare();

	libraries_load();
	/* The list comes last: loading a filter is not on it. */
	if (error == 0)
		error = filter_load(SCMP_ACT_ALLOW, killed, conditions_fill);
	if (error == 0)
		error = filter_load(otherwise, killed, list_fill);
	if (error != 0)
		report_line(report,
			"seccomp: system calls cannot be filtered: %s (kernels before 4.14 cannot; "
			"[sluice] seccomp = off does without)",
			strerror(-error));
	return error;
}

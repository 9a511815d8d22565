/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The filter of system calls, in children that are expected to die of it: what ends sluiced, what
 * only fails, and what still works.
 */
#include "app/syscall_filter.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <rte_common.h>

/* What a child has said before it ended. */
static char said[1024];

static void
report_line_say(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

static const struct report report = {report_line_say, NULL};

/* Run @p call in a filtered child. @return its status as waitpid() has it */
static int
child_run(enum seccomp_mode mode, int (*call)(void *context), void *context)
{
	int ends[2];
	ssize_t got, used = 0;
	int status = -1;
	pid_t child;

	CU_ASSERT_EQUAL_FATAL(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	CU_ASSERT_FATAL(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		if (syscall_filter_install(mode, &report) != 0)
			_exit(99);
		_exit(call(context));
	}
	close(ends[1]);
	while ((got = read(ends[0], said + used, sizeof(said) - 1 - (size_t)used)) > 0)
		used += got;
	said[used] = '\0';
	close(ends[0]);
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	return status;
}

static int
call_number(void *context)
{
	(void)syscall(*(const long *)context, 0, 0, 0, 0, 0, 0);
	return 0;
}

static bool
dies(int (*call)(void *context), void *context)
{
	int status = child_run(SECCOMP_KILL, call, context);

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
}

static bool
succeeds(int (*call)(void *context), void *context)
{
	int status = child_run(SECCOMP_KILL, call, context);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fprintf(stderr, "\nstatus 0x%x, it said: %s\n", status, said);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* --- what ends sluiced --- */

/* The kernel does it, and the process has no say in it. */
static void
test_never(void)
{
	static const long calls[] = {SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv,
		SYS_mount, SYS_umount2, SYS_chroot, SYS_unshare, SYS_setns, SYS_open_by_handle_at,
		SYS_init_module, SYS_finit_module, SYS_kexec_load, SYS_perf_event_open,
		SYS_io_uring_setup, SYS_userfaultfd, SYS_keyctl, SYS_setuid, SYS_capset, SYS_kill,
		SYS_clock_settime, SYS_reboot};

	for (size_t i = 0; i < RTE_DIM(calls); i++) {
		bool died = dies(call_number, (void *)(uintptr_t)&calls[i]);

		if (!died)
			fprintf(stderr, "\nsystem call %ld: survived\n", calls[i]);
		CU_ASSERT(died);
		CU_ASSERT_STRING_EQUAL(said, "");
	}
}

static int
run_shell(void *context)
{
	(void)context;
	execl("/bin/sh", "sh", "-c", "exit 7", (char *)NULL);
	return 0;
}

static int
make_process(void *context)
{
	(void)context;
	return fork() == 0 ? 7 : 8;
}

static void
test_no_processes(void)
{
	CU_ASSERT(dies(run_shell, NULL));
	CU_ASSERT(dies(make_process, NULL));
}

/* A call that nobody has thought of is named in the log. */
static void
test_named(void)
{
	static const long acct = SYS_acct, sethostname = SYS_sethostname;

	CU_ASSERT(dies(call_number, (void *)(uintptr_t)&acct));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "sluiced: system call acct is not on the list"));
	CU_ASSERT(dies(call_number, (void *)(uintptr_t)&sethostname));
	CU_ASSERT_PTR_NOT_NULL(strstr(said, "sluiced: system call sethostname is not"));
}

#ifdef __x86_64__
/* The numbers of other ABIs mean other calls. */
static int
call_32_bit(void *context)
{
	long result;

	(void)context;
	/* getpid, which would be allowed */
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(20L)
			 : "memory", "r8", "r9", "r10", "r11");
	return 0;
}

static int
call_x32(void *context)
{
	(void)context;
	(void)syscall(0x40000000 + SYS_getpid);
	return 0;
}

static void
test_other_abi(void)
{
	CU_ASSERT(dies(call_32_bit, NULL));
	CU_ASSERT(dies(call_x32, NULL));
}
#endif

static atomic_int go;

static void *
thread_forbidden(void *context)
{
	while (atomic_load(&go) == 0)
		sched_yield();
	(void)syscall(SYS_acct, NULL);
	(void)context;
	return NULL;
}

/* A thread that was there before has the filter too, and takes all of the process along. */
static int
with_thread(enum seccomp_mode mode)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		pthread_t thread;
		int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(nowhere, STDERR_FILENO);
		if (pthread_create(&thread, NULL, thread_forbidden, NULL) != 0 ||
			syscall_filter_install(mode, &report) != 0)
			_exit(99);
		atomic_store(&go, 1);
		pthread_join(thread, NULL);
		_exit(0);
	}
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	return status;
}

static void
test_threads(void)
{
	int status = with_thread(SECCOMP_KILL);

	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	status = with_thread(SECCOMP_LOG);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- what fails --- */

struct refused {
	long call, a, b, c;
	int error;
};

static int
is_refused(void *context)
{
	const struct refused *refused = context;
	long result = syscall(refused->call, refused->a, refused->b, refused->c, 0, 0, 0);

	if (result == -1 && errno == refused->error)
		return 0;
	fprintf(stderr, "call %ld: %ld %s", refused->call, result, strerror(errno));
	return 1;
}

static void
test_refused(void)
{
	/* upper halves of arguments that the kernel does not look at */
	const long hidden = 1L << 40;
	const struct refused calls[] = {
		{SYS_socket, AF_VSOCK, SOCK_STREAM, 0, EAFNOSUPPORT},
		{SYS_socket, AF_VSOCK | hidden, SOCK_STREAM, 0, EAFNOSUPPORT},
		{SYS_socket, AF_ALG | hidden, SOCK_SEQPACKET, 0, EAFNOSUPPORT},
		{SYS_socket, AF_ALG, SOCK_SEQPACKET, 0, EAFNOSUPPORT},
		{SYS_socket, 1000, SOCK_RAW, 0, EAFNOSUPPORT},
		{SYS_socket, 64, SOCK_RAW, 0, EAFNOSUPPORT},
		{SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, EACCES},
		{SYS_mprotect, (long)(uintptr_t)said & ~4095L, 4096, PROT_EXEC | hidden, EACCES},
		{SYS_clone3, 0, 0, 0, ENOSYS},
		{SYS_bpf, 0, 0, 0, EPERM},
		{SYS_tgkill, 1, 1, 0, EPERM},
		{SYS_tgkill, hidden, 1, 0, EPERM},
		{SYS_ioctl, 0, TIOCSTI, 0, EPERM},
		{SYS_ioctl, 0, TIOCSTI | hidden, 0, EPERM},
		/* limits of other processes */
		{SYS_prlimit64, 1, 0, 0, EPERM},
		{SYS_prlimit64, 1, 7, (long)(uintptr_t)said, EPERM},
		{600, 0, 0, 0, ENOSYS}, /* of a kernel to come */
		/* cachestat, map_shadow_stack, futex_wake: known to libseccomp, not to the list */
		{451, 0, 0, 0, ENOSYS},
		{453, 0, 0, 0, ENOSYS},
		{454, 0, 0, 0, ENOSYS},
	};

	for (size_t i = 0; i < RTE_DIM(calls); i++)
		CU_ASSERT(succeeds(is_refused, (void *)(uintptr_t)&calls[i]));
}

/* --- what still works --- */

static void *
thread_adds(void *context)
{
	++*(int *)context;
	return NULL;
}

static void *
thread_waits(void *context)
{
	while (pause() != 0)
		;
	return context;
}

/* Libraries start threads, and cancel them. */
static int
threads_start(void *context)
{
	pthread_t thread;
	void *result;
	int count = 0;

	(void)context;
	for (unsigned i = 0; i < 3; i++)
		if (pthread_create(&thread, NULL, thread_adds, &count) != 0 ||
			pthread_join(thread, NULL) != 0)
			return 1;
	if (count != 3 || pthread_create(&thread, NULL, thread_waits, NULL) != 0)
		return 2;
	(void)pthread_cancel(thread);
	return pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED ? 0 : 3;
}

static int
files_work(void *context)
{
	const char *directory = context;
	char old[64], new[64];
	int fd;

	snprintf(old, sizeof(old), "%s/old", directory);
	snprintf(new, sizeof(new), "%s/new", directory);
	fd = open(old, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) != 0 || close(fd) != 0)
		return 1;
	if (rename(old, new) != 0 || unlink(new) != 0)
		return 2;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fsync(fd) == 0 ? 0 : 3;
}

static int
waiting_works(void *context)
{
	const struct itimerspec soon = {.it_value.tv_nsec = 1000000};
	int timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	struct pollfd waited[] = {{.fd = timer, .events = POLLIN}, {.fd = eventfd(0, EFD_CLOEXEC)}};

	(void)context;
	if (timer < 0 || waited[1].fd < 0 || timerfd_settime(timer, 0, &soon, NULL) != 0)
		return 1;
	return ppoll(waited, 2, NULL, NULL) == 1 ? 0 : 2;
}

static int
sockets_work(void *context)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

	(void)context;
	for (size_t i = 0; i < RTE_DIM(families); i++) {
		int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);

		/* a machine without IPv6 says so by itself */
		if (fd < 0 && !(families[i] == AF_INET6 && errno == EAFNOSUPPORT))
			return 1;
		close(fd);
	}
	/* refused by who we are, not by the filter */
	return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0 || errno == EPERM ? 0 : 2;
}

static atomic_int woken;

static void
wake(int number)
{
	(void)number;
	atomic_store(&woken, 1);
}

static void *
thread_wakes(void *context)
{
	while (atomic_load(&woken) == 0) {
		usleep(1000);
		pthread_kill(*(const pthread_t *)context, SIGUSR1);
	}
	return NULL;
}

/* What threads_start meets only when its thread is faster than who cancels it. */
static int
pause_works(void *context)
{
	const struct sigaction action = {.sa_handler = wake};
	pthread_t self = pthread_self(), thread;

	(void)context;
	if (sigaction(SIGUSR1, &action, NULL) != 0 ||
		pthread_create(&thread, NULL, thread_wakes, &self) != 0)
		return 1;
	(void)pause();
	return pthread_join(thread, NULL) == 0 ? 0 : 2;
}

static int
limits_work(void *context)
{
	struct rlimit limit;

	(void)context;
	return getrlimit(RLIMIT_NOFILE, &limit) != 0 || setrlimit(RLIMIT_NOFILE, &limit) != 0;
}

static int
dies_as_it_should(void *context)
{
	(void)context;
	abort();
}

static void
test_works(void)
{
	char directory[] = "/tmp/sluice-test-filter-XXXXXX";
	int status;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	CU_ASSERT(succeeds(threads_start, NULL));
	CU_ASSERT(succeeds(files_work, directory));
	CU_ASSERT(succeeds(waiting_works, NULL));
	CU_ASSERT(succeeds(sockets_work, NULL));
	CU_ASSERT(succeeds(pause_works, NULL));
	CU_ASSERT(succeeds(limits_work, NULL));
	status = child_run(SECCOMP_KILL, dies_as_it_should, NULL);
	CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	rmdir(directory);
}

/* Who looks for a mistake of the list has the call go through, and the kernel's log. */
static void
test_log(void)
{
	static const long calls[] = {SYS_acct, SYS_ptrace};

	for (size_t i = 0; i < RTE_DIM(calls); i++) {
		int status = child_run(SECCOMP_LOG, call_number, (void *)(uintptr_t)&calls[i]);

		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		CU_ASSERT_STRING_EQUAL(said, "");
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what nobody may ever call", test_never},
		{"no other programs and processes", test_no_processes},
		{"a call that is not on the list is named", test_named},
#ifdef __x86_64__
		{"calls of other ABIs", test_other_abi},
#endif
		{"all threads", test_threads},
		{"what only fails", test_refused},
		{"what still works", test_works},
		{"only written down", test_log},
	};

	if (!syscall_filter_possible()) {
		puts("a build with sanitizers filters no system calls");
		return 77;
	}
	return UNIT_RUN("syscall_filter", tests);
}

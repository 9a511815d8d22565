/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `forbidden TID NUMBER`: have a thread of another process make a system call, as an intruder who
 * has taken it over would. The thread must be waiting in one: that place is used for the other.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#ifdef __x86_64__
#define SYSCALL_SIZE 2 /* bytes: 0f 05 */
#define SYSCALL_CODE 0x050f

static int
fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	return EXIT_FAILURE;
}

int
main(int argc, char **argv)
{
	struct user_regs_struct registers;
	pid_t thread;
	int status;

	if (argc != 3)
		return 2;
	thread = atoi(argv[1]);
	if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0)
		return fail("ptrace");
	if (waitpid(thread, &status, __WALL) != thread || !WIFSTOPPED(status))
		return fail("waitpid");
	if (ptrace(PTRACE_GETREGS, thread, 0, &registers) != 0)
		return fail("registers");
	registers.rip -= SYSCALL_SIZE;
	errno = 0;
	if ((ptrace(PTRACE_PEEKTEXT, thread, registers.rip, 0) & 0xffff) != SYSCALL_CODE ||
		errno != 0) {
		fputs("the thread waits in no system call\n", stderr);
		return EXIT_FAILURE;
	}
	registers.orig_rax = (unsigned long long)-1; /* what it was in is over */
	registers.rax = strtoull(argv[2], NULL, 10);
	registers.rdi = registers.rsi = registers.rdx = registers.r10 = 0;
	if (ptrace(PTRACE_SETREGS, thread, 0, &registers) != 0 ||
		ptrace(PTRACE_DETACH, thread, 0, 0) != 0)
		return fail("registers");
	return EXIT_SUCCESS;
}
#else
int
main(void)
{
	fputs("only for x86-64\n", stderr);
	return 77;
}
#endif

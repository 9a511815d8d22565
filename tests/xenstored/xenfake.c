/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Preloaded into Debian's xenstored, lets it run on a machine without the Xen hypervisor.
 *
 * xenstored needs Xen only for (a) the ring page and event channel of each domain and (b) asking
 * "does domain N exist?". Everything that a client of its socket does (read, write, watch,
 * transactions, permissions) is plain user space. So (a) is faked with an anonymous page and an
 * eventfd, and (b) with a rule or a text file.
 *
 *	XENSTORED_RUNDIR=$dir LD_PRELOAD=xenfake.so xenstored -N -P
 *
 * XENFAKE_DOMAINS=FILE holds the domids that exist, separated by blanks or lines, and is read again
 * whenever xenstored asks; domain 0 always exists. Without it every domain exists. SIGUSR1 raises
 * VIRQ_DOM_EXC: xenstored looks at its domains again, and for one that was introduced and is gone
 * drops the nodes that it owns and fires @releaseDomain.
 *
 * Built for the interfaces of Xen 4.17. The headers are for types; no libxen* is linked.
 */
/* else open() would be compiled as open64(), which is not what xenstored calls */
#undef _FILE_OFFSET_BITS

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xenctrl.h>
#include <xenevtchn.h>
#include <xengnttab.h>

#define PAGE 4096
#define DOM0_PORT "1\n" /* the content of /proc/xen/xsd_port */
#define VIRQ_PORT 2     /* local port handed out for VIRQ_DOM_EXC */

static int dummy; /* its address serves as every opaque handle */
static int event_fd = -1;
static int next_port = VIRQ_PORT + 1;

/* --- libxenctrl --- */

/* libraries' names of parameters are not ours */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */
xc_interface *
xc_interface_open(xentoollog_logger *logger, xentoollog_logger *builder, unsigned flags)
{
	(void)logger, (void)builder, (void)flags;
	return (xc_interface *)&dummy;
}

int
xc_interface_close(xc_interface *xch)
{
	(void)xch;
	return 0;
}

static int
domain_exists(uint32_t domid)
{
	const char *path = getenv("XENFAKE_DOMAINS");
	unsigned id;
	int found = 0;
	FILE *file;

	if (domid >= DOMID_FIRST_RESERVED)
		return 0;
	if (domid == 0 || path == NULL)
		return 1;
	file = fopen(path, "re");
	if (file == NULL)
		return 0;
	while (!found && fscanf(file, "%u", &id) == 1)
		found = id == domid;
	fclose(file);
	return found;
}

/*
 * The real one returns up to `most` domains with an id from `first` on; xenstored asks for one and
 * compares the id, so "none" serves as well as "a later one".
 */
int
xc_domain_getinfo(xc_interface *xch, uint32_t first, unsigned most, xc_dominfo_t *info)
{
	(void)xch;
	if (most == 0 || !domain_exists(first))
		return 0;
	memset(info, 0, sizeof(*info));
	info->domid = first;
	info->running = 1;
	return 1;
}

/* --- libxenevtchn --- */

static void
virq_raise(int number)
{
	int error = errno;

	(void)number;
	(void)eventfd_write(event_fd, 1);
	errno = error;
}

xenevtchn_handle *
xenevtchn_open(xentoollog_logger *logger, unsigned flags)
{
	struct sigaction action = {.sa_handler = virq_raise, .sa_flags = SA_RESTART};

	(void)logger, (void)flags;
	event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (event_fd < 0 || sigaction(SIGUSR1, &action, NULL) != 0)
		return NULL;
	return (xenevtchn_handle *)&dummy;
}

/* For live updates only. */
xenevtchn_handle *
xenevtchn_fdopen(xentoollog_logger *logger, int fd, unsigned flags)
{
	(void)logger, (void)fd, (void)flags;
	errno = ENOSYS;
	return NULL;
}

int
xenevtchn_fd(xenevtchn_handle *xce)
{
	(void)xce;
	return event_fd;
}

int
xenevtchn_notify(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce, (void)port;
	return 0;
}

int
xenevtchn_unbind(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce, (void)port;
	return 0;
}

int
xenevtchn_unmask(xenevtchn_handle *xce, evtchn_port_t port)
{
	(void)xce, (void)port;
	return 0;
}

xenevtchn_port_or_error_t
xenevtchn_bind_virq(xenevtchn_handle *xce, unsigned virq)
{
	(void)xce, (void)virq;
	return VIRQ_PORT;
}

xenevtchn_port_or_error_t
xenevtchn_bind_interdomain(xenevtchn_handle *xce, uint32_t domid, evtchn_port_t remote)
{
	(void)xce, (void)domid, (void)remote;
	return next_port++;
}

xenevtchn_port_or_error_t
xenevtchn_pending(xenevtchn_handle *xce)
{
	eventfd_t count;

	(void)xce;
	return eventfd_read(event_fd, &count) != 0 ? -1 : VIRQ_PORT;
}

/* --- libxengnttab --- */

xengnttab_handle *
xengnttab_open(xentoollog_logger *logger, unsigned flags)
{
	(void)logger, (void)flags;
	return (xengnttab_handle *)&dummy;
}

int
xengnttab_close(xengnttab_handle *xgt)
{
	(void)xgt;
	return 0;
}

int
xengnttab_set_max_grants(xengnttab_handle *xgt, uint32_t count)
{
	(void)xgt, (void)count;
	return 0;
}

/* A guest's ring page, mapped on XS_INTRODUCE. No guest ever writes to it. */
void *
xengnttab_map_grant_ref(xengnttab_handle *xgt, uint32_t domid, uint32_t ref, int protection)
{
	void *page;

	(void)xgt, (void)ref;
	if (!domain_exists(domid)) {
		errno = ENOENT;
		return NULL;
	}
	page = mmap(NULL, PAGE, protection, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return page == MAP_FAILED ? NULL : page;
}

int
xengnttab_unmap(xengnttab_handle *xgt, void *start, uint32_t pages)
{
	(void)xgt;
	return munmap(start, (size_t)pages * PAGE);
}

/* --- /proc/xen/xsd_port and /proc/xen/xsd_kva: domain 0's port and ring --- */

static int
fake_file(const char *text, size_t size)
{
	int fd = memfd_create("xenfake", MFD_CLOEXEC);

	if (fd >= 0 && (ftruncate(fd, (off_t)size) != 0 || pwrite(fd, text, strlen(text), 0) < 0)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* In place of libc's: xenstored opens them like any other file. */
int open(const char *path, int flags, ...);

int
open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list arguments;

	if (strcmp(path, "/proc/xen/xsd_port") == 0)
		return fake_file(DOM0_PORT, strlen(DOM0_PORT));
	if (strcmp(path, "/proc/xen/xsd_kva") == 0)
		return fake_file("", PAGE);
	va_start(arguments, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

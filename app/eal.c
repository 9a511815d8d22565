/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/eal.h"
#include "app/dataplane.h"

#include <errno.h>
#include <glob.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_errno.h>

#define MIB (1024.0 * 1024.0)

/* What the parts take at most, measured; the sum is only an upper bound for -m. */
#define BASE_MIB 112
#define FLOW_BYTES 192.0
#define MBUF_BYTES 2560.0
#define PORT_BYTES (MBUFS_PER_PORT * MBUF_BYTES)
#define PORT_WORKER_BYTES (32.0 * 1024) /* counters, notes of drops, a queue */
#define DEVICE_BYTES (MBUFS_PER_DEVICE * MBUF_BYTES)
#define WORKER_BYTES (24.0 * 1024 * 1024)
#define RULE_BYTES (8.0 * 1024) /* compiled, both families, while building */
#define QUBE_BYTES (512.0 * 1024)

/*
 * rte_acl asks for 8 MiB of zeroes for every context it builds and touches a small part of them. As
 * pages of their own they come zeroed and cost only what is touched; from the heap, where glibc
 * would take them after the first few, all of it is written: 1 ms per build.
 */
#define MAPPED_BYTES (1 << 20)

#define ARGUMENTS_MAX 512
#define TEXT_SIZE 64

unsigned
eal_memory_mib(const struct conf *conf)
{
	double bytes = (double)conf->workers * (conf->flows * FLOW_BYTES + WORKER_BYTES) +
		       RTE_MAX(conf->ports_max, conf->port_count) *
			       (PORT_BYTES + conf->workers * PORT_WORKER_BYTES) +
		       dataplane_devices(conf) * DEVICE_BYTES;

	for (unsigned i = 0; i < conf->qube_count; i++)
		bytes += QUBE_BYTES + conf->qubes[i].ruleset.count * RULE_BYTES;
	return BASE_MIB + (unsigned)(bytes / MIB);
}

/* Free hugepages of every size, MiB. */
static unsigned
hugepages_free_mib(void)
{
	glob_t found;
	unsigned long mib = 0;

	if (glob("/sys/kernel/mm/hugepages/hugepages-*kB", 0, NULL, &found) != 0)
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const char *size = strrchr(found.gl_pathv[i], '-') + 1;
		unsigned long pages = 0;
		char path[256];
		FILE *file;

		snprintf(path, sizeof(path), "%s/free_hugepages", found.gl_pathv[i]);
		file = fopen(path, "re");
		if (file == NULL)
			continue;
		if (fscanf(file, "%lu", &pages) == 1)
			mib += pages * (strtoul(size, NULL, 10) / 1024);
		fclose(file);
	}
	globfree(&found);
	return (unsigned)mib;
}

/* "0@(0,1),1@(0,1)": every lcore may run on every CPU we have. */
static char *
lcores_text(unsigned lcores)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	cpu_set_t allowed;

	if (stream == NULL)
		return NULL;
	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		CPU_SET(0, &allowed);
	for (unsigned lcore = 0; lcore < lcores; lcore++) {
		const char *separator = "(";

		fprintf(stream, "%s%u@", lcore == 0 ? "" : ",", lcore);
		for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
			if (!CPU_ISSET(cpu, &allowed))
				continue;
			fprintf(stream, "%s%d", separator, cpu);
			separator = ",";
		}
		fputc(')', stream);
	}
	fclose(stream);
	return text;
}

/*
 * EAL's own sockets lie in $RUNTIME_DIRECTORY/dpdk/PREFIX, which it makes for its user alone; that
 * of our control socket is where such things belong.
 */
static void
runtime_set(const struct conf *conf)
{
	char *directory = strdup(conf->socket_path);
	char *slash = directory != NULL ? strrchr(directory, '/') : NULL;

	if (slash != NULL) {
		slash[slash == directory] = '\0';
		setenv("RUNTIME_DIRECTORY", directory, 1);
	}
	free(directory);
}

int
eal_start(const char *program, const struct conf *conf, bool offline, const struct report *report)
{
	char *arguments[ARGUMENTS_MAX] = {
		(char *)(uintptr_t)program, "--no-shconf", "--log-level", "*:error"};
	int count = 4;
	char memory[TEXT_SIZE];
	unsigned needed_mib = eal_memory_mib(conf);
	unsigned huge_mib = offline ? 0 : hugepages_free_mib();
	bool pci = false;
	char *lcores = lcores_text(offline ? 1 : conf->workers + 1);

	if (lcores == NULL)
		return -ENOMEM;
	mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
	arguments[count++] = "--lcores";
	arguments[count++] = lcores;
	for (unsigned i = 0; i < conf->port_count && !offline && count < ARGUMENTS_MAX - 8; i++) {
		if (conf->ports[i].device != DEVICE_PCI)
			continue;
		pci = true;
		arguments[count++] = "-a";
		arguments[count++] = conf->ports[i].argument;
	}
	if (!pci)
		arguments[count++] = "--no-pci";
	if (!offline && conf->telemetry) {
		runtime_set(conf);
		arguments[count++] = "--file-prefix";
		arguments[count++] = (char *)(uintptr_t) "sluice";
	} else {
		arguments[count++] = "--no-telemetry";
	}
	snprintf(memory, sizeof(memory), "%u", needed_mib);
	if (huge_mib >= needed_mib) {
		arguments[count++] = "--in-memory";
		/* All of it now: physical addresses cannot be asked for later, see privilege.h */
		if (pci) {
			arguments[count++] = "-m";
			arguments[count++] = memory;
		}
	} else {
		/* EAL takes --no-huge and --in-memory for opposites */
		arguments[count++] = "--no-huge";
		arguments[count++] = "-m";
		arguments[count++] = memory;
		if (pci)
			report_line(report,
				"%u MiB of hugepages are free, %u MiB are needed: PCI devices will "
				"not work without; raise vm.nr_hugepages to %u",
				huge_mib, needed_mib, needed_mib / 2 + 1);
		else if (!offline)
			report_line(report,
				"%u MiB of hugepages are free, %u MiB are needed: using ordinary "
				"memory (vm.nr_hugepages=%u would be faster)",
				huge_mib, needed_mib, needed_mib / 2 + 1);
	}
	if (rte_eal_init(count, arguments) < 0) {
		report_line(report, "DPDK does not start: %s", rte_strerror(rte_errno));
		free(lcores);
		return -EIO;
	}
	free(lcores);
	return 0;
}

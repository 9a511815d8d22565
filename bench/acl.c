/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules -> verdict, in cycles per packet, against dpdk-test-acl on the same rules and packets.
 *
 * 1,024 rules as Qubes users write them and 4,096 packets near them are drawn, handed to our acl
 * and written as files for dpdk-test-acl, which is DPDK's own measure of rte_acl. First both must
 * give every packet the same rule, and the reference matcher too; then they are timed in turns on
 * the same core, so that what else the machine does hits both alike. A measurement is short and
 * there are many: the medians say how it went, and the best of each, which on a quiet machine is
 * the same and on a busy one is what was left alone, are held to the limit.
 *
 * The rules must mean the same to both. dpdk-test-acl knows (protocol, source, destination, source
 * port, destination port): an ICMP type stands in its destination port, and source port 1 says that
 * a packet is DNS. It loops over prepared tuples in batches, so we loop over prepared keys; what it
 * takes to prepare a key from a packet is a row of its own.
 */
#include "classifier/acl.h"
#include "classifier/linear.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>
#include <rte_common.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_errno.h>

#define RULES 1024
#define PACKETS 4096
#define PASSES 40 /* over all packets, per measurement: a few milliseconds */
#define ROUNDS_MAX 99
#define RATIO_MAX 1.15
#define EXIT_SKIPPED 77

extern char **environ;

/* Batch sizes; the first is for information, the others are held to RATIO_MAX. */
static const unsigned batches[] = {1, 32, 64};

static const char *tester = "/usr/bin/dpdk-test-acl";
static char core_map[32];
static char directory[] = "/tmp/sluice-bench-acl-XXXXXX";
static char rules_path[64];
static char packets_path[64];
static char output_path[64];

static struct rule rules[RULES];
static struct ruleset ruleset = {.policy = ACTION_DROP, .count = RULES, .rules = rules};
static struct subject subjects[PACKETS];
static struct acl_key keys[PACKETS];

static void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("bench acl: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(EXIT_FAILURE);
}

/* --- rules and packets --- */

/* xorshift64*: the same rules in every run. */
static uint32_t
draw(uint32_t limit)
{
	static uint64_t state = UINT64_C(0x2545f4914f6cdd1d);

	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) % limit;
}

/* Mostly hosts, many of them in the networks of a few providers. */
static void
destination_draw(struct rule *rule)
{
	static uint32_t networks[64];
	uint32_t kind = draw(100);
	uint8_t length = kind < 70 ? 32 : kind < 90 ? 24 : kind < 98 ? 16 : 12;
	uint32_t address;

	if (networks[0] == 0)
		for (size_t i = 0; i < RTE_DIM(networks); i++)
			networks[i] = (1 + draw(222)) << 24 | draw(256) << 16;
	address = draw(4) ? networks[draw(RTE_DIM(networks))]
			  : (1 + draw(222)) << 24 | draw(256) << 16;
	address |= draw(65536);
	rule->destination = DESTINATION_IPV4;
	rule->prefix.length = length;
	rule->prefix.address.v4 = rte_cpu_to_be_32(address & UINT32_MAX << (32 - length));
}

static void
rule_draw(struct rule *rule)
{
	static const uint16_t services[] = {
		443, 443, 443, 443, 80, 80, 22, 993, 587, 8080, 8443, 5222};
	uint32_t kind = draw(100);

	*rule = (struct rule){.action = draw(10) ? ACTION_ACCEPT : ACTION_DROP};
	destination_draw(rule);
	rule->protocol = kind < 70   ? RULE_TCP
			 : kind < 85 ? RULE_UDP
			 : kind < 90 ? RULE_ICMP
				     : RULE_ANY;
	if (rule->protocol == RULE_TCP || rule->protocol == RULE_UDP) {
		rule->has_ports = draw(10) != 0;
		rule->port_low = rule->port_high = services[draw(RTE_DIM(services))];
		if (draw(10) == 0) {
			rule->port_low = (uint16_t)(1024 + draw(60000));
			rule->port_high = (uint16_t)(rule->port_low + draw(4000));
		}
	}
}

static void
rules_draw(void)
{
	for (unsigned i = 0; i < RULES; i++)
		rule_draw(&rules[i]);
	/* what the Qubes GUI adds, and a service that is allowed everywhere */
	rules[RULES - 3] = (struct rule){.action = ACTION_ACCEPT,
		.protocol = RULE_TCP,
		.has_ports = true,
		.port_low = 853,
		.port_high = 853};
	rules[RULES - 2] = (struct rule){.action = ACTION_ACCEPT, .dns = true};
	rules[RULES - 1] = (struct rule){.action = ACTION_ACCEPT, .protocol = RULE_ICMP};
}

/* Five in six are for a rule; the others go anywhere. */
static void
subject_draw(struct subject *subject)
{
	const struct rule *rule = &rules[draw(RULES)];
	uint32_t host = draw(UINT32_MAX);

	*subject = (struct subject){.family = FAMILY_IPV4, .protocol = IPPROTO_TCP};
	subject->destination.v4 = rte_cpu_to_be_32(host);
	subject->destination_port = rte_cpu_to_be_16((uint16_t)draw(65536));
	if (draw(6) == 0)
		return;
	if (rule->destination == DESTINATION_IPV4)
		subject->destination.v4 =
			rule->prefix.address.v4 |
			rte_cpu_to_be_32(
				rule->prefix.length == 32 ? 0 : host >> rule->prefix.length);
	if (rule->protocol == RULE_UDP || rule->dns)
		subject->protocol = IPPROTO_UDP;
	if (rule->has_ports)
		subject->destination_port = rte_cpu_to_be_16(
			(uint16_t)(rule->port_low + draw(rule->port_high - rule->port_low + 1u)));
	if (rule->dns || draw(20) == 0) {
		subject->dns = true;
		subject->destination_port = RTE_BE16(53);
	}
	if (rule->protocol == RULE_ICMP) {
		subject->protocol = IPPROTO_ICMP;
		subject->destination_port = 0;
		subject->icmp_type = 8;
		subject->dns = false;
	}
}

/* --- the files of dpdk-test-acl --- */

static FILE *
file_create(const char *path)
{
	FILE *file = fopen(path, "w");

	if (file == NULL)
		die("%s: %s", path, strerror(errno));
	return file;
}

static void
file_close(FILE *file, const char *path)
{
	if (ferror(file) || fclose(file) != 0)
		die("%s: cannot write", path);
}

/* @SOURCE/LENGTH DESTINATION/LENGTH LOW : HIGH LOW : HIGH PROTOCOL/MASK */
static void
rules_write(void)
{
	static const char *const protocols[] = {[RULE_ANY] = "0/0",
		[RULE_TCP] = "6/255",
		[RULE_UDP] = "17/255",
		[RULE_ICMP] = "1/255"};
	FILE *file = file_create(rules_path);

	for (unsigned i = 0; i < RULES; i++) {
		const struct rule *rule = &rules[i];
		char text[ADDRESS_TEXT_SIZE];

		fprintf(file, "@0.0.0.0/0 %s %s %u : %u %s\n",
			prefix_format(text, FAMILY_IPV4, &rule->prefix),
			rule->dns ? "1 : 1" : "0 : 65535", rule->has_ports ? rule->port_low : 0,
			rule->has_ports ? rule->port_high : UINT16_MAX, protocols[rule->protocol]);
	}
	file_close(file, rules_path);
}

/* SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT PROTOCOL, addresses as numbers */
static void
packets_write(void)
{
	FILE *file = file_create(packets_path);

	for (unsigned i = 0; i < PACKETS; i++) {
		const struct subject *subject = &subjects[i];

		fprintf(file, "%u %u %u %u %u\n", 0x0a890010,
			rte_be_to_cpu_32(subject->destination.v4), subject->dns ? 1 : 2,
			subject->protocol == IPPROTO_ICMP
				? subject->icmp_type
				: rte_be_to_cpu_16(subject->destination_port),
			subject->protocol);
	}
	file_close(file, packets_path);
}

static void
files_remove(void)
{
	unlink(rules_path);
	unlink(packets_path);
	unlink(output_path);
	rmdir(directory);
}

static void
files_write(void)
{
	if (mkdtemp(directory) == NULL)
		die("%s: %s", directory, strerror(errno));
	snprintf(rules_path, sizeof(rules_path), "%s/rules", directory);
	snprintf(packets_path, sizeof(packets_path), "%s/packets", directory);
	snprintf(output_path, sizeof(output_path), "%s/output", directory);
	atexit(files_remove);
	rules_write();
	packets_write();
}

/* --- running dpdk-test-acl --- */

/* Run it over the packets @p passes times and return what it printed. */
static FILE *
tester_run(unsigned batch, unsigned passes, unsigned verbose)
{
	char rules_option[96], packets_option[96], batch_option[32], passes_option[32],
		verbose_option[32];
	/* one category as in our acl, else it builds for three and is slower */
	char *arguments[] = {"dpdk-test-acl", "--no-huge", "--no-pci", "--no-shconf",
		"--no-telemetry", "-m", "256", "--lcores", core_map, "--log-level", "error", "--",
		rules_option, packets_option, batch_option, passes_option, verbose_option,
		"--bldcat=1", NULL};
	posix_spawn_file_actions_t actions;
	int status;
	pid_t pid;
	FILE *file;

	snprintf(rules_option, sizeof(rules_option), "--rulesf=%s", rules_path);
	snprintf(packets_option, sizeof(packets_option), "--tracef=%s", packets_path);
	snprintf(batch_option, sizeof(batch_option), "--tracestep=%u", batch);
	snprintf(passes_option, sizeof(passes_option), "--iter=%u", passes);
	snprintf(verbose_option, sizeof(verbose_option), "--verbose=%u", verbose);

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(
		&actions, STDOUT_FILENO, output_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
	status = posix_spawn(&pid, tester, &actions, NULL, arguments, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (status != 0)
		die("%s: %s", tester, strerror(status));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("%s: %s", tester, strerror(errno));
	file = fopen(output_path, "r");
	if (file == NULL)
		die("%s: %s", output_path, strerror(errno));
	if (status != 0) {
		char line[256];

		while (fgets(line, sizeof(line), file) != NULL)
			fputs(line, stderr);
		die("%s ended with status %#x", tester, (unsigned)status);
	}
	return file;
}

static double
tester_cycles(unsigned batch)
{
	FILE *file = tester_run(batch, PASSES, 0);
	double cycles = 0;
	char line[512];

	while (fgets(line, sizeof(line), file) != NULL) {
		/* ... 1638400 pkts, 1 categories, N cycles (S sec), C cycles/pkt, ... */
		char *end = strstr(line, " cycles/pkt");

		if (end == NULL)
			continue;
		while (end > line && end[-1] != ' ')
			end--;
		cycles = strtod(end, NULL);
	}
	fclose(file);
	if (cycles <= 0)
		die("%s printed no cycles/pkt", tester);
	return cycles;
}

/* --- ours --- */

/* Every packet gets the same rule from all three, or the comparison means nothing. */
static unsigned
agreement_check(const struct acl *acl)
{
	FILE *file = tester_run(BURST_MAX, 1, 3);
	unsigned by_rule = 0;
	unsigned seen = 0;
	char line[512];

	while (fgets(line, sizeof(line), file) != NULL) {
		const struct acl_key *key;
		struct acl_result result;
		unsigned number, theirs;
		uint16_t rule;

		if (sscanf(line, "ipv4_5tuple: %u, category: 0, result: %u", &number, &theirs) != 2)
			continue;
		if (number == 0 || number > PACKETS)
			die("%s numbers a packet %u", tester, number);
		key = &keys[number - 1];
		acl_classify(acl, &key, &result, 1);
		if (linear_match(&ruleset, &subjects[number - 1], &rule) != result.action ||
			rule != result.rule || rule != (uint16_t)theirs)
			die("packet %u: the reference says rule %u, acl %u, dpdk-test-acl %u",
				number, rule, result.rule, theirs);
		by_rule += rule != RULE_POLICY;
		seen++;
	}
	fclose(file);
	if (seen != PACKETS)
		die("%s printed %u results for %u packets", tester, seen, PACKETS);
	return by_rule;
}

/* The loop of dpdk-test-acl: collect pointers, classify, next; with @p fill, make the keys too. */
static double
own_cycles(const struct acl *acl, unsigned batch, bool fill)
{
	struct acl_result results[BURST_MAX];
	const struct acl_key *pointers[BURST_MAX];
	struct acl_key made[BURST_MAX];
	uint64_t start = rte_rdtsc_precise();

	for (unsigned pass = 0; pass < PASSES; pass++) {
		for (unsigned done = 0; done < PACKETS; done += batch) {
			for (unsigned i = 0; i < batch; i++) {
				pointers[i] = &keys[done + i];
				if (fill) {
					pointers[i] = &made[i];
					acl_key_fill(&made[i], &subjects[done + i]);
				}
			}
			acl_classify(acl, pointers, results, batch);
		}
	}
	return (double)(rte_rdtsc_precise() - start) / (PASSES * PACKETS);
}

/* --- figures --- */

static int
double_compare(const void *a, const void *b)
{
	double left = *(const double *)a;
	double right = *(const double *)b;

	return (left > right) - (left < right);
}

static double
median(const double *values, unsigned count)
{
	double sorted[ROUNDS_MAX];

	memcpy(sorted, values, count * sizeof(*values));
	qsort(sorted, count, sizeof(*sorted), double_compare);
	return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static double
best(const double *values, unsigned count)
{
	double lowest = values[0];

	for (unsigned i = 1; i < count; i++)
		lowest = RTE_MIN(lowest, values[i]);
	return lowest;
}

struct figures {
	double own[ROUNDS_MAX];
	double filled[ROUNDS_MAX]; /* with the keys made from packets */
	double theirs[ROUNDS_MAX];
};

/* Median time of a compilation, for both families, in milliseconds. */
static double
build_time(unsigned rounds)
{
	double times[ROUNDS_MAX];

	for (unsigned i = 0; i < rounds; i++) {
		uint64_t start = rte_rdtsc_precise();
		struct acl *acls[FAMILIES];

		for (unsigned family = 0; family < FAMILIES; family++)
			if (acl_compile(&ruleset, family, &acls[family]) != 0)
				die("the rules do not compile");
		times[i] = (double)(rte_rdtsc_precise() - start) * 1e3 / (double)rte_get_tsc_hz();
		for (unsigned family = 0; family < FAMILIES; family++)
			acl_free(acls[family]);
	}
	return median(times, rounds);
}

static bool
report(const struct figures *figures, unsigned rounds, double build_ms, size_t memory,
	unsigned by_rule, const char *json_path)
{
	json_t *rows = json_array();
	bool met = true;
	json_t *root;

	printf("%u rules, %u packets (%u decided by a rule), %u rounds, "
	       "cycles/packet\n\n",
		RULES, PACKETS, by_rule, rounds);
	printf("%5s %8s %14s %6s   %8s\n", "", "medians:", "", "", "best:");
	printf("%5s %8s %14s %6s   %8s %14s %6s   %5s %12s\n", "batch", "sluice", "dpdk-test-acl",
		"ratio", "sluice", "dpdk-test-acl", "ratio", "limit", "sluice+keys");
	for (size_t i = 0; i < RTE_DIM(batches); i++) {
		double own = median(figures[i].own, rounds);
		double theirs = median(figures[i].theirs, rounds);
		double filled = best(figures[i].filled, rounds);
		double own_best = best(figures[i].own, rounds);
		double theirs_best = best(figures[i].theirs, rounds);
		bool limited = batches[i] >= 32;

		if (limited && own_best / theirs_best > RATIO_MAX)
			met = false;
		printf("%5u %8.1f %14.1f %6.3f   %8.1f %14.1f %6.3f   ", batches[i], own, theirs,
			own / theirs, own_best, theirs_best, own_best / theirs_best);
		if (limited)
			printf("%5.2f", RATIO_MAX);
		else
			printf("%5s", "-");
		printf(" %12.1f\n", filled);
		json_array_append_new(rows,
			json_pack("{s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "batch",
				(int)batches[i], "sluice_cycles", own, "dpdk_test_acl_cycles",
				theirs, "ratio", own / theirs, "sluice_cycles_best", own_best,
				"dpdk_test_acl_cycles_best", theirs_best, "ratio_best",
				own_best / theirs_best, "sluice_cycles_with_keys_best", filled));
	}
	printf("\nboth families built in %.1f ms; IPv4 has %zu KiB: %s\n", build_ms, memory / 1024,
		met ? "ok" : "OVER THE LIMIT");

	root = json_pack("{s:s, s:i, s:i, s:i, s:f, s:I, s:f, s:b, s:o}", "bench", "acl", "rules",
		RULES, "packets", PACKETS, "rounds", (int)rounds, "build_ms", build_ms,
		"memory_bytes", (json_int_t)memory, "ratio_limit", RATIO_MAX, "met", met, "batches",
		rows);
	if (json_path != NULL &&
		(root == NULL || json_dump_file(root, json_path, JSON_INDENT(2)) != 0))
		die("%s: cannot write", json_path);
	json_decref(root);
	return met;
}

static void
eal_start(void)
{
	char *arguments[] = {"acl", "--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m",
		"256", "--lcores", core_map, "--log-level", "error", NULL};

	if (rte_eal_init((int)RTE_DIM(arguments) - 1, arguments) < 0)
		die("EAL does not start: %s", rte_strerror(rte_errno));
}

static unsigned long
number_parse(const char *text, unsigned long low, unsigned long high, const char *option)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || number < low || number > high)
		die("--%s: %s is not a number from %lu to %lu", option, text, low, high);
	return number;
}

int
main(int count, char **arguments)
{
	static const struct option options[] = {
		{"json", required_argument, NULL, 'j'},
		{"rounds", required_argument, NULL, 'r'},
		{"core", required_argument, NULL, 'c'},
		{"tester", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	static struct figures figures[RTE_DIM(batches)];
	long core = sysconf(_SC_NPROCESSORS_ONLN) - 1;
	const char *json_path = NULL;
	unsigned rounds = 15;
	struct acl *acl;
	unsigned by_rule;
	double build_ms;
	bool met;
	int option;

	while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			json_path = optarg;
			break;
		case 'r':
			rounds = (unsigned)number_parse(optarg, 1, ROUNDS_MAX, "rounds");
			break;
		case 'c':
			core = (long)number_parse(optarg, 0, RTE_MAX_LCORE - 1, "core");
			break;
		case 't':
			tester = optarg;
			break;
		default:
			fprintf(stderr, "usage: acl [--json FILE] [--rounds N] [--core N] "
					"[--tester DPDK-TEST-ACL]\n");
			return 2;
		}
	}
	if (access(tester, X_OK) != 0) {
		printf("%s: not there; install dpdk-dev\n", tester);
		return EXIT_SKIPPED;
	}
	snprintf(core_map, sizeof(core_map), "0@%ld", core);
	eal_start();

	rules_draw();
	for (unsigned i = 0; i < PACKETS; i++) {
		subject_draw(&subjects[i]);
		acl_key_fill(&keys[i], &subjects[i]);
	}
	files_write();
	build_ms = build_time(rounds);
	if (acl_compile(&ruleset, FAMILY_IPV4, &acl) != 0)
		die("the rules do not compile");
	by_rule = agreement_check(acl);

	for (unsigned round = 0; round < rounds; round++) {
		for (size_t i = 0; i < RTE_DIM(batches); i++) {
			struct figures *figure = &figures[i];

			figure->theirs[round] = tester_cycles(batches[i]);
			figure->own[round] = own_cycles(acl, batches[i], false);
			figure->filled[round] = own_cycles(acl, batches[i], true);
		}
	}
	met = report(figures, rounds, build_ms, acl_memory(acl), by_rule, json_path);
	acl_free(acl);
	rte_eal_cleanup();
	return met ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that nobody should have written, and what must hold all the same: rules files, sluice.conf,
 * resolv.conf, firewall.xml, and kept changes with their journal.
 *
 * Each is made of lines that are good or nearly so, put together at random, and then damaged. Kept
 * changes get right checksums most of the times, since all others end at the door. A text lies in a
 * block of its own size, so that the address sanitizer sees a read behind it. After each:
 *
 * - what is refused has a reason without control characters, and nothing of it is left
 * - a rule that was taken, written down as it is kept, is read again as the same one
 * - what kept changes say, written to a new file, is read again as the same
 *
 *	FUZZ_FILES=60000 FUZZ_SEED=1 FUZZ_SECONDS=5 fuzz_files
 *
 * Ends after so many files or seconds, whichever comes first. A failure names seed and file, and
 * FUZZ_FIRST begins with it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_common.h>

#include "conf/changes_file.h"
#include "conf/changes_journal.h"
#include "conf/firewall_xml.h"
#include "conf/resolv_conf.h"
#include "conf/rule_text.h"

#define FILES_DEFAULT 60000
#define SECONDS_DEFAULT 5
#define TEXT_MOST 16384u
#define NOW_S UINT64_C(1800000000)

static uint64_t seed, state, number;
static uint64_t reports_made;
static char folder[] = "/tmp/sluice-fuzz-files-XXXXXX";

static void __attribute__((noreturn)) broken(const char *what, const char *text)
{
	fprintf(stderr, "fuzz_files: seed %" PRIu64 ", file %" PRIu64 ": %s: %s\n", seed, number,
		what, text);
	abort();
}

static uint32_t
random_below(uint32_t limit)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((state >> 33) % limit);
}

static void
reason_check(const char *reason)
{
	if (reason == NULL || reason[0] == '\0')
		broken("refused without a reason", "");
	for (const char *c = reason; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			broken("a control character in a reason", reason);
}

static void
reported(void *context, const char *line)
{
	(void)context;
	reports_made++;
	if (getenv("FUZZ_FIRST") != NULL)
		fprintf(stderr, "%s\n", line);
	reason_check(line);
}

static const struct report report = {reported, NULL};

/* ---- texts */

static char text[TEXT_MOST + 1];
static size_t length;

#define PICK(list) ((list)[random_below(RTE_DIM(list))])

static void
text_add(const char *part)
{
	size_t bytes = strlen(part);

	if (length + bytes > TEXT_MOST)
		return;
	/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): a text has a length */
	memcpy(text + length, part, bytes);
	length += bytes;
}

/* What many formats are made of. */
static const char *const pieces[] = {"action=accept", "action=drop", "action=forward", "proto=tcp",
	"proto=udp", "proto=icmp", "dst4=192.0.2.0/24", "dst6=2001:db8::/32",
	"dsthost=www.example.org", "dsthost=192.0.2.1", "dstports=443-443", "dstports=1-65535",
	"icmptype=8", "specialtarget=dns", "expire=1893456000", "expire=+5", "comment=lunch",
	"comment=\"a \\\"b\\\" c\"", "forwardtype=external", "forwardtype=internal",
	"srcports=8080", "srchost=192.0.2.0/24", "dstports=80", "policy=drop", "policy=accept", " ",
	"  ", "\n", "\"", "\\", "=", "#", ";", "[", "]", "<", ">", "&", "&#10;", "{", "}", "-1",
	"0", "65536", "4294967296", "99999999999999999999", "\x7f", "\xff\xfe", "\r\n", "%n%s",
	"::", "1.2.3.4.5", "/33", "\t"};

static void
damage(void)
{
	for (uint32_t times = random_below(4); times > 0 && length > 0; times--) {
		uint32_t at = random_below((uint32_t)length);
		const char *piece = PICK(pieces);
		size_t bytes = strlen(piece), from, count;

		switch (random_below(7)) {
		case 0:
			text[at] = (char)random_below(256);
			break;
		case 1:
			text[at] ^= (char)(1 << random_below(8));
			break;
		case 2: /* something comes between */
			if (length + bytes > TEXT_MOST)
				break;
			memmove(text + at + bytes, text + at, length - at);
			/* NOLINTNEXTLINE(bugprone-not-null-terminated-result): it comes between */
			memcpy(text + at, piece, bytes);
			length += bytes;
			break;
		case 3: /* something is gone */
			count = RTE_MIN(length - at, (size_t)random_below(40));
			memmove(text + at, text + at + count, length - at - count);
			length -= count;
			break;
		case 4: /* something stands twice */
			from = random_below((uint32_t)length);
			count = RTE_MIN(
				length - RTE_MAX(from, (size_t)at), (size_t)random_below(200));
			memmove(text + at, text + from, count);
			break;
		case 5: /* cut off */
			if (random_below(4) == 0)
				length = at;
			break;
		default: /* one byte very often */
			count = RTE_MIN(length - at, (size_t)random_below(5000));
			if (random_below(8) == 0)
				memset(text + at, text[at], count);
			break;
		}
	}
}

/* The text in a block of its own size. @param end whether a NUL is behind it */
static char *
text_exact(bool end)
{
	char *exact = malloc(length + end + (length + end == 0));

	if (exact == NULL)
		exit(EXIT_FAILURE);
	memcpy(exact, text, length);
	if (end)
		exact[length] = '\0';
	return exact;
}

static void
file_write(const char *name, const char *bytes, size_t count)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "we");
	if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
		perror(path);
		exit(EXIT_FAILURE);
	}
}

static void
file_remove(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	(void)unlink(path);
}

/* ---- rules */

static const char *const rule_lines[] = {
	"action=accept proto=tcp dstports=443-443",
	"action=accept dst4=192.0.2.0/24 proto=udp dstports=53-53 expire=1893456000",
	"action=drop dst6=2001:db8::/32",
	"action=accept dsthost=www.example.org proto=tcp dstports=80-81",
	"action=accept specialtarget=dns",
	"action=drop proto=icmp icmptype=8",
	"action=accept comment=lunch",
	"action=accept comment=a b c",
	"action=drop",
};

/* As kept changes hold it: what sluiced itself wrote must be what it reads at its next start. */
static void
rule_again(const struct rule *rule)
{
	char reason[RULE_ERROR_SIZE];
	char *once = rule_format(rule, false), *twice;
	struct rule again;

	if (once == NULL)
		exit(EXIT_FAILURE);
	if (rule_parse(once, 0, &again, reason, sizeof(reason)) != 0) {
		fprintf(stderr, "%s\n", reason);
		broken("a rule that was taken is not taken as it is kept", once);
	}
	twice = rule_format(&again, false);
	if (twice == NULL || strcmp(once, twice) != 0)
		broken("a rule changes when it is kept", once);
	rule_clear(&again);
	free(once);
	free(twice);
}

static bool
fuzz_rules(void)
{
	struct ruleset ruleset;
	char *exact, *error;
	int result;

	text_add(random_below(2) == 0 ? "policy=drop\n" : "# comment\npolicy=accept\n");
	for (uint32_t lines = random_below(6); lines > 0; lines--) {
		text_add(PICK(rule_lines));
		text_add("\n");
	}
	damage();
	exact = text_exact(true);
	result = rules_parse("work.rules", exact, &ruleset, &error);
	free(exact);
	if (result == 0) {
		for (unsigned i = 0; i < ruleset.count; i++)
			rule_again(&ruleset.rules[i]);
		ruleset_clear(&ruleset);
		return true;
	}
	reason_check(error);
	free(error);
	if (result != -EINVAL || ruleset.count != 0 || ruleset.rules != NULL)
		broken("rules are left of a file that was refused", "");
	return false;
}

/* ---- sluice.conf */

static const char *const conf_lines[] = {
	"workers = 2",
	"idle = spin",
	"seccomp = log",
	"flows = 1024",
	"ports = 1008",
	"group = root",
	"include = no-such-folder/*.conf",
	"telemetry = yes",
	"log-refusals = no",
	"address = 10.137.0.16",
	"address6 = fd09::10",
	"mac = 00:16:3e:5e:6c:00",
	"rules = work.rules",
	"dns = 10.139.1.1 10.139.1.2",
	"gateway = 192.168.50.2",
	"device = dpdk:net_null0",
	"role = uplink",
	"role = qube",
	"qube = work",
	"mss-clamp = 1400",
	"settings = host",
	"filter = none",
	"flow-limit = 100",
	"[port more]",
	"[qube more]",
	"[forward web]",
	"[limits]",
	"[timeouts]",
	"[allow a]",
	"[group g]",
	"forwardtype = external",
	"proto = tcp",
	"srcports = 8080,8090-8099",
	"dstports = 80",
	"srchost = 192.0.2.0/24",
	"tcp-established = 100",
	"visible-address = 192.168.7.5",
	"members = work more",
	"from = work",
	"to = more",
};

static bool
fuzz_conf(void)
{
	uint64_t before = reports_made;
	char path[128], rules[TEXT_MOST];
	struct conf *conf = NULL;
	int result;

	text_add("policy=drop\naction=accept\n");
	damage();
	memcpy(rules, text, length);
	file_write("work.rules", rules, length);
	length = 0;
	text_add("[sluice]\n");
	if (random_below(2) == 0)
		text_add(PICK(conf_lines));
	text_add("\n[gateway]\naddress = 10.137.0.1\naddress6 = fd09::1\n"
		 "[port uplink]\ndevice = kernel:eth0\nrole = uplink\naddress = 192.168.50.1/24\n"
		 "gateway = 192.168.50.2\n");
	text_add("[port work]\ndevice = kernel:vif1.0\nrole = qube\nqube = work\n"
		 "[qube work]\naddress = 10.137.0.16\n");
	for (uint32_t lines = random_below(6); lines > 0; lines--) {
		text_add(PICK(conf_lines));
		text_add("\n");
	}
	damage();
	file_write("sluice.conf", text, length);
	snprintf(path, sizeof(path), "%s/sluice.conf", folder);
	result = conf_load(path, &report, &conf);
	if ((result == 0) != (conf != NULL))
		broken("a configuration that was refused is there", "");
	if (result != 0 && reports_made == before)
		broken("a configuration was refused without a reason", "");
	conf_free(conf);
	return result == 0;
}

/* ---- resolv.conf */

static bool
fuzz_resolv_conf(void)
{
	static const char *const lines[] = {"nameserver 192.0.2.1", "nameserver\t192.0.2.2 ",
		"nameserver 127.0.0.53", "nameserver 2001:db8::1", "nameserver 0.0.0.0",
		"search example.org", "options ndots:1", "# nameserver 192.0.2.9", "nameserver",
		"nameserver 192.0.2.3\r", "nameserver 255.255.255.255"};
	rte_be32_t resolver[RESOLVERS_MAX];
	unsigned count;
	char *exact;

	for (uint32_t more = random_below(12); more > 0; more--) {
		text_add(PICK(lines));
		text_add(more == 1 && random_below(2) == 0 ? "" : "\n");
	}
	damage();
	exact = text_exact(false);
	count = resolv_conf_parse_text(exact, length, resolver);
	free(exact);
	if (count > RESOLVERS_MAX)
		broken("too many resolvers", "");
	for (unsigned i = 0; i < count; i++)
		for (unsigned j = 0; j < i; j++)
			if (resolver[i] == resolver[j])
				broken("a resolver stands twice", "");
	return count != 0;
}

/* ---- firewall.xml */

static bool
fuzz_xml(void)
{
	static const char *const properties[] = {
		"<property name=\"action\">accept</property>",
		"<property name=\"action\">forward</property>",
		"<property name=\"dsthost\">192.0.2.0/24</property>",
		"<property name=\"dst6\">2001:db8::/32</property>",
		"<property name=\"proto\">tcp</property>",
		"<property name=\"dstports\">443-443</property>",
		"<property name=\"comment\">a &quot;b&quot; \\ &lt;</property>",
		"<property name=\"expire\">1893456000</property>",
		"<property name=\"expire\">1</property>",
		"<property name=\"forwardtype\">external</property>",
		"<property name=\"srcports\">80</property>",
	};
	static const char *const oddities[] = {"<!DOCTYPE a [<!ENTITY b \"c\">]>", "&b;", "<a/>",
		"<![CDATA[accept]]>", "<?pi?>", "<!-- -->", "&#0;", "<rule>", "</rule>"};
	struct firewall_xml firewall = {0};
	char *exact, error[256] = "";
	int result;

	text_add("<firewall version=\"2\"><rules>\n");
	for (uint32_t rules = random_below(5); rules > 0; rules--) {
		text_add("<rule><properties><property name=\"action\">drop</property>");
		for (uint32_t more = random_below(4); more > 0; more--)
			text_add(PICK(properties));
		if (random_below(20) == 0)
			text_add(PICK(oddities));
		text_add("</properties></rule>\n");
	}
	text_add("</rules></firewall>\n");
	damage();
	exact = text_exact(false);
	result = firewall_xml_parse(
		exact, length, "work.xml", NOW_S, &firewall, error, sizeof(error));
	free(exact);
	if (result != 0) {
		reason_check(error);
		return false;
	}
	for (unsigned i = 0; i < firewall.count; i++) {
		char reason[RULE_ERROR_SIZE];
		struct rule rule;

		if (firewall.rules[i].forward || firewall.rules[i].expired)
			continue;
		if (rule_parse(firewall.rules[i].text, NOW_S, &rule, reason, sizeof(reason)) != 0)
			broken("an imported rule is none", firewall.rules[i].text);
		rule_again(&rule);
		rule_clear(&rule);
	}
	firewall_xml_free(&firewall);
	return true;
}

/* ---- kept changes */

static const char *const qube_names[] = {"work", "vault", "a"};

static const char *const kept_rules[] = {
	"{\"rule\":\"action=accept proto=tcp dstports=443-443\",\"line\":3}",
	"{\"rule\":\"action=accept dst4=192.0.2.1/32 expire=1893456000 comment=lunch\"}",
	"{\"rule\":\"action=drop dst6=2001:db8::/32 comment=\\\"a b\\\"\"}",
	"{\"rule\":\"action=accept expire=1\"}",
	"{\"rule\":\"action=accept dsthost=www.example.org\"}",
};

static void
qube_add(const char *rules)
{
	static const char *const policies[] = {"drop", "accept"};
	char part[256];

	snprintf(part, sizeof(part), "{\"qube\":\"%s\",\"policy\":\"%s\"%s", PICK(qube_names),
		PICK(policies), random_below(2) == 0 ? ",\"source\":\"work.rules\"" : "");
	text_add(part);
	text_add(rules);
}

static void
forward_add(void)
{
	char part[256];

	snprintf(part, sizeof(part),
		"{\"forward\":\"f%u\",\"qube\":\"%s\",\"rule\":\"action=forward "
		"forwardtype=external proto=tcp srcports=%u dstports=80\"}",
		random_below(4), PICK(qube_names), random_below(9) * 8000);
	text_add(part);
}

static void
base_make(void)
{
	char end[96];
	unsigned lines = 0;

	text_add("{\"file\": \"sluice changes\", \"version\": 2, \"sequence\": 4}\n");
	for (uint32_t more = random_below(4); more > 0; more--) {
		qube_add("}\n");
		for (uint32_t rules = random_below(4); rules > 0; rules--) {
			text_add(PICK(kept_rules));
			text_add("\n");
		}
		if (random_below(2) == 0) {
			forward_add();
			text_add("\n");
		}
	}
	damage();
	if (random_below(10) == 0)
		return;
	for (size_t i = 0; i < length; i++)
		lines += text[i] == '\n';
	snprintf(end, sizeof(end), "{\"lines\":%u,\"checksum\":\"%016" PRIx64 "\"}\n", lines,
		changes_checksum(text, length));
	text_add(end);
	if (random_below(10) == 0)
		damage();
}

static void
record_make(unsigned sequence)
{
	size_t begin = length;
	char part[64];

	snprintf(part, sizeof(part), "{\"sequence\":%u,\"changes\":[", sequence);
	text_add(part);
	for (uint32_t more = 1 + random_below(3); more > 0; more--) {
		switch (random_below(4)) {
		case 0:
			snprintf(part, sizeof(part), "{\"qube\":\"%s\"}", PICK(qube_names));
			text_add(part);
			break;
		case 1:
			snprintf(part, sizeof(part), "{\"forward\":\"f%u\"}", random_below(4));
			text_add(part);
			break;
		case 2:
			forward_add();
			break;
		default:
			qube_add(",\"rules\":[");
			text_add(PICK(kept_rules));
			text_add("]}");
			break;
		}
		text_add(more > 1 ? "," : "]");
	}
	if (random_below(8) == 0 && length > begin) {
		size_t at = begin + random_below((uint32_t)(length - begin));

		text[at] = PICK(pieces)[0];
	}
	snprintf(part, sizeof(part), ",\"checksum\":\"%016" PRIx64 "\"}\n",
		changes_checksum(text + begin, length - begin));
	text_add(part);
}

static void
journal_make(void)
{
	static char header[128];
	size_t size = 8192, bytes = journal_header(header, sizeof(header), size);
	unsigned sequence = 3 + random_below(3);

	text_add(header);
	for (uint32_t records = random_below(5); records > 0; records--)
		record_make(sequence++);
	if (random_below(4) == 0)
		damage();
	while (length < size)
		text[length++] = '\0';
	if (random_below(40) != 0)
		length = size;
	memcpy(text, header, random_below(20) == 0 ? 0 : bytes);
}

/* The same, whatever they share. @return allocated */
static char *
changes_text(const struct changes *changes)
{
	struct changes *none = changes_new();
	size_t bytes;
	char *record = none == NULL ? NULL : journal_record(none, changes, 1, NOW_S, &bytes);

	if (record == NULL)
		exit(EXIT_FAILURE);
	changes_free(none);
	return record;
}

static bool
fuzz_changes(void)
{
	uint64_t before = reports_made;
	struct changes *read = NULL, *opened = NULL, *again = NULL;
	struct changes_file *file = NULL;
	char *first, *second, *third;
	int result;

	base_make();
	file_write(CHANGES_NAME, text, length);
	length = 0;
	file_remove(JOURNAL_NAME);
	if (random_below(4) != 0) {
		journal_make();
		file_write(JOURNAL_NAME, text, length);
	}
	result = changes_read(folder, NOW_S, &report, &read);
	if (result != 0) {
		if (reports_made == before || read != NULL)
			broken("changes were refused without a reason", "");
		if (changes_file_open(folder, NOW_S, &report, &file, &opened) == 0)
			broken("changes that cannot be read can be opened", "");
		return false;
	}
	if (changes_file_open(folder, NOW_S, &report, &file, &opened) != 0)
		broken("changes that can be read cannot be opened", "");
	changes_file_close(file, NOW_S, &report);
	if (changes_read(folder, NOW_S, &report, &again) != 0)
		broken("changes cannot be read when they were written again", "");
	first = changes_text(read);
	second = changes_text(opened);
	third = changes_text(again);
	if (strcmp(first, second) != 0 || strcmp(first, third) != 0) {
		fprintf(stderr, "%s%s", first, third);
		broken("changes are others when they were written again", "");
	}
	free(first);
	free(second);
	free(third);
	changes_free(read);
	changes_free(opened);
	changes_free(again);
	return true;
}

static uint64_t
setting(const char *name, uint64_t normal)
{
	const char *value = getenv(name);

	return value != NULL ? strtoull(value, NULL, 10) : normal;
}

int
main(void)
{
	static struct {
		const char *name;
		bool (*run)(void);
		uint64_t made, taken;
	} kinds[] = {
		{"rules", fuzz_rules, 0, 0},
		{"sluice.conf", fuzz_conf, 0, 0},
		{"resolv.conf", fuzz_resolv_conf, 0, 0},
		{"firewall.xml", fuzz_xml, 0, 0},
		{"changes", fuzz_changes, 0, 0},
	};
	uint64_t most = setting("FUZZ_FILES", FILES_DEFAULT);
	time_t end = time(NULL) + (time_t)setting("FUZZ_SECONDS", SECONDS_DEFAULT);
	int status = EXIT_SUCCESS;

	seed = setting("FUZZ_SEED", 1);
	if (mkdtemp(folder) == NULL) {
		perror(folder);
		return EXIT_FAILURE;
	}
	for (number = setting("FUZZ_FIRST", 0); number < most && time(NULL) < end; number++) {
		size_t kind = number % RTE_DIM(kinds);

		/* so that a file can be made again without those before it */
		state = seed * UINT64_C(0x9e3779b97f4a7c15) + number;
		length = 0;
		kinds[kind].made++;
		kinds[kind].taken += kinds[kind].run();
	}
	for (size_t i = 0; i < RTE_DIM(kinds); i++) {
		printf("%s: %" PRIu64 ", %" PRIu64 " of them good\n", kinds[i].name, kinds[i].made,
			kinds[i].taken);
		/* both ways must be tried */
		if (number > 1000 &&
			(kinds[i].taken < kinds[i].made / 100 || kinds[i].taken == kinds[i].made))
			status = EXIT_FAILURE;
	}
	file_remove("work.rules");
	file_remove("sluice.conf");
	file_remove(CHANGES_NAME);
	file_remove(JOURNAL_NAME);
	(void)rmdir(folder);
	return status;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A configuration of several files: what they hold adds up, errors name the right file and line,
 * and files that anybody may have written are refused.
 */
#include "conf/include.h"
#include "conf/loader.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/sluice-test-include-XXXXXX";
static char conf_path[128];
static char reported[1 << 14];
static struct conf *conf;

static void
collect(void *context, const char *line)
{
	size_t used = strlen(reported);
	const char *named;

	(void)context;
	/* the folder differs from run to run */
	if (strncmp(line, directory, strlen(directory)) == 0)
		line += strlen(directory) + 1;
	named = strstr(line, directory);
	if (named != NULL)
		snprintf(reported + used, sizeof(reported) - used, "%.*sDIR%s\n",
			(int)(named - line), line, named + strlen(directory));
	else
		snprintf(reported + used, sizeof(reported) - used, "%s\n", line);
}

static const struct report report = {collect, NULL};

static void
put(const char *name, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT(fputs(text, file) >= 0);
	fclose(file);
	CU_ASSERT_EQUAL(chmod(path, 0644), 0);
}

static void
drop(const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	CU_ASSERT_EQUAL(unlink(path), 0);
}

static int
load(void)
{
	conf_free(conf);
	conf = NULL;
	reported[0] = '\0';
	return conf_load(conf_path, &report, &conf);
}

#define UPLINK                   \
	"[port uplink]\n"        \
	"device = kernel:eth0\n" \
	"role = uplink\n"        \
	"address = 192.168.50.1/24\n"
/* 17 lines */
#define MAIN                          \
	"[sluice]\n"                  \
	"include = more.d/*.conf\n"   \
	"[gateway]\n"                 \
	"address = 10.137.0.1\n"      \
	"[port uplink]\n"             \
	"device = kernel:eth0\n"      \
	"role = uplink\n"             \
	"address = 192.168.50.1/24\n" \
	"[port work]\n"               \
	"device = kernel:vif4.0\n"    \
	"role = qube\n"               \
	"qube = work\n"               \
	"[qube work]\n"               \
	"address = 10.137.0.16\n"     \
	"[limits]\n"                  \
	"flows = 1000\n"              \
	"answers = 7\n"

static void
bad(const char *expected)
{
	CU_ASSERT_EQUAL(load(), -EINVAL);
	if (strcmp(reported, expected) != 0)
		fprintf(stderr, "\nexpected\n%sgot\n%s", expected, reported);
	CU_ASSERT_STRING_EQUAL(reported, expected);
}

static void
test_none(void)
{
	put("sluice.conf", MAIN);
	CU_ASSERT_EQUAL_FATAL(load(), 0); /* no folder */
	CU_ASSERT_STRING_EQUAL(reported, "");
	CU_ASSERT_EQUAL(conf->line_count, 17);
	CU_ASSERT_EQUAL(mkdir("more.d", 0755), 0);
	CU_ASSERT_EQUAL_FATAL(load(), 0); /* no file */
	CU_ASSERT_EQUAL(conf->files->count, 1);
	put("more.d/empty.conf", "");
	put("more.d/other.txt", "nonsense\n");
	CU_ASSERT_EQUAL_FATAL(load(), 0);
	CU_ASSERT_EQUAL(conf->files->count, 2);
	drop("more.d/empty.conf");
	drop("more.d/other.txt");
}

static void
test_together(void)
{
	char place[PLACE_SIZE];

	put("sluice.conf", MAIN);
	/* in the order of their names; rules are relative to the file that names them */
	put("more.d/b.conf", "# two\n[forward web]\nforwardtype = external\nproto = tcp\n"
			     "srcports = 8080\nqube = other\n[limits]\nports = 99\n");
	put("more.d/a.conf", "[qube other]\naddress = 10.137.0.17\nrules = other.rules\n"
			     "[qube work]\nfilter = none\nrules = ../work.rules\n");
	put("more.d/other.rules", "policy=drop\naction=accept\n");
	put("work.rules", "policy=accept\n");
	CU_ASSERT_EQUAL_FATAL(load(), 0);
	CU_ASSERT_STRING_EQUAL(reported, "");
	CU_ASSERT_EQUAL(conf->line_count, 17);
	CU_ASSERT_EQUAL_FATAL(conf->qube_count, 2);
	CU_ASSERT_EQUAL(conf->qubes[0].filter, FILTER_NONE);
	CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_VALID);
	CU_ASSERT_EQUAL(conf->qubes[1].state, RULES_VALID);
	CU_ASSERT_EQUAL(conf->qubes[1].ruleset.count, 1);
	CU_ASSERT_EQUAL_FATAL(conf->forward_count, 1);
	CU_ASSERT_EQUAL(conf->limits.value[BUDGET_PORTS], 99);
	/* [limits] of the first file hold for qubes of the second */
	CU_ASSERT_EQUAL(conf->qubes[1].limits.value[BUDGET_ANSWERS], 7);
	conf_place(conf, conf->forwards[0].line, place);
	CU_ASSERT_STRING_EQUAL(place + strlen(directory), "/more.d/b.conf:2");
	conf_place(conf, conf->qubes[0].line, place);
	CU_ASSERT_STRING_EQUAL(place + strlen(directory), "/sluice.conf:13");
	conf_place(conf, 0, place);
	CU_ASSERT_STRING_EQUAL(place + strlen(directory), "/sluice.conf");
	CU_ASSERT_STRING_EQUAL(
		conf_other_place(conf, 24, conf->qubes[1].line, place) + strlen(directory),
		"/more.d/a.conf:1");
	CU_ASSERT_STRING_EQUAL(conf_other_place(conf, 18, 19, place), "line 2");
}

static void
test_errors(void)
{
	put("sluice.conf", MAIN);
	put("more.d/a.conf", "key = before\n[qube other]\naddress = 10.137.0.16\nfilter = blue\n"
			     "[limits]\nflows = 7\n[nonsense]\n");
	put("more.d/b.conf",
		"\xef\xbb\xbf[qube work]\r\naddress = 10.137.0.18\n[qube work]\nmac = 1\n"
		"[forward web]\nproto = tcp\n[port more]\nrole = uplink\n"
		"device = kernel:eth0\naddress = 192.0.2.1/24\n");
	bad("more.d/a.conf:1: key: stands before the first section; allowed: [sluice], [gateway], "
	    "[port NAME], [qube NAME], [forward NAME], [allow NAME], [limits], [timeouts], "
	    "[qubes]\n"
	    "more.d/a.conf:4: filter: \"blue\" is no filter; allowed: address-and-port, address or "
	    "none: who may send to a UDP port it has opened\n"
	    "more.d/a.conf:6: flows: stands a second time, first at DIR/sluice.conf:16\n"
	    "more.d/a.conf:7: unknown section [nonsense]; allowed: [sluice], [gateway], "
	    "[port NAME], [qube NAME], [forward NAME], [allow NAME], [limits], [timeouts], "
	    "[qubes]\n"
	    "more.d/b.conf:1: starts with a byte order mark; save it without\n"
	    "more.d/b.conf:1: DOS line end (byte 0x0d); save the file with Unix line ends\n"
	    "more.d/b.conf:2: address: stands a second time, first at DIR/sluice.conf:14\n"
	    "more.d/b.conf:3: [qube work] stands a second time, first at DIR/sluice.conf:13\n"
	    "more.d/b.conf:9: device: is already used by [port uplink] (DIR/sluice.conf:6)\n"
	    "more.d/b.conf:8: role: a second uplink, the first is [port uplink] "
	    "(DIR/sluice.conf:5); allowed: exactly one\n"
	    "more.d/a.conf:3: address: \"10.137.0.16\" is already the address of [qube work] "
	    "(DIR/sluice.conf:14)\n"
	    "more.d/b.conf:5: [forward web]: forwardtype is missing; allowed: external, which "
	    "listens on the uplink, or internal, which listens for qubes\n"
	    "more.d/b.conf:5: [forward web]: srcports is missing; allowed: PORT or LOW-HIGH in "
	    "1..65535, where we listen\n"
	    "more.d/b.conf:5: [forward web]: qube is missing; allowed: the NAME of a [qube NAME] "
	    "section, where connections are sent\n");
}

static void
test_trust(void)
{
	put("sluice.conf", MAIN);
	put("more.d/a.conf", "");
	put("more.d/b.conf", "[limits]\nports = 5\n");
	CU_ASSERT_EQUAL(load(), 0);
	CU_ASSERT_EQUAL(chmod("more.d/b.conf", 0646), 0);
	bad("sluice.conf:2: include: DIR/more.d/b.conf: may have been written by anybody; allowed: "
	    "files of root that others cannot write\n");
	CU_ASSERT_EQUAL(chmod("more.d/b.conf", 0664), 0);
	CU_ASSERT_EQUAL(load(), 0);
	if (geteuid() == 0) {
		CU_ASSERT_EQUAL(chown("more.d/b.conf", 4711, 0), 0);
		CU_ASSERT_EQUAL(load(), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(reported, "may have been written by anybody"));
		CU_ASSERT_EQUAL(chown("more.d/b.conf", 0, 0), 0);
	}
	/* whoever can put files there */
	CU_ASSERT_EQUAL(chmod("more.d", 0777), 0);
	CU_ASSERT_EQUAL(load(), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "more.d/a.conf: may have been written by"));
	CU_ASSERT_EQUAL(chmod("more.d", 0755), 0);
	drop("more.d/b.conf");
	CU_ASSERT_EQUAL(mkdir("more.d/b.conf", 0755), 0);
	bad("sluice.conf:2: include: DIR/more.d/b.conf: Is a directory\n");
	CU_ASSERT_EQUAL(rmdir("more.d/b.conf"), 0);
	/* a pipe keeps nobody waiting */
	CU_ASSERT_EQUAL(mkfifo("more.d/b.conf", 0644), 0);
	bad("sluice.conf:2: include: DIR/more.d/b.conf: not a regular file\n");
	drop("more.d/b.conf");
}

static void
test_key(void)
{
	put("sluice.conf", "[sluice]\ninclude =\n" UPLINK);
	bad("sluice.conf:2: include: has no value; allowed: the path of further files, relative to "
	    "this one; * and ? stand for what differs in names\n");
	/* one inside another */
	put("sluice.conf", MAIN);
	put("more.d/a.conf", "[sluice]\ninclude = /etc/passwd\n");
	bad("more.d/a.conf:2: include: stands a second time, first at DIR/sluice.conf:2\n");
}

static void
test_reload(void)
{
	struct conf *before;

	put("sluice.conf", MAIN);
	put("more.d/a.conf", "\n\n[limits]\nports = 5\n");
	CU_ASSERT_EQUAL_FATAL(load(), 0);
	before = conf;
	conf = NULL;
	/* a difference is told where it stands */
	put("more.d/a.conf", "\n\n[sluice]\nworkers = 5\n");
	CU_ASSERT_EQUAL_FATAL(load(), 0);
	CU_ASSERT_EQUAL(conf_reload_check(before, conf, &report), -EBUSY);
	CU_ASSERT_STRING_EQUAL(
		reported, "more.d/a.conf:4: workers: 5 instead of 1 needs a restart of sluiced\n");
	conf_free(before);
	conf_free(conf);
	conf = NULL;
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"no folder, no files, empty ones", test_none},
		{"files add up", test_together},
		{"errors name their file", test_errors},
		{"whose files are read", test_trust},
		{"the key itself", test_key},
		{"what needs a restart", test_reload},
	};
	char command[160];
	int status;

	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		return 1;
	snprintf(conf_path, sizeof(conf_path), "%s/sluice.conf", directory);
	status = UNIT_RUN("include", tests);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) == 0 ? status : 1;
}

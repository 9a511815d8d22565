/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a running sluiced can change: pairs of configurations, and the lines that say what needs a
 * restart. Every pair begins with the same file, of which one line is replaced.
 */
#include "conf/conf.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include <rte_common.h>

static char directory[] = "/tmp/sluice-test-reload-XXXXXX";
static char conf_path[128];
static char reported[1 << 14];

static void
collect(void *context, const char *line)
{
	size_t used = strlen(reported);

	(void)context;
	snprintf(reported + used, sizeof(reported) - used, "%s\n", line);
}

static const struct report report = {collect, NULL};

static struct conf *
load(const char *text)
{
	struct conf *conf = NULL;
	FILE *file = fopen(conf_path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(text, file);
	fclose(file);
	reported[0] = '\0';
	if (conf_load(conf_path, &report, &conf) != 0)
		fprintf(stderr, "\n%s", reported);
	CU_ASSERT_PTR_NOT_NULL_FATAL(conf);
	reported[0] = '\0';
	return conf;
}

/* clang-format off */
static const char base[] =
	"[sluice]\n"                                    /* 1 */
	"workers = 2\n"
	"flows = 4096\n"
	"socket = /run/a\n"
	"state-dir = /var/a\n"
	"[gateway]\n"                                   /* 6 */
	"address = 10.137.0.1\n"
	"address6 = fd09::1\n"
	"dns = 10.139.1.1\n"
	"[port uplink]\n"                               /* 10 */
	"device = kernel:eth0\n"
	"role = uplink\n"
	"address = 192.168.50.1/24\n"
	"gateway = 192.168.50.2\n"
	"address6 = 2001:db8::1/64\n"
	"gateway6 = fe80::1\n"
	"dns = 9.9.9.9\n"
	"[port work]\n"                                 /* 18 */
	"device = dpdk:net_tap0,iface=a\n"
	"role = qube\n"
	"qube = work\n"
	"[port personal]\n"                             /* 22 */
	"device = pci:03:00.0\n"
	"role = qube\n"
	"qube = personal\n"
	"[qube work]\n"                                 /* 26 */
	"address = 10.137.0.16\n"
	"address6 = fd09::16\n"
	"mac = 00:16:3e:5e:6c:00\n"
	"rules = absent.rules\n"
	"[qube personal]\n"                             /* 31 */
	"address = 10.137.0.17\n"
	"[qube vault]\n"                                /* 33 */
	"address = 10.137.0.18\n"
	"mac = 00:16:3e:5e:6c:01\n";
#define LAST "35"
/* clang-format on */

/* The base with one piece replaced by another. */
static const char *
changed(const char *piece, const char *replacement)
{
	static char text[8192];
	const char *at = strstr(base, piece);

	CU_ASSERT_PTR_NOT_NULL_FATAL(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - base), base, replacement,
		at + strlen(piece));
	return text;
}

/* @param expected the lines without the path and without what all end with; NULL: it can go on */
static void
reload(const char *wanted_text, const char *expected)
{
	char all[4096] = "";
	struct conf *running = load(base);
	struct conf *wanted = load(wanted_text);
	size_t used = 0;

	CU_ASSERT_EQUAL(conf_reload_check(running, wanted, &report), expected == NULL ? 0 : -EBUSY);
	while (expected != NULL && *expected != '\0') {
		size_t length = strcspn(expected, "\n");

		used += (size_t)snprintf(all + used, sizeof(all) - used,
			"%s%.*s needs a restart of sluiced\n", conf_path, (int)length, expected);
		expected += length + (expected[length] == '\n');
	}
	if (strcmp(reported, all) != 0)
		fprintf(stderr, "\nexpected\n%sgot\n%s", all, reported);
	CU_ASSERT_STRING_EQUAL(reported, all);
	conf_free(running);
	conf_free(wanted);
}

static void
test_allowed(void)
{
	static const char *const pieces[][2] = {
		{"dns = 10.139.1.1\n", "dns = 10.139.1.2 10.139.1.3\n"},
		{"dns = 10.139.1.1\n", ""},
		{"dns = 9.9.9.9\n", "dns = 8.8.8.8\nmss-clamp = mtu\n"},
		{"device = pci:03:00.0", "mss-clamp = 1000\ndevice = pci:03:00.0"},
		{"rules = absent.rules\n", "filter = none\nflows = 77\n"},
		/* no port: such a qube may come, go and change as it likes */
		{"[qube vault]\naddress = 10.137.0.18\nmac = 00:16:3e:5e:6c:01\n", ""},
		{"[qube vault]\naddress = 10.137.0.18\nmac = 00:16:3e:5e:6c:01\n",
			"[qube vault]\naddress6 = fd09::18\n"},
		{"[qube vault]", "[qube other]"},
		{"[qube vault]", "[qube other]\naddress = 10.137.0.19\n[qube vault]"},
		/* the order of everything else */
		{"[qube work]", "[qube other]\naddress = 10.137.0.19\n[qube work]"},
		{"[sluice]", "[limits]\nflows = 16\n[timeouts]\nother = 5\n"
			     "[forward a]\nforwardtype = external\nproto = tcp\nsrcports = 80\n"
			     "qube = vault\n[allow a]\nfrom = work\nto = vault\n[sluice]"},
		/* one device, written in another way */
		{"pci:03:00.0", "pci:0000:03:00.0"},
		{"# none", NULL},
	};

	reload(base, NULL);
	for (unsigned i = 0; pieces[i][1] != NULL; i++)
		reload(changed(pieces[i][0], pieces[i][1]), NULL);
}

static void
test_sluice(void)
{
	reload(changed("workers = 2", "workers = 3"), ":2: workers: 3 instead of 2");
	reload(changed("flows = 4096", "flows = 8192"), ":3: flows: 8192 instead of 4096");
	reload(changed("workers = 2", "workers = 2\nports = 9"), ":3: ports: 9 instead of 64");
	reload(changed("socket = /run/a", "socket = /run/b"),
		":4: socket: /run/b instead of /run/a");
	reload(changed("state-dir = /var/a", "state-dir = /var/b"),
		":5: state-dir: /var/b instead of /var/a");
	reload(changed("[sluice]\n", "[sluice]\nidle = spin\n"),
		":2: idle: spin instead of adaptive");
	reload(changed("[sluice]\n", "[sluice]\nseccomp = off\n"),
		":2: seccomp: off instead of kill");
	/* What stands there no more is told at the header of its section. */
	reload(changed("workers = 2\n", ""), ":1: workers: 1 instead of 2");
	reload(changed("[gateway]\n",
		       "[qubes]\nxenstore = yes\nqubesdb = /run/q\nqubesdb-forwards = yes\n"
		       "[gateway]\n"),
		":8: qubesdb: /run/q instead of none\n"
		":9: qubesdb-forwards: yes instead of no\n"
		":7: xenstore: yes instead of no");
	reload(changed("socket = /run/a\n", ""),
		":1: socket: /run/sluice/control.sock instead of /run/a");
	/* And when that is gone, at the last line. The default may be what was there before. */
	reload(changed("[sluice]\nworkers = 2\nflows = 4096\nsocket = /run/a\nstate-dir = /var/a\n",
		       ""),
		":30: workers: 1 instead of 2\n"
		":30: flows: 262144 instead of 4096\n"
		":30: socket: /run/sluice/control.sock instead of /run/a\n"
		":30: state-dir: /var/lib/sluice instead of /var/a\n");
}

/* Ports, qubes and addresses come, go and change while workers run. */
static void
test_ports(void)
{
	static const char work[] =
		"[port work]\ndevice = dpdk:net_tap0,iface=a\nrole = qube\nqube = work\n";
	static const char personal[] =
		"[port personal]\ndevice = pci:03:00.0\nrole = qube\nqube = personal\n";
	static const char *const pieces[][2] = {
		{"address = 10.137.0.1\n", "address = 10.137.0.2\n"},
		{"address6 = fd09::1\n", "address6 = fd09::2\n"},
		{"kernel:eth0", "kernel:eth1"},
		{"192.168.50.1/24", "192.168.50.3/25"},
		{"gateway = 192.168.50.2\n", "gateway = 192.168.50.4\n"},
		{"gateway = 192.168.50.2\n", ""},
		{"address6 = 2001:db8::1/64\ngateway6 = fe80::1\n", ""},
		{"pci:03:00.0", "kernel:eth1"},
		{"iface=a", "iface=b"},
		{"qube = personal\n", "qube = vault\n"},
		{personal, ""},
		{"[port personal]", "[port home]"},
		{"[qube vault]", "[port x]\ndevice = kernel:x\nrole = qube\nqube = x\n"
				 "[qube x]\naddress = 10.137.0.19\n[qube vault]"},
		{"address = 10.137.0.16\n", "address = 10.137.0.26\n"},
		{"address6 = fd09::16\n", ""},
		{"mac = 00:16:3e:5e:6c:00\n", "mac = 00:16:3e:5e:6c:02\n"},
		{"mac = 00:16:3e:5e:6c:00\n", ""},
	};
	char both[512], swapped[512];

	for (unsigned i = 0; i < RTE_DIM(pieces); i++)
		reload(changed(pieces[i][0], pieces[i][1]), NULL);
	snprintf(both, sizeof(both), "%s%s", work, personal);
	snprintf(swapped, sizeof(swapped), "%s%s", personal, work);
	reload(changed(both, swapped), NULL);
}

/* All that differs is told, and values too long to be quoted are compared nevertheless. */
static void
test_all(void)
{
	static char text[8192];
	char long_one[1024], expected[1024];
	struct conf *running, *wanted;

	snprintf(text, sizeof(text), "%s", changed("workers = 2\nflows = 4096", "workers = 1\n\n"));
	reload(text, ":2: workers: 1 instead of 2\n"
		     ":1: flows: 262144 instead of 4096\n");

	memset(long_one, 'a', 500);
	strcpy(long_one + 500, "b");
	snprintf(text, sizeof(text), "%s", changed("var/a", long_one));
	running = load(text);
	*strchr(strstr(text, "aaaa"), 'b') = 'c';
	wanted = load(text);
	CU_ASSERT_EQUAL(conf_reload_check(running, wanted, &report), -EBUSY);
	snprintf(expected, sizeof(expected),
		"%s:5: state-dir: /%.126s instead of /%.126s needs a restart of sluiced\n",
		conf_path, long_one, long_one);
	CU_ASSERT_STRING_EQUAL(reported, expected);
	reported[0] = '\0';
	CU_ASSERT_EQUAL(conf_reload_check(wanted, wanted, &report), 0);
	CU_ASSERT_STRING_EQUAL(reported, "");
	conf_free(running);
	conf_free(wanted);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what may change", test_allowed},
		{"[sluice]", test_sluice},
		{"ports, qubes and addresses", test_ports},
		{"everything at once", test_all},
	};
	char command[160];
	cpu_set_t one;
	int status;

	/* as many CPUs on every machine, for `workers = auto` */
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	if (mkdtemp(directory) == NULL || sched_setaffinity(0, sizeof(one), &one) != 0)
		return 1;
	snprintf(conf_path, sizeof(conf_path), "%s/sluice.conf", directory);
	status = UNIT_RUN("reload", tests);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) == 0 ? status : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluice.conf: values, defaults, and errors with their exact lines. Each case replaces or appends
 * to a configuration that is known to be good, so that nothing else can be what was refused.
 */
#include "conf/loader.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/sluice-test-conf-XXXXXX";
static char conf_path[128];
static char reported[1 << 16];

static void
collect(void *context, const char *line)
{
	size_t used = strlen(reported);

	(void)context;
	snprintf(reported + used, sizeof(reported) - used, "%s\n", line);
}

static const struct report report = {collect, NULL};

static void
write_bytes(const char *name, const void *bytes, size_t length)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL_FATAL(fwrite(bytes, 1, length, file), length);
	fclose(file);
}

static int
load_bytes(const void *bytes, size_t length, struct conf **conf)
{
	write_bytes("sluice.conf", bytes, length);
	reported[0] = '\0';
	return conf_load(conf_path, &report, conf);
}

static int
load(const char *text, struct conf **conf)
{
	return load_bytes(text, strlen(text), conf);
}

/* Expect exactly these report lines; each is given as what follows the path. */
static void
bad(const char *text, const char *expected)
{
	char all[8192] = "";
	size_t used = 0;
	struct conf *conf;

	CU_ASSERT_EQUAL(load(text, &conf), -EINVAL);
	CU_ASSERT_PTR_NULL(conf);
	while (*expected != '\0') {
		size_t length = strcspn(expected, "\n");

		used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%.*s\n", conf_path,
			(int)length, expected);
		expected += length + (expected[length] == '\n');
	}
	if (strcmp(reported, all) != 0)
		fprintf(stderr, "\nexpected\n%sgot\n%s", all, reported);
	CU_ASSERT_STRING_EQUAL(reported, all);
}

#define GATEWAY                  \
	"[gateway]\n"            \
	"address = 10.137.0.1\n" \
	"dns = 10.139.1.1 10.139.1.2\n"
#define UPLINK                        \
	"[port uplink]\n"             \
	"device = kernel:eth0\n"      \
	"role = uplink\n"             \
	"address = 192.168.50.1/24\n" \
	"gateway = 192.168.50.2\n"    \
	"dns = 192.168.50.2\n"
#define WORK                       \
	"[port work]\n"            \
	"device = kernel:vif4.0\n" \
	"role = qube\n"            \
	"qube = work\n"            \
	"[qube work]\n"            \
	"address = 10.137.0.16\n"
#define GOOD GATEWAY UPLINK WORK /* 3, 6 and 6 lines */

#define SECTIONS_ALLOWED                                                                  \
	"allowed: [sluice], [gateway], [port NAME], [qube NAME], [forward NAME], [allow " \
	"NAME], [limits], [timeouts], [qubes]\n"
#define QUBE_KEYS                                                                            \
	"allowed: address, address6, visible-address, visible-gateway, mac, rules, filter, " \
	"flows, new-flows, half-open, ports, "                                               \
	"fragments, answers\n"

static struct conf *
good(const char *text)
{
	struct conf *conf;
	int error = load(text, &conf);

	if (error != 0)
		fprintf(stderr, "\n%s", reported);
	CU_ASSERT_EQUAL_FATAL(error, 0);
	CU_ASSERT_STRING_EQUAL(reported, "");
	return conf;
}

static void
test_defaults(void)
{
	struct conf *conf = good(GOOD);

	CU_ASSERT_STRING_EQUAL(conf->path, conf_path);
	CU_ASSERT_TRUE(conf->workers >= 1 && conf->workers <= 4);
	CU_ASSERT_TRUE(conf->workers_automatic);
	CU_ASSERT_EQUAL(conf->idle, IDLE_ADAPTIVE);
	CU_ASSERT_EQUAL(conf->seccomp, SECCOMP_KILL);
	CU_ASSERT_EQUAL(conf->flows, 262144);
	CU_ASSERT_STRING_EQUAL(conf->socket_path, "/run/sluice/control.sock");
	CU_ASSERT_STRING_EQUAL(conf->state_dir, "/var/lib/sluice");
	for (unsigned i = 0; i < TIMEOUT_COUNT; i++)
		CU_ASSERT_EQUAL(conf->timeouts.ms[i], timeouts[i].default_s * 1000);
	CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_NONE);
	CU_ASSERT_FALSE(conf->qubes[0].has_mac);
	conf_free(conf);
}

/* What sluice.conf(5) says of a key that is left out is the value it has then. */
static void
test_defaults_said(void)
{
	struct conf *left_out = good(GOOD);
	struct conf *said;
	char text[1024] = "[sluice]\n";

	for (enum key_id id = KEY_SLUICE_WORKERS; id <= KEY_SLUICE_LOG_REFUSALS; id++)
		if (id != KEY_SLUICE_GROUP && id != KEY_SLUICE_LOOK_GROUP)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s = %s\n",
				keys[id].name, keys[id].without);
	snprintf(text + strlen(text), sizeof(text) - strlen(text),
		GATEWAY UPLINK "mss-clamp = %s\n" WORK "filter = %s\n",
		keys[KEY_PORT_MSS_CLAMP].without, keys[KEY_QUBE_FILTER].without);
	said = good(text);
	CU_ASSERT_EQUAL(said->workers, left_out->workers);
	CU_ASSERT_EQUAL(said->workers_automatic, left_out->workers_automatic);
	CU_ASSERT_EQUAL(said->idle, left_out->idle);
	CU_ASSERT_EQUAL(said->seccomp, left_out->seccomp);
	CU_ASSERT_EQUAL(said->flows, left_out->flows);
	CU_ASSERT_EQUAL(said->ports_max, left_out->ports_max);
	CU_ASSERT_STRING_EQUAL(said->socket_path, left_out->socket_path);
	CU_ASSERT_STRING_EQUAL(said->state_dir, left_out->state_dir);
	CU_ASSERT_EQUAL(said->telemetry, left_out->telemetry);
	CU_ASSERT_EQUAL(said->log_refusals, left_out->log_refusals);
	CU_ASSERT_EQUAL(said->ports[0].mss_clamp, left_out->ports[0].mss_clamp);
	CU_ASSERT_EQUAL(said->qubes[0].filter, left_out->qubes[0].filter);
	conf_free(said);
	conf_free(left_out);
}

static void
test_values(void)
{
	struct conf *conf = good("; comment\n"
				 "[sluice]\n"
				 "workers=2\n"
				 "idle = spin\n"
				 "seccomp = log\n"
				 "  flows =\t1024   # few\n"
				 "socket = /tmp/s;ock ; the ; inside stays\n"
				 "state-dir = /tmp/state#1\n"
				 "[gateway]\n"
				 "address = 10.137.0.1\n"
				 "address6 = fe80::1\n"
				 "dns = 10.139.1.1\t10.139.1.2  10.139.1.3 10.139.1.4\n"
				 "[timeouts]\n"
				 "tcp-established = 432000\n"
				 "other = 5\n"
				 "[port uplink]\n"
				 "device = pci:03:1F.7\n"
				 "role = uplink\n"
				 "address = 192.168.50.1/24\n"
				 "gateway = 192.168.50.2\n"
				 "address6 = 2001:db8::5/64\n"
				 "gateway6 = fe80::2\n"
				 "dns = 9.9.9.9 8.8.8.8\n"
				 "[port  work]\n"
				 "device = dpdk:net_pcap0,rx_pcap=a;b#c.pcap,iface=x\n"
				 "role = qube\n"
				 "qube = work\n"
				 "[qube work]\n"
				 "address = 10.137.0.16\n"
				 "address6 = fd09:24ef:4179::a89:10\n"
				 "mac = 00:16:3E:5e:6c:00\n"
				 "[qube off]\n"
				 "address6 = fd09:24ef:4179::a89:11");
	const struct conf_port *uplink = &conf->ports[0];
	const struct conf_port *port = &conf->ports[1];
	const struct conf_qube *qube = &conf->qubes[0];
	static const uint8_t mac[6] = {0x00, 0x16, 0x3e, 0x5e, 0x6c, 0x00};
	char text[ADDRESS_TEXT_SIZE];

	CU_ASSERT_EQUAL(conf->workers, 2);
	CU_ASSERT_FALSE(conf->workers_automatic);
	CU_ASSERT_EQUAL(conf->idle, IDLE_SPIN);
	CU_ASSERT_EQUAL(conf->seccomp, SECCOMP_LOG);
	CU_ASSERT_EQUAL(conf->flows, 1024);
	CU_ASSERT_STRING_EQUAL(conf->socket_path, "/tmp/s;ock");
	CU_ASSERT_STRING_EQUAL(conf->state_dir, "/tmp/state#1");
	CU_ASSERT_TRUE(conf->has_gateway[FAMILY_IPV4] && conf->has_gateway[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(conf->gateway[FAMILY_IPV4].v4, inet_addr("10.137.0.1"));
	CU_ASSERT_EQUAL(conf->virtual_dns_count, 4);
	CU_ASSERT_EQUAL(conf->virtual_dns[3], inet_addr("10.139.1.4"));
	CU_ASSERT_EQUAL(conf->timeouts.ms[TIMEOUT_TCP_ESTABLISHED], 432000000);
	CU_ASSERT_EQUAL(conf->timeouts.ms[TIMEOUT_OTHER], 5000);
	CU_ASSERT_EQUAL(conf->timeouts.ms[TIMEOUT_TCP_CLOSE], 10000);

	CU_ASSERT_EQUAL_FATAL(conf->port_count, 2);
	CU_ASSERT_STRING_EQUAL(uplink->name, "uplink");
	CU_ASSERT_EQUAL(uplink->line, 16);
	CU_ASSERT_EQUAL(uplink->device, DEVICE_PCI);
	CU_ASSERT_STRING_EQUAL(uplink->argument, "0000:03:1f.7");
	CU_ASSERT_EQUAL(uplink->role, ROLE_UPLINK);
	CU_ASSERT_TRUE(uplink->has[FAMILY_IPV4] && uplink->has[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(uplink->address[FAMILY_IPV4].v4, inet_addr("192.168.50.1"));
	CU_ASSERT_STRING_EQUAL(
		prefix_format(text, FAMILY_IPV4, &uplink->link[FAMILY_IPV4]), "192.168.50.0/24");
	CU_ASSERT_STRING_EQUAL(
		prefix_format(text, FAMILY_IPV6, &uplink->link[FAMILY_IPV6]), "2001:db8::/64");
	CU_ASSERT_STRING_EQUAL(
		address_format(text, FAMILY_IPV6, &uplink->gateway[FAMILY_IPV6]), "fe80::2");
	CU_ASSERT_EQUAL(uplink->resolver_count, 2);
	CU_ASSERT_EQUAL(uplink->resolver[1], inet_addr("8.8.8.8"));

	CU_ASSERT_STRING_EQUAL(port->name, "work");
	CU_ASSERT_EQUAL(port->device, DEVICE_DPDK);
	CU_ASSERT_STRING_EQUAL(port->argument, "net_pcap0,rx_pcap=a;b#c.pcap,iface=x");
	CU_ASSERT_EQUAL(port->role, ROLE_QUBE);
	CU_ASSERT_STRING_EQUAL(port->qube, "work");

	CU_ASSERT_EQUAL_FATAL(conf->qube_count, 2);
	CU_ASSERT_EQUAL(qube->line, 28);
	CU_ASSERT_TRUE(qube->has_mac);
	CU_ASSERT_EQUAL(memcmp(qube->mac, mac, sizeof(mac)), 0);
	CU_ASSERT_STRING_EQUAL(address_format(text, FAMILY_IPV6, &qube->address[FAMILY_IPV6]),
		"fd09:24ef:4179::a89:10");
	CU_ASSERT_FALSE(conf->qubes[1].has[FAMILY_IPV4]);
	conf_free(conf);
}

static void
test_long_value(void)
{
	/* Longer than inih's own 200 bytes. */
	char text[4096] = GOOD "[sluice]\nstate-dir = /";
	struct conf *conf;

	memset(text + strlen(text), 'x', 1000);
	conf = good(text);
	CU_ASSERT_EQUAL(strlen(conf->state_dir), 1001);
	conf_free(conf);
}

static void
test_single_address_uplink(void)
{
	/* What a Qubes netvm gives its clients: /32 and a gateway outside of it. */
	conf_free(good(GATEWAY "[port up]\ndevice = kernel:eth0\nrole = uplink\n"
			       "address = 10.137.0.6/32\ngateway = 10.138.0.5\n"));
}

static void
test_lines(void)
{
	bad(GOOD "nonsense\n", ":16: \"nonsense\" is neither [SECTION] nor KEY = VALUE\n");
	bad("\n\n" GOOD "\n# x\n  mac : 3\n",
		":20: \"mac : 3\" is neither [SECTION] nor KEY = VALUE\n");
	bad(GOOD "ma c = 3\n", ":16: key in \"ma c = 3\" is wrong; allowed: a-z, 0-9 and -\n");
	bad(GOOD "= 3\n", ":16: key in \"= 3\" is wrong; allowed: a-z, 0-9 and -\n");
	bad(GOOD "mac: 3=4\n", ":16: key in \"mac: 3=4\" is wrong; allowed: a-z, 0-9 and -\n");
	bad("workers = 3\n" GOOD,
		":1: workers: stands before the first section; " SECTIONS_ALLOWED);
	/* inih would take an indented line for a continuation of the value before it. */
	bad(GOOD "  mac = 3\n",
		":16: mac: \"3\" is not a MAC; allowed: a unicast MAC such as 00:16:3e:5e:6c:00\n");
}

static void
test_bytes(void)
{
	static const char nul[] = GOOD "mac = 00\0:16\n[qube work]\n";
	char expected[512];
	struct conf *conf;

	CU_ASSERT_EQUAL(load_bytes(nul, sizeof(nul) - 1, &conf), -EINVAL);
	snprintf(expected, sizeof(expected),
		"%s:16: byte 0x00 is not text\n"
		"%s:17: [qube work] stands a second time, first on line 14\n",
		conf_path, conf_path);
	CU_ASSERT_STRING_EQUAL(reported, expected);
	bad("[sluice]\r\nworkers = 1\r\n" GOOD,
		":1: DOS line end (byte 0x0d); save the file with Unix line ends\n");
	bad("\xef\xbb\xbf" GOOD, ":1: starts with a byte order mark; save it without\n");
	bad(GOOD "\x1b[31m\n", ":16: byte 0x1b is not text\n");
	conf_free(good(GOOD "# caf\xc3\xa9\n"));
}

static void
test_long_line(void)
{
	static char text[(1 << 20) + 4096];

	strcpy(text, GOOD "mac = ");
	memset(text + strlen(text), 'x', 1 << 20);
	strcat(text, "\nbogus = 1\n");
	bad(text, ":16: line is longer than 4094 bytes\n"
		  ":17: bogus: unknown key in [qube work]; " QUBE_KEYS);
}

static void
test_sections(void)
{
	bad(GOOD "[gateway]\naddress = junk\n",
		":16: [gateway] stands a second time, first on line 1\n");
	bad(GOOD "[qube work]\n", ":16: [qube work] stands a second time, first on line 14\n");
	bad(GOOD "[port work]\n", ":16: [port work] stands a second time, first on line 10\n");
	bad(GOOD "[Gateway]\n", ":16: unknown section [Gateway]; " SECTIONS_ALLOWED);
	bad(GOOD "[sluice main]\n", ":16: [sluice] takes no name, \"main\" is too much\n");
	bad(GOOD "[sluice\nworkers = 1\n",
		":16: \"[sluice\" is no section header, \"]\" is missing\n");
	bad(GOOD "[sluice] x\n",
		":16: \"[sluice] x\" is no section header, text follows its \"]\"\n");
	bad(GOOD "[qube]\n", ":16: [qube NAME]: name \"\" is empty; allowed: 1 to 31 letters, "
			     "digits and - _ .\n");
	bad(GOOD "[qube a b]\n", ":16: [qube NAME]: name \"a b\" holds something else than "
				 "letters, digits and - _ .; "
				 "allowed: 1 to 31 letters, digits and - _ .\n");
	bad(GOOD "[qube -a]\n", ":16: [qube NAME]: name \"-a\" does not start with a letter or "
				"digit; allowed: 1 to "
				"31 letters, digits and - _ .\n");
	bad(GOOD "[qube a23456789012345678901234567890ab]\n",
		":16: [qube NAME]: name \"a23456789012345678901234567890ab\" is longer than 31 "
		"bytes; allowed: 1 to 31 letters, digits and - _ .\n");
	conf_free(good(GOOD "[sluice] ; ours\n[qube a234567890123456789012345678901]\n"
			    "address = 10.137.0.17\n"));
}

static void
test_keys(void)
{
	bad(GOOD "colour = 10.1.1.1\n", ":16: colour: unknown key in [qube work]; " QUBE_KEYS);
	bad(GOOD "address = 10.137.0.17\n",
		":16: address: stands a second time, first on line 15\n");
	bad(GOOD "rules =\n",
		":16: rules: has no value; allowed: the path of a rules file, relative "
		"to the configuration file\n");
	bad(GOOD "rules = ; later\n",
		":16: rules: has no value; allowed: the path of a rules file, relative to the "
		"configuration file\n");
}

#define WORKERS_ALLOWED "allowed: 1..64, worker lcores, or auto: half of the CPUs, but 1 to 4"

static void
test_numbers(void)
{
	bad(GOOD "[sluice]\nworkers = 0\n",
		":17: workers: \"0\" is under 1; " WORKERS_ALLOWED "\n");
	bad(GOOD "[sluice]\nidle = lazy\n",
		":17: idle: \"lazy\" is neither adaptive nor spin; allowed: adaptive or spin: "
		"whether workers without work sleep or look for it all the time\n");
	bad(GOOD "[sluice]\nseccomp = trap\n",
		":17: seccomp: \"trap\" is neither kill, nor log, nor off; allowed: kill, log or "
		"off: whether a system call that sluiced does not need ends it, is written into "
		"the kernel's log, or neither\n");
	bad(GOOD "[sluice]\nworkers = 65\n",
		":17: workers: \"65\" is over 64; " WORKERS_ALLOWED "\n");
	bad(GOOD "[sluice]\nworkers = 4294967297\n",
		":17: workers: \"4294967297\" is over 64; " WORKERS_ALLOWED "\n");
	bad(GOOD "[sluice]\nworkers = -1\n",
		":17: workers: \"-1\" is not a number; " WORKERS_ALLOWED "\n");
	bad(GOOD "[sluice]\nflows = 1k\n",
		":17: flows: \"1k\" is not a number; allowed: 1024..16777216, flows per worker\n");
	bad(GOOD "[sluice]\nflows = 1023\n",
		":17: flows: \"1023\" is under 1024; allowed: 1024..16777216, flows per worker\n");
	bad(GOOD "[timeouts]\ntcp-syn-sent = 4\nudp = 3\n",
		":17: tcp-syn-sent: \"4\" is under 5; allowed: 5..3600, seconds: SYN sent, nothing "
		"heard yet (RFC 5382 REQ-5: at least 240)\n"
		":18: udp: unknown key in [timeouts]; allowed: tcp-syn-sent, tcp-syn-recv, "
		"tcp-established, tcp-fin-wait, tcp-close-wait, tcp-last-ack, tcp-time-wait, "
		"tcp-close, udp-unreplied, udp-replied, udp-service, icmp-query, other, "
		"fragment, name, tcp-pickup\n");
	bad(GOOD "[sluice]\nsocket = run/s\n", ":17: socket: \"run/s\" is not an absolute path; "
					       "allowed: an absolute path of at most "
					       "107 bytes for the control socket\n");
	bad(GOOD "[sluice]\nsocket = "
		 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
		":17: socket: \"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\" "
		"is "
		"too long for a socket; allowed: an absolute path of at most 107 bytes for the "
		"control socket\n");
}

#define DEVICE_ALLOWED \
	"allowed: kernel:IFNAME, pci:ADDRESS, dpdk:DEVARGS, or tap:IFNAME for role = host\n"

static void
test_devices(void)
{
	static const struct {
		const char *device, *reason;
	} devices[] = {
		{"eth0", "is no kind of device"},
		{"kernel:", "names no interface"},
		{"kernel:a/b", "has no possible interface name"},
		{"kernel:a b", "has no possible interface name"},
		{"kernel:..", "has no possible interface name"},
		{"kernel:a234567890123456", "has an interface name over 15 bytes"},
		{"pci:", "is not a PCI address"},
		{"pci:0000:03:00", "is not a PCI address"},
		{"pci:0000:03:00.8", "is not a PCI address"},
		{"pci:0000:03:20.0", "has a PCI device number over 1f"},
		{"pci:0000:0g:00.0", "is not a PCI address"},
		{"dpdk:", "has no DPDK device arguments"},
		{"dpdk:--vdev", "has no DPDK device arguments"},
		{"dpdk:net_null0 --no-pci", "has a blank in its DPDK device arguments"},
	};
	char text[1024], expected[256];

	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		snprintf(text, sizeof(text),
			"%s[port x]\ndevice = %s\nrole = qube\nqube = x\n"
			"[qube x]\naddress = 10.137.0.17\n",
			GOOD, devices[i].device);
		snprintf(expected, sizeof(expected), ":17: device: \"%s\" %s; " DEVICE_ALLOWED,
			devices[i].device, devices[i].reason);
		bad(text, expected);
	}
	bad(GOOD "[port x]\ndevice = kernel:eth0\nrole = qube\nqube = x\n[qube x]\n"
		 "address = 10.137.0.17\n",
		":17: device: is already used by [port uplink] (line 5)\n");
}

static void
test_ports(void)
{
	bad(GOOD "[port x]\n", ":16: [port x]: device is missing; " DEVICE_ALLOWED
			       ":16: [port x]: role is missing; allowed: uplink, qube or host, "
			       "which is our own kernel\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = router\n",
		":18: role: \"router\" is no role; allowed: uplink, qube or host, which is our own "
		"kernel\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = uplink\naddress = 10.9.9.9/24\n",
		":18: role: a second uplink, the first is [port uplink] (line 4); allowed: exactly "
		"one\n");
	bad(GATEWAY WORK,
		":9: no port is the uplink; exactly one [port NAME] needs role = uplink\n");
	bad("", ":1: no port is the uplink; exactly one [port NAME] needs role = uplink\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = qube\n",
		":16: [port x]: qube is missing; allowed: the NAME of a [qube NAME] section, for "
		"role = qube; for role = host one that has no address\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = qube\nqube = nobody\n",
		":19: qube: there is no section [qube nobody]\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = qube\nqube = work\n",
		":19: qube: \"work\" already lives on [port work] (line 10)\n");
	bad(GOOD "[port x]\ndevice = kernel:x\nrole = qube\nqube = a/b\n",
		":19: qube: \"a/b\" holds something else than letters, digits and - _ .; allowed: "
		"the "
		"NAME of a [qube NAME] section, for role = qube; for role = host one that has no "
		"address\n");
	bad(GATEWAY UPLINK "qube = work\n" WORK, ":10: qube: belongs to a port with role = qube\n");
	bad(GATEWAY UPLINK "[port work]\ndevice = kernel:v\nrole = qube\nqube = work\n"
			   "address = 10.137.0.16/32\n[qube work]\naddress = 10.137.0.16\n",
		":14: address: belongs to a port with role = uplink; the addresses of a qube stand "
		"in "
		"its [qube NAME] section\n"
		":16: address: \"10.137.0.16\" is already the address of [port work] (line 14)\n");
}

#define PORT(lines) GATEWAY "[port up]\ndevice = kernel:eth0\nrole = uplink\n" lines
#define LINK_ALLOWED "allowed: our IPv4 ADDRESS/LENGTH there, for role = uplink\n"
#define RESOLVERS_ALLOWED                                                                     \
	"allowed: up to 8 IPv4 addresses of real resolvers, separated by blanks, for role = " \
	"uplink\n"

static void
test_uplink(void)
{
	bad(PORT(""), ":4: [port up]: needs address or address6\n");
	bad(PORT("address = 192.168.50.1\n"),
		":7: address: \"192.168.50.1\" has no /LENGTH; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.1/33\n"),
		":7: address: \"192.168.50.1/33\" has a prefix length over 32; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.1/0\n"),
		":7: address: \"192.168.50.1/0\" has prefix length 0: everything would be on the "
		"link; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.1/x\n"), ":7: address: \"192.168.50.1/x\" has no number as "
						"its prefix length; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.0/24\n"), ":7: address: \"192.168.50.0/24\" is the network "
						 "itself, not an address in it; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.255/24\n"),
		":7: address: \"192.168.50.255/24\" is the broadcast address of its "
		"network; " LINK_ALLOWED);
	bad(PORT("address = 2001:db8::1/64\n"),
		":7: address: \"2001:db8::1/64\" is an IPv6 address; " LINK_ALLOWED);
	bad(PORT("address = 192.168.50.1/24\ngateway = 192.168.51.2\n"),
		":8: gateway: \"192.168.51.2\" is not on the link; allowed: an address in "
		"192.168.50.0/24\n");
	bad(PORT("address = 192.168.50.1/24\ngateway6 = fe80::1\n"),
		":8: gateway6: needs address6 in the same section\n");
	bad(PORT("address = 192.168.50.1/24\ngateway = 192.168.50.1\n"),
		":8: gateway: \"192.168.50.1\" is already the address of [port up] (line 7)\n");
	bad(PORT("address6 = 2001:db8::1/64\ngateway6 = 2001:db8:0:1::1\n"),
		":8: gateway6: \"2001:db8:0:1::1\" is not on the link; allowed: an address in "
		"2001:db8::/64\n");
	bad(PORT("address = 192.168.50.1/24\ndns = 192.168.50.2 nine\n"),
		":8: dns: \"192.168.50.2 nine\" is wrong: \"nine\" is not an IPv4 "
		"address; " RESOLVERS_ALLOWED);
	bad(PORT("address = 192.168.50.1/24\ndns = 1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 "
		 "1.1.1.7 1.1.1.8 1.1.1.9\n"),
		":8: dns: \"1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5 1.1.1.6 1.1.1.7 1.1.1.8 \" "
		"holds more "
		"than 8 addresses; " RESOLVERS_ALLOWED);
	bad(PORT("address = 192.168.50.1/24\ndns = 127.0.0.53\n"),
		":8: dns: \"127.0.0.53\" is wrong: \"127.0.0.53\" is a loopback "
		"address; " RESOLVERS_ALLOWED);
	bad(PORT("address = 192.168.50.1/24\ndns = 10.139.1.2\n"),
		":8: dns: \"10.139.1.2\" is already the dns of [gateway] (line 3)\n");
	bad(PORT("settings = dhcp\n"),
		":7: settings: \"dhcp\" is none of them; allowed: for role = uplink "
		"file, qubesdb or host: who says what addresses, gateways and resolvers it has; "
		"for role = host uplink: sluiced gives the interface those of the uplink\n:4: "
		"[port up]: needs address or address6\n");
	bad(PORT("settings = host\naddress = 192.168.50.1/24\n"),
		":8: address: is for settings = file: somebody else says it now\n"
		":7: settings: host needs a port with role = host, where our own kernel says "
		"them\n");
	bad(PORT("settings = qubesdb\n"), ":7: settings: needs a section [qubes] with qubesdb\n");
	bad(PORT("settings = qubesdb\n") "[qubes]\nqubesdb = db.sock\n",
		":9: qubesdb: \"db.sock\" is not an absolute path; allowed: the absolute path of "
		"QubesDB's socket of at most 107 bytes: rules, clients, addresses\n:7: settings: "
		"needs a section [qubes] with qubesdb\n");
	conf_free(good(PORT("settings = qubesdb\n") "[qubes]\nqubesdb = /run/db.sock\n"));
	conf_free(
		good(PORT("settings = host\n") "[port self]\ndevice = tap:sluice0\nrole = host\n"));
	conf_free(good(PORT("address = 192.168.50.0/31\ngateway = 192.168.50.1\n")));
}

#define TAP "[port self]\ndevice = tap:sluice0\nrole = host\n"

static void
test_host(void)
{
	const struct conf_qube *qube;
	struct conf *conf;

	/* without more it is a qube of the port's name, which may send anything */
	conf = good(GOOD TAP "[forward proxy]\nforwardtype = internal\nproto = tcp\n"
			     "srcports = 8082\nqube = self\n");
	CU_ASSERT_EQUAL(conf->ports[conf->port_count - 1].device, DEVICE_TAP);
	CU_ASSERT_EQUAL(conf->ports[conf->port_count - 1].role, ROLE_HOST);
	CU_ASSERT_STRING_EQUAL(conf->ports[conf->port_count - 1].qube, "self");
	qube = conf_qube_find(conf, "self");
	CU_ASSERT_PTR_NOT_NULL_FATAL(qube);
	CU_ASSERT(qube->host && !qube->has[FAMILY_IPV4] && !qube->has[FAMILY_IPV6]);
	CU_ASSERT_EQUAL(qube->state, RULES_VALID);
	CU_ASSERT_EQUAL(qube->ruleset.policy, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(qube->limits.value[BUDGET_FLOWS], conf->limits.value[BUDGET_FLOWS]);
	CU_ASSERT(!conf_qube_find(conf, "work")->host);
	conf_free(conf);
	/* or one that is written down: then what that says holds, and without rules it is silent */
	conf = good(GOOD TAP "qube = kernel\n[qube kernel]\nflows = 99\n");
	qube = conf_qube_find(conf, "kernel");
	CU_ASSERT_PTR_NOT_NULL_FATAL(qube);
	CU_ASSERT(qube->host && qube->state == RULES_NONE);
	CU_ASSERT_EQUAL(qube->limits.value[BUDGET_FLOWS], 99);
	conf_free(conf);

	bad(GOOD TAP "[qube self]\n", ":16: qube: is missing: [qube self] (line 19) may be meant, "
				      "or not\n:19: [qube self]: needs address or address6\n");
	bad(GOOD TAP "qube = kernel\n", ":19: qube: there is no section [qube kernel]\n");
	bad(GOOD TAP "qube = work\n",
		":19: qube: \"work\" already lives on [port work] (line 10)\n:15: address: is not "
		"for "
		"the qube of a port with role = host, which is our own kernel\n");
	bad(GOOD TAP "qube = kernel\n[qube kernel]\naddress = 10.137.0.99\nfilter = none\n",
		":21: address: is not for the qube of a port with role = host, which is our own "
		"kernel\n:22: filter: is not for the qube of a port with role = host, which is our "
		"own kernel\n");
	bad(GOOD TAP "address = 10.0.0.1/8\n",
		":19: address: belongs to a port with role = uplink; the addresses of a qube stand "
		"in its [qube NAME] section\n");
	bad(GOOD "[port self]\ndevice = kernel:eth7\nrole = host\n",
		":17: device: a port with role = host makes its own: allowed: tap:IFNAME\n");
	bad(GOOD TAP "[port more]\ndevice = tap:sluice1\nrole = host\n",
		":21: role: a second host, the first is [port self] (line 16); allowed: one\n");
	bad(GOOD "[port self]\ndevice = tap:x\nrole = qube\nqube = x\n[qube x]\n"
		 "address = 10.137.0.99\n",
		":17: device: tap: is for a port with role = host\n");
	bad(GOOD "[port self]\ndevice = tap:a/b\nrole = host\n",
		":17: device: \"tap:a/b\" has no possible interface name; " DEVICE_ALLOWED);
	bad(PORT("settings = host\nresolv-conf = here\n") TAP,
		":8: resolv-conf: \"here\" is not an absolute path; allowed: an absolute path of "
		"at most 255 bytes. For settings = host: where resolvers are found; for settings = "
		"uplink: a file that sluiced writes them to\n");
	bad(PORT("address = 192.168.50.1/24\nresolv-conf = /etc/resolv.conf\n"),
		":8: resolv-conf: is for settings = host\n");
	conf = good(PORT("settings = host\nresolv-conf = /run/resolv.conf\n") TAP);
	CU_ASSERT_STRING_EQUAL(conf->ports[0].resolv_conf, "/run/resolv.conf");
	conf_free(conf);
	/* the other way round */
	conf = good(GOOD TAP "settings = uplink\nresolv-conf = /run/resolv.conf\n");
	CU_ASSERT_EQUAL(conf->ports[2].settings, SETTINGS_UPLINK);
	CU_ASSERT_STRING_EQUAL(conf->ports[2].resolv_conf, "/run/resolv.conf");
	conf_free(conf);
	bad(GOOD TAP "settings = qubesdb\n",
		":19: settings: is for the uplink; allowed for role = host: uplink\n");
	bad(GOOD TAP "resolv-conf = /run/resolv.conf\n",
		":19: resolv-conf: is for settings = uplink here\n");
	bad(PORT("settings = uplink\n") TAP,
		":7: settings: uplink is for a port with role = host; allowed: file, qubesdb or "
		"host\n");
	bad(PORT("settings = host\n") TAP "settings = uplink\n",
		":11: settings: uplink and host have their settings from each other: nobody says "
		"them\n");
}

static void
test_qubes(void)
{
	bad(GOOD "[qube x]\n", ":16: [qube x]: needs address or address6\n");
	bad(GOOD "[qube x]\naddress = 10.137.0.17/32\n",
		":17: address: \"10.137.0.17/32\" has a prefix length, a qube has single "
		"addresses; "
		"allowed: an IPv4 address without a length\n");
	bad(GOOD "[qube x]\naddress = 224.0.0.1\n", ":17: address: \"224.0.0.1\" is a multicast "
						    "address; allowed: an IPv4 address without "
						    "a length\n");
	bad(GOOD "[qube x]\naddress = 255.255.255.255\n",
		":17: address: \"255.255.255.255\" is a broadcast or reserved address; allowed: an "
		"IPv4 address without a length\n");
	bad(GOOD "[qube x]\naddress6 = fe80::1\n",
		":17: address6: \"fe80::1\" is a link-local address; allowed: an IPv6 address "
		"without "
		"a length\n"
		":1: [gateway]: address6 is missing: [qube x] has an IPv6 address\n");
	bad(UPLINK WORK, ":12: address: needs a section [gateway] with address\n");
	bad("[gateway]\ndns = 10.139.1.1\n" UPLINK WORK,
		":1: [gateway]: address is missing: [qube work] has an IPv4 address\n");
	bad(GOOD "[qube x]\naddress = 10.137.0.16\n",
		":17: address: \"10.137.0.16\" is already the address of [qube work] (line 15)\n");
	bad(GOOD "[qube x]\naddress = 10.137.0.1\n",
		":17: address: \"10.137.0.1\" is already the address of [gateway] (line 2)\n");
	bad(GOOD "[qube x]\naddress = 10.139.1.2\n",
		":17: address: \"10.139.1.2\" is already the dns of [gateway] (line 3)\n");
	bad(GOOD "[qube x]\naddress = 192.168.50.1\n", ":17: address: \"192.168.50.1\" is already "
						       "the address of [port uplink] (line 7)\n");
	bad(GOOD "[qube x]\naddress = 192.168.50.2\n",
		":8: gateway: \"192.168.50.2\" is already the address of [qube x] (line 17)\n"
		":9: dns: \"192.168.50.2\" is already the address of [qube x] (line 17)\n");
	bad(GOOD "mac = 01:16:3e:5e:6c:00\n", ":16: mac: \"01:16:3e:5e:6c:00\" is a multicast MAC; "
					      "allowed: a unicast MAC such as "
					      "00:16:3e:5e:6c:00\n");
	bad(GOOD "mac = 00-16-3e-5e-6c-00\n",
		":16: mac: \"00-16-3e-5e-6c-00\" is not a MAC; allowed: a unicast MAC such as "
		"00:16:3e:5e:6c:00\n");
	bad(GOOD "mac = 00:00:00:00:00:00\n", ":16: mac: \"00:00:00:00:00:00\" is no station's "
					      "MAC; allowed: a unicast MAC such as "
					      "00:16:3e:5e:6c:00\n");
}

/* What a qube sees in place of its address and ours. */
static void
test_visible(void)
{
	struct conf *conf = good(GOOD "visible-gateway = 192.168.7.1\n"
				      "visible-address = 192.168.7.5\n");

	CU_ASSERT_TRUE(conf->qubes[0].has_visible);
	CU_ASSERT_EQUAL(conf->qubes[0].visible, inet_addr("192.168.7.5"));
	CU_ASSERT_EQUAL(conf->qubes[0].visible_gateway, inet_addr("192.168.7.1"));
	conf_free(conf);
	conf = good(GOOD "visible-address = 192.168.7.5\n");
	CU_ASSERT_TRUE(conf->qubes[0].has_visible);
	CU_ASSERT_EQUAL(conf->qubes[0].visible_gateway, 0);
	conf_free(conf);
	conf = good(GOOD);
	CU_ASSERT_FALSE(conf->qubes[0].has_visible);
	conf_free(conf);

	bad(GOOD "visible-address = fd09::5\n",
		":16: visible-address: \"fd09::5\" is an IPv6 address; allowed: an IPv4 "
		"address "
		"that the qube takes for its own, exchanged for `address` at its port\n");
	bad(GOOD "visible-address = 127.0.0.1\n",
		":16: visible-address: \"127.0.0.1\" is a loopback address; allowed: an IPv4 "
		"address "
		"that the qube takes for its own, exchanged for `address` at its port\n");
	bad(GOOD "visible-gateway = 192.168.7.1\n",
		":16: visible-gateway: needs visible-address: without it the qube sees what is "
		"there\n");
	bad(GOOD "visible-address = 192.168.7.5\nvisible-gateway = 192.168.7.5\n",
		":17: visible-gateway: is visible-address itself; allowed: another one\n");
	bad(GOOD "visible-address = 192.168.7.5\nvisible-gateway = 10.137.0.16\n",
		":17: visible-gateway: is the qube's own address; allowed: another one\n");
	bad(GOOD "visible-address = 10.137.0.1\nvisible-gateway = 10.139.1.1\n",
		":16: visible-address: is that of [gateway]; allowed: another one\n"
		":17: visible-gateway: is a virtual resolver's; allowed: another one\n");
	bad(GATEWAY "address6 = fd09::1\n" UPLINK
		    "[qube x]\naddress6 = fd09::2\nvisible-address = 192.168.7.5\n",
		":13: visible-address: needs address, for which it stands\n");
}

static void
test_limits(void)
{
	struct conf *conf = good(GOOD);
	char text[1024], expected[512];

	for (unsigned i = 0; i < BUDGET_COUNT; i++) {
		CU_ASSERT_EQUAL(conf->limits.value[i], budgets[i].normal);
		CU_ASSERT_EQUAL(conf->qubes[0].limits.value[i], budgets[i].normal);
	}
	conf_free(conf);
	/* Those of all qubes may stand behind the qubes, and one's own are its own alone. */
	conf = good(GOOD "flows = 100\nanswers = 7\n[qube x]\naddress = 10.137.0.17\n[limits]\n"
			 "flows = 200\nports = 300\n[qube y]\naddress = 10.137.0.18\n"
			 "ports = 65535\n");
	CU_ASSERT_EQUAL(conf->limits.value[BUDGET_FLOWS], 200);
	CU_ASSERT_EQUAL(conf->qubes[0].limits.value[BUDGET_FLOWS], 100);
	CU_ASSERT_EQUAL(conf->qubes[0].limits.value[BUDGET_ANSWERS], 7);
	CU_ASSERT_EQUAL(conf->qubes[0].limits.value[BUDGET_PORTS], 300);
	CU_ASSERT_EQUAL(conf->qubes[0].limits.value[BUDGET_FRAGMENTS], 256);
	CU_ASSERT_EQUAL(conf->qubes[1].limits.value[BUDGET_FLOWS], 200);
	CU_ASSERT_EQUAL(conf->qubes[1].limits.value[BUDGET_ANSWERS], 32);
	CU_ASSERT_EQUAL(conf->qubes[2].limits.value[BUDGET_PORTS], 65535);
	CU_ASSERT_EQUAL(conf->qubes[2].limits.value[BUDGET_FLOWS], 200);
	conf_free(conf);
	/* Every row of the table is a key of both sections, within its bounds. */
	for (unsigned i = 0; i < BUDGET_COUNT; i++) {
		for (unsigned own = 0; own < 2; own++) {
			const char *section = own ? "" : "[limits]\n";

			snprintf(text, sizeof(text), GOOD "%s%s = %u\n", section, budgets[i].name,
				budgets[i].min);
			conf = good(text);
			CU_ASSERT_EQUAL(conf->qubes[0].limits.value[i], budgets[i].min);
			conf_free(conf);
			snprintf(text, sizeof(text), GOOD "%s%s = %u\n", section, budgets[i].name,
				budgets[i].max + 1);
			snprintf(expected, sizeof(expected),
				":%u: %s: \"%u\" is over %u; allowed: %u..%u, %s\n", 17 - own,
				budgets[i].name, budgets[i].max + 1, budgets[i].max, budgets[i].min,
				budgets[i].max, budgets[i].help);
			bad(text, expected);
		}
	}
	bad(GOOD "[limits]\nflows = 15\nflow = 3\n",
		":17: flows: \"15\" is under 16; allowed: 16..16777216, flows at once\n"
		":18: flow: unknown key in [limits]; allowed: flows, new-flows, half-open, ports, "
		"fragments, answers\n");
	bad(GOOD "[limits]\n[limits]\n", ":17: [limits] stands a second time, first on line 16\n");
	bad(GOOD "[limits x]\n", ":16: [limits] takes no name, \"x\" is too much\n");
}

static void
test_zero_is_a_number(void)
{
	struct conf *conf = good(GOOD "[timeouts]\ntcp-pickup = 3600\n");

	CU_ASSERT_EQUAL(conf->timeouts.ms[TIMEOUT_PICKUP], 3600000);
	conf_free(conf);
	conf = good(GOOD "[timeouts]\ntcp-pickup = 0\n");
	CU_ASSERT_EQUAL(conf->timeouts.ms[TIMEOUT_PICKUP], 0);
	conf_free(conf);
	bad(GOOD "[timeouts]\ntcp-pickup = 3601\ntcp-pickup = -0\n",
		":17: tcp-pickup: \"3601\" is over 3600; allowed: 0..3600, seconds: after a start "
		"without a flow snapshot: qubes' connections are taken up in the middle\n"
		":18: tcp-pickup: stands a second time, first on line 17\n");
}

#define FILTER_ALLOWED \
	"allowed: address-and-port, address or none: who may send to a UDP port it has opened\n"
#define MSS_ALLOWED                                                                            \
	"allowed: off, mtu or 536..65495 bytes: TCP connections through the port announce no " \
	"more\n"

static void
test_filter(void)
{
	static const char *const names[] = {[FILTER_ADDRESS_AND_PORT] = "address-and-port",
		[FILTER_ADDRESS] = "address",
		[FILTER_NONE] = "none"};
	char text[1024];
	struct conf *conf = good(GOOD);

	CU_ASSERT_EQUAL(conf->qubes[0].filter, FILTER_ADDRESS_AND_PORT);
	conf_free(conf);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(text, sizeof(text), GOOD "filter = %s\n", names[i]);
		conf = good(text);
		CU_ASSERT_EQUAL(conf->qubes[0].filter, i);
		conf_free(conf);
	}
	bad(GOOD "filter = all\n", ":16: filter: \"all\" is no filter; " FILTER_ALLOWED);
}

static void
test_log_refusals(void)
{
	struct conf *conf = good(GOOD "[sluice]\nlog-refusals = no\n");

	CU_ASSERT_FALSE(conf->log_refusals);
	conf_free(conf);
	conf = good(GOOD "[sluice]\nlog-refusals = yes\n");
	CU_ASSERT_TRUE(conf->log_refusals);
	conf_free(conf);
	conf = good(GOOD);
	CU_ASSERT_TRUE(conf->log_refusals);
	conf_free(conf);
	bad(GOOD "[sluice]\nlog-refusals = 1\n",
		":17: log-refusals: \"1\" is neither yes nor no; allowed: yes or no: whether "
		"refusals are logged\n");
}

static void
test_mss_clamp(void)
{
	struct conf *conf = good(GATEWAY UPLINK "mss-clamp = mtu\n[port work]\nmss-clamp = 1360\n"
						"device = kernel:v\nrole = qube\nqube = work\n"
						"[qube work]\naddress = 10.137.0.16\n");

	CU_ASSERT_EQUAL(conf->ports[0].mss_clamp, MSS_CLAMP_MTU);
	CU_ASSERT_EQUAL(conf->ports[0].mss, 0);
	CU_ASSERT_EQUAL(conf->ports[1].mss_clamp, MSS_CLAMP_FIXED);
	CU_ASSERT_EQUAL(conf->ports[1].mss, 1360);
	conf_free(conf);
	conf = good(GATEWAY UPLINK "mss-clamp = off\n" WORK);
	CU_ASSERT_EQUAL(conf->ports[0].mss_clamp, MSS_CLAMP_OFF);
	CU_ASSERT_EQUAL(conf->ports[1].mss_clamp, MSS_CLAMP_OFF);
	conf_free(conf);
	conf_free(good(GATEWAY UPLINK "mss-clamp = 536\n" WORK));
	conf_free(good(GATEWAY UPLINK "mss-clamp = 65495\n" WORK));
	bad(GATEWAY UPLINK "mss-clamp = 535\n" WORK,
		":10: mss-clamp: \"535\" is under 536; " MSS_ALLOWED);
	bad(GATEWAY UPLINK "mss-clamp = 65496\n" WORK,
		":10: mss-clamp: \"65496\" is over 65495; " MSS_ALLOWED);
	bad(GATEWAY UPLINK "mss-clamp = 1360b\n" WORK,
		":10: mss-clamp: \"1360b\" is not a number; " MSS_ALLOWED);
	bad(GATEWAY UPLINK "mss-clamp = on\n" WORK,
		":10: mss-clamp: \"on\" is neither off, nor mtu, nor a number; " MSS_ALLOWED);
}

/* Lines 16 and on. */
#define FORWARD(ports) \
	"[forward web]\nforwardtype = external\nproto = tcp\nqube = work\nsrcports = " ports "\n"
#define SRCPORTS_ALLOWED "allowed: PORT or LOW-HIGH in 1..65535, where we listen\n"
#define DSTPORTS_ALLOWED                                                                      \
	"allowed: PORT or LOW-HIGH in 1..65535 on the qube: as many as srcports, or one for " \
	"all\n"

static void
test_forward_values(void)
{
	struct conf *conf = good(GATEWAY
		"address6 = fd09::1\n" UPLINK
		"[forward web]\nforwardtype = external\nproto = tcp\nsrcports = 8080\n"
		"dstports = 80\nsrchost = 192.0.2.77/24\nqube = work\nexpire = 4102444800\n"
		"comment = a = b: c # not this\n"
		"[forward range]\nforwardtype = internal\nproto = udp\nsrcports = 1-65535\n"
		"qube = work\nsrchost = fd09::5\n"
		"[forward many]\nforwardtype = external\nproto = udp\nsrcports = 5000-5009\n"
		"dstports = 6000-6009\nqube = work\n"
		"[forward one]\nforwardtype = internal\nproto = tcp\nsrcports = 5000-5009\n"
		"dstports = 80-80\nqube = work\nexpire = 1\n" WORK "address6 = fd09::2\n");
	const struct conf_forward *forward = conf->forwards;
	char text[ADDRESS_TEXT_SIZE];

	CU_ASSERT_EQUAL_FATAL(conf->forward_count, 4);
	CU_ASSERT_EQUAL(conf->allow_count, 0);
	CU_ASSERT_STRING_EQUAL(forward->name, "web");
	CU_ASSERT_EQUAL(forward->line, 11);
	CU_ASSERT_EQUAL(forward->side, FORWARD_EXTERNAL);
	CU_ASSERT_EQUAL(forward->protocol, IPPROTO_TCP);
	CU_ASSERT(forward->first == 8080 && forward->last == 8080);
	CU_ASSERT(forward->target_first == 80 && forward->target_last == 80);
	CU_ASSERT_TRUE(forward->has_source);
	CU_ASSERT_EQUAL(forward->source_family, FAMILY_IPV4);
	CU_ASSERT_STRING_EQUAL(prefix_format(text, FAMILY_IPV4, &forward->source), "192.0.2.0/24");
	CU_ASSERT_STRING_EQUAL(forward->qube, "work");
	CU_ASSERT_EQUAL(forward->expire_s, 4102444800);
	CU_ASSERT_STRING_EQUAL(forward->comment, "a = b: c");

	forward++;
	CU_ASSERT_EQUAL(forward->side, FORWARD_INTERNAL);
	CU_ASSERT_EQUAL(forward->protocol, IPPROTO_UDP);
	CU_ASSERT(forward->first == 1 && forward->last == 65535);
	CU_ASSERT(forward->target_first == 1 && forward->target_last == 65535);
	CU_ASSERT_EQUAL(forward->source_family, FAMILY_IPV6);
	CU_ASSERT_EQUAL(forward->source.length, 128);
	CU_ASSERT_EQUAL(forward->expire_s, 0);
	CU_ASSERT_PTR_NULL(forward->comment);

	forward++;
	CU_ASSERT_FALSE(forward->has_source);
	CU_ASSERT(forward->target_first == 6000 && forward->target_last == 6009);
	/* A range of one port is one port. */
	forward++;
	CU_ASSERT(forward->target_first == 80 && forward->target_last == 80);
	CU_ASSERT_EQUAL(forward->expire_s, 1);
	conf_free(conf);
}

static void
test_forward_ports(void)
{
	static const struct {
		const char *ports, *reason;
	} wrong[] = {
		/* the example of the first draft */
		{"80443", "is over 65535"},
		{"0", "is under 1"},
		{"65536", "is over 65535"},
		{"18446744073709551696", "is over 65535"},
		{"http", "is not a number"},
		{"+80", "is not a number"},
		{"80,81", "is not a number"},
		{"80-80443", "is wrong: \"80443\" is over 65535"},
		{"80443-80444", "is wrong: \"80443\" is over 65535"},
		{"0-80", "is wrong: \"0\" is under 1"},
		{"80-", "is wrong: \"\" is not a number"},
		{"-80", "is wrong: \"\" is not a number"},
		{"80 - 90", "is wrong: \"80 \" is not a number"},
		{"80-90-100", "is wrong: \"90-100\" is not a number"},
		{"90-80", "runs backwards"},
		{"81-80", "runs backwards"},
	};
	char text[1024], expected[512];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text),
			GOOD "[forward web]\nforwardtype = external\nproto = tcp\nqube = work\n"
			     "srcports = %s\n",
			wrong[i].ports);
		snprintf(expected, sizeof(expected), ":20: srcports: \"%s\" %s; " SRCPORTS_ALLOWED,
			wrong[i].ports, wrong[i].reason);
		bad(text, expected);
		snprintf(
			text, sizeof(text), GOOD FORWARD("8080") "dstports = %s\n", wrong[i].ports);
		snprintf(expected, sizeof(expected), ":21: dstports: \"%s\" %s; " DSTPORTS_ALLOWED,
			wrong[i].ports, wrong[i].reason);
		bad(text, expected);
	}
	bad(GOOD FORWARD("8080-8089") "dstports = 80-88\n",
		":21: dstports: 9 ports for the 10 of srcports (line 20); allowed: as many, or one "
		"for all\n");
	bad(GOOD FORWARD("8080") "dstports = 80-81\n",
		":21: dstports: 2 ports for the 1 of srcports (line 20); allowed: as many, or one "
		"for all\n");
	/* Where it would go on behind the last port there is. */
	bad(GOOD FORWARD("8080-8089") "dstports = 65530-65539\n",
		":21: dstports: \"65530-65539\" is wrong: \"65539\" is over "
		"65535; " DSTPORTS_ALLOWED);
	conf_free(good(GOOD FORWARD("8080-8085") "dstports = 65530-65535\n"));
	conf_free(good(GOOD FORWARD("1-65535") "dstports = 1-65535\n"));
}

static void
test_forward_keys(void)
{
	bad(GOOD "[forward web]\n",
		":16: [forward web]: forwardtype is missing; allowed: external, which listens on "
		"the uplink, or internal, which listens for qubes\n"
		":16: [forward web]: proto is missing; allowed: tcp or udp\n"
		":16: [forward web]: srcports is missing; " SRCPORTS_ALLOWED
		":16: [forward web]: qube is missing; allowed: the NAME of a [qube NAME] section, "
		"where connections are sent\n");
	bad(GOOD FORWARD("80") "[forward web]\n",
		":21: [forward web] stands a second time, first on line 16\n");
	bad(GOOD FORWARD("80") "port = 3\n",
		":21: port: unknown key in [forward web]; allowed: forwardtype, proto, srcports, "
		"dstports, srchost, qube, expire, comment\n");
	bad(GOOD "[forward]\n", ":16: [forward NAME]: name \"\" is empty; allowed: 1 to 31 "
				"letters, digits and - _ .\n");
	bad(GOOD "[forward a]\nforwardtype = both\nproto = icmp\nsrcports = 80\nqube = a/b\n",
		":17: forwardtype: \"both\" is no type of forward; allowed: external, which "
		"listens "
		"on the uplink, or internal, which listens for qubes\n"
		":18: proto: \"icmp\" has no ports to forward; allowed: tcp or udp\n"
		":20: qube: \"a/b\" holds something else than letters, digits and - _ .; allowed: "
		"the NAME of a [qube NAME] section, where connections are sent\n");
	bad(GOOD "[forward a]\nforwardtype = internal\nproto = udp\nsrcports = 80\n"
		 "qube = nobody\n",
		":20: qube: there is no section [qube nobody]\n");
	bad(GOOD FORWARD("80") "expire = 0\n", ":21: expire: \"0\" is under 1; allowed: the unix "
					       "time in seconds at which it ends, "
					       "such as $(date -d tomorrow +%s) prints\n");
	bad(GOOD FORWARD("80") "expire = +60\n",
		":21: expire: \"+60\" is not a number; allowed: the unix time in seconds at which "
		"it ends, such as $(date -d tomorrow +%s) prints\n");
	/* milliseconds */
	bad(GOOD FORWARD("80") "expire = 1700000000000\n",
		":21: expire: \"1700000000000\" is over 253402300799; allowed: the unix time in "
		"seconds at which it ends, such as $(date -d tomorrow +%s) prints\n");
	bad(GOOD FORWARD("80") "comment =\n", ":21: comment: has no value; allowed: any text\n");
}

#define SRCHOST_ALLOWED \
	"allowed: ADDRESS or ADDRESS/LENGTH of those who may connect; without it anyone may\n"

static void
test_forward_source(void)
{
	bad(GOOD FORWARD("80") "srchost = work\n",
		":21: srchost: \"work\" is no address and no prefix; " SRCHOST_ALLOWED);
	bad(GOOD FORWARD("80") "srchost = 10.0.0.0/33\n",
		":21: srchost: \"10.0.0.0/33\" has a prefix length over 32; " SRCHOST_ALLOWED);
	bad(GOOD FORWARD("80") "srchost = 2001:db8::/129\n",
		":21: srchost: \"2001:db8::/129\" has a prefix length over 128; " SRCHOST_ALLOWED);
	bad(GOOD FORWARD("80") "srchost = 2001:db8::/32\n",
		":21: srchost: \"2001:db8::/32\" can never connect: [qube work] (line 14) has no "
		"IPv6 address\n");
	bad(GATEWAY "address6 = fd09::1\n" UPLINK
		    "[qube x]\naddress6 = fd09::2\n[forward a]\nforwardtype = internal\n"
		    "proto = udp\nsrcports = 9\nqube = x\nsrchost = 10.137.0.16\n",
		":18: srchost: \"10.137.0.16/32\" can never connect: [qube x] (line 11) has no "
		"IPv4 "
		"address\n");
	conf_free(good(GOOD FORWARD("80") "srchost = 0.0.0.0/0\n"));
	/* One error is enough. */
	bad(GOOD FORWARD("80") "srchost = 2001:db8::/32\n[qube x]\n",
		":22: [qube x]: needs address or address6\n"
		":21: srchost: \"2001:db8::/32\" can never connect: [qube work] (line 14) has no "
		"IPv6 address\n");
}

/* Two forwards whose lines differ from those of FORWARD: do they get into each other's way? */
static void
test_forward_overlap(void)
{
	static const struct {
		const char *first, *second; /* type proto ports source */
		const char *overlap;        /* what the error begins with; NULL: none */
	} cases[] = {
		{"external tcp 80 -", "external tcp 80 -", "80 overlaps 80"},
		{"internal udp 80 -", "internal udp 80 -", "80 overlaps 80"},
		{"external tcp 80-90 -", "external tcp 90-100 -", "90-100 overlaps 80-90"},
		{"external tcp 90-100 -", "external tcp 80-90 -", "80-90 overlaps 90-100"},
		{"external tcp 80-90 -", "external tcp 85 -", "85 overlaps 80-90"},
		{"external tcp 85 -", "external tcp 80-90 -", "80-90 overlaps 85"},
		{"external tcp 80-90 -", "external tcp 91 -", NULL},
		{"external tcp 91 -", "external tcp 80-90 -", NULL},
		{"external tcp 80 -", "internal tcp 80 -", NULL},
		{"external tcp 80 -", "external udp 80 -", NULL},
		{"external tcp 80 10.0.0.0/8", "external tcp 80 -", "80 overlaps 80"},
		{"external tcp 80 -", "external tcp 80 10.0.0.0/8", "80 overlaps 80"},
		{"external tcp 80 10.0.0.0/8", "external tcp 80 10.1.0.0/16", "80 overlaps 80"},
		{"external tcp 80 10.1.0.0/16", "external tcp 80 10.0.0.0/8", "80 overlaps 80"},
		{"external tcp 80 10.0.0.0/9", "external tcp 80 10.128.0.0/9", NULL},
		{"external tcp 80 0.0.0.0/0", "external tcp 80 10.0.0.0/8", "80 overlaps 80"},
		/* the same bits, and yet nobody who has both */
		{"external tcp 80 0.0.0.0/0", "external tcp 80 ::/0", NULL},
		{"external tcp 80 32.0.0.0/3", "external tcp 80 2000::/3", NULL},
	};
	char fields[2][4][32], text[2048], expected[512];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t used = (size_t)snprintf(text, sizeof(text),
			GATEWAY "address6 = fd09::1\n" UPLINK WORK "address6 = fd09::2\n");

		for (unsigned side = 0; side < 2; side++) {
			char(*field)[32] = fields[side];

			CU_ASSERT_EQUAL_FATAL(sscanf(side ? cases[i].second : cases[i].first,
						      "%31s %31s %31s %31s", field[0], field[1],
						      field[2], field[3]),
				4);
			used += (size_t)snprintf(text + used, sizeof(text) - used,
				"[forward f%u]\nforwardtype = %s\nproto = %s\nsrcports = %s\n"
				"dstports = 99\nqube = work\n%s%s\n",
				side, field[0], field[1], field[2],
				field[3][0] == '-' ? "" : "srchost = ",
				field[3][0] == '-' ? "" : field[3]);
		}
		if (cases[i].overlap == NULL) {
			conf_free(good(text));
			continue;
		}
		snprintf(expected, sizeof(expected),
			":28: srcports: %s of [forward f0] (line 21), and so does who may connect; "
			"allowed: other ports, or a srchost that keeps them apart\n",
			cases[i].overlap);
		bad(text, expected);
	}
}

#define ALLOW_FROM_ALLOWED \
	"allowed: the NAME of a [qube NAME] section, which may open connections\n"
#define ALLOW_TO_ALLOWED "allowed: the NAME of a [qube NAME] section, which they may go to\n"
#define TWO GOOD "[qube x]\naddress = 10.137.0.17\n" /* 17 lines */

static void
test_allows(void)
{
	struct conf *conf = good(TWO "[allow all]\nfrom = work\nto = x\n"
				     "[allow web]\nto = work\nfrom = x\nproto = tcp\n"
				     "dstports = 0-81\n"
				     "[allow ping]\nfrom = x\nto = work\nproto = icmp\n"
				     "[allow dns]\nfrom = x\nto = work\nproto = udp\n"
				     "dstports = 53\n");
	const struct conf_allow *allow = conf->allows;

	CU_ASSERT_EQUAL_FATAL(conf->allow_count, 4);
	CU_ASSERT_STRING_EQUAL(allow[0].name, "all");
	CU_ASSERT_EQUAL(allow[0].line, 18);
	CU_ASSERT_STRING_EQUAL(allow[0].from, "work");
	CU_ASSERT_STRING_EQUAL(allow[0].to, "x");
	CU_ASSERT_EQUAL(allow[0].protocol, 0);
	CU_ASSERT(allow[0].first == 0 && allow[0].last == 65535);
	CU_ASSERT_STRING_EQUAL(allow[1].from, "x");
	CU_ASSERT_STRING_EQUAL(allow[1].to, "work");
	CU_ASSERT_EQUAL(allow[1].protocol, IPPROTO_TCP);
	CU_ASSERT(allow[1].first == 0 && allow[1].last == 81);
	CU_ASSERT_EQUAL(allow[2].protocol, IPPROTO_ICMP);
	CU_ASSERT(allow[2].first == 0 && allow[2].last == 65535);
	CU_ASSERT_EQUAL(allow[3].protocol, IPPROTO_UDP);
	CU_ASSERT(allow[3].first == 53 && allow[3].last == 53);
	conf_free(conf);

	bad(TWO "[allow a]\n", ":18: [allow a]: from is missing; " ALLOW_FROM_ALLOWED
			       ":18: [allow a]: to is missing; " ALLOW_TO_ALLOWED);
	bad(TWO "[allow a]\nfrom = work\nto = work\n",
		":20: to: \"work\" is the qube of from; allowed: another one\n");
	bad(TWO "[allow a]\nfrom = y\nto = z\n", ":19: from: there is no section [qube y]\n"
						 ":20: to: there is no section [qube z]\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\nproto = gre\n",
		":21: proto: \"gre\" is no protocol that can be named; allowed: tcp, udp or icmp, "
		"which is ICMPv6 for IPv6; without it every protocol\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\ndstports = 80\n",
		":21: dstports: needs proto = tcp or proto = udp in the same section\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\nproto = icmp\ndstports = 8\n",
		":22: dstports: needs proto = tcp or proto = udp in the same section\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\nproto = udp\ndstports = 80443\n",
		":22: dstports: \"80443\" is over 65535; allowed: PORT or LOW-HIGH in 0..65535, "
		"with proto = tcp or udp\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\n[allow a]\n",
		":21: [allow a] stands a second time, first on line 18\n");
	bad(TWO "[allow a]\nfrom = work\nto = x\nsrcports = 3\n",
		":21: srcports: unknown key in [allow a]; allowed: from, to, proto, dstports\n");
	/* One name for a port, a qube, a forward and an allow is nobody's mistake. */
	conf_free(good(TWO "[allow work]\nfrom = work\nto = x\n"
			   "[forward work]\nforwardtype = internal\nproto = tcp\n"
			   "srcports = 1\nqube = work\n"));
}

static void
test_forward_counts(void)
{
	static char text[1 << 20];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", TWO);
	struct conf *conf;

	for (unsigned i = 0; i < FORWARDS_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
			"[forward f%u]\nforwardtype = external\nproto = tcp\nsrcports = %u\n"
			"qube = work\n",
			i, i + 1);
	for (unsigned i = 0; i < ALLOWS_MAX; i++)
		used += (size_t)snprintf(
			text + used, sizeof(text) - used, "[allow f%u]\nfrom = work\nto = x\n", i);
	conf = good(text);
	CU_ASSERT_EQUAL(conf->forward_count, 1024);
	CU_ASSERT_EQUAL(conf->allow_count, 1024);
	CU_ASSERT_STRING_EQUAL(conf->forwards[1023].name, "f1023");
	conf_free(conf);
	strcpy(text + used, "[forward more]\n[allow more]\n");
	bad(text, ":8210: more than 1024 forwards\n:8211: more than 1024 allows\n");
}

static void
test_all_errors(void)
{
	bad("[sluice]\nworkers = 0\ncolour = red\n[gateway]\naddress = x\n[qube a]\n"
	    "address = 10.0.0.7\n[qube b]\naddress = 10.0.0.7\n",
		":2: workers: \"0\" is under 1; " WORKERS_ALLOWED "\n"
		":3: colour: unknown key in [sluice]; allowed: workers, idle, seccomp, flows, "
		"ports, "
		"socket, state-dir, include, "
		"group, "
		"look-group, telemetry, log-refusals\n"
		":5: address: \"x\" is not an IPv4 address; allowed: an IPv4 address, ours towards "
		"every qube\n"
		":9: no port is the uplink; exactly one [port NAME] needs role = uplink\n"
		":9: address: \"10.0.0.7\" is already the address of [qube a] (line 7)\n");
}

static void
test_error_flood(void)
{
	static char text[1 << 20];
	struct conf *conf;
	unsigned lines = 0;

	memset(text, 0, sizeof(text));
	for (size_t i = 0; i + 2 < sizeof(text); i += 2) {
		text[i] = 'x';
		text[i + 1] = '\n';
	}
	CU_ASSERT_EQUAL(load(text, &conf), -EINVAL);
	for (const char *byte = reported; *byte != '\0'; byte++)
		lines += *byte == '\n';
	CU_ASSERT_EQUAL(lines, 101);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "100 errors, further ones are not shown"));
}

static void
test_counts(void)
{
	static char text[1 << 20];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", GATEWAY UPLINK);
	struct conf *conf;

	for (unsigned i = 0; i < QUBES_MAX; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
			"[port p%u]\ndevice = kernel:v%u\nrole = qube\nqube = q%u\n[qube q%u]\n"
			"address = 10.1.%u.%u\n",
			i, i, i, i, i / 250, 1 + i % 250);
	conf = good(text);
	CU_ASSERT_EQUAL(conf->qube_count, QUBES_MAX);
	CU_ASSERT_EQUAL(conf->port_count, QUBES_MAX + 1);
	CU_ASSERT_STRING_EQUAL(conf->qubes[999].name, "q999");
	conf_free(conf);
	strcpy(text + used, "[qube more]\naddress = 10.2.0.1\n");
	bad(text, ":6010: more than 1000 qubes\n");
}

static void
test_files(void)
{
	char path[160], expected[256];
	struct conf *conf = NULL;

	reported[0] = '\0';
	snprintf(path, sizeof(path), "%s/absent.conf", directory);
	CU_ASSERT_EQUAL(conf_load(path, &report, &conf), -ENOENT);
	snprintf(expected, sizeof(expected), "%s: No such file or directory\n", path);
	CU_ASSERT_STRING_EQUAL(reported, expected);
	CU_ASSERT_PTR_NULL(conf);
	reported[0] = '\0';
	CU_ASSERT_EQUAL(conf_load(directory, &report, &conf), -EISDIR);
	snprintf(expected, sizeof(expected), "%s: Is a directory\n", directory);
	CU_ASSERT_STRING_EQUAL(reported, expected);
	reported[0] = '\0';
	CU_ASSERT_EQUAL(conf_load("/dev/zero", &report, &conf), -EFBIG);
	CU_ASSERT_STRING_EQUAL(reported, "/dev/zero: too large for what it is said to be\n");
}

/* A bad rules file refuses its qube; the file that names it stays good. */
static void
expect_rules(const char *rules, size_t length, const char *error)
{
	char expected[1024];
	struct conf *conf;

	write_bytes("work.rules", rules, length);
	CU_ASSERT_EQUAL_FATAL(
		load(GOOD "rules = work.rules\n[qube other]\naddress = 10.137.0.17\n", &conf), 0);
	if (error == NULL) {
		CU_ASSERT_STRING_EQUAL(reported, "");
		CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_VALID);
		CU_ASSERT_PTR_NULL(conf->qubes[0].rules_error);
	} else {
		snprintf(expected, sizeof(expected),
			"%s/work.rules%s; everything from qube work is refused\n", directory,
			error);
		CU_ASSERT_STRING_EQUAL(reported, expected);
		CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_BAD);
		snprintf(expected, sizeof(expected), "%s/work.rules%s", directory, error);
		CU_ASSERT_PTR_NOT_NULL_FATAL(conf->qubes[0].rules_error);
		CU_ASSERT_STRING_EQUAL(conf->qubes[0].rules_error, expected);
		CU_ASSERT_EQUAL(conf->qubes[0].ruleset.count, 0);
	}
	CU_ASSERT_EQUAL(conf->qubes[1].state, RULES_NONE);
	conf_free(conf);
}

static void
test_rules(void)
{
	static const char good_rules[] = "policy=drop\naction=accept dsthost=a.b\n";
	static const char bad_rules[] = "policy=drop\n\naction=accept proto=tcp dstports=80443\n";
	static const char nul_rules[] = "policy=drop\n\n\0action=accept\n";
	char path[160];
	struct conf *conf;

	expect_rules(good_rules, sizeof(good_rules) - 1, NULL);
	expect_rules(bad_rules, sizeof(bad_rules) - 1, ":3: dstports: 80443 is over 65535");
	/* A NUL must not hide what follows it. */
	expect_rules(nul_rules, sizeof(nul_rules) - 1, ":3: syntax: byte 0x00 is not text");

	snprintf(path, sizeof(path), "%s/work.rules", directory);
	unlink(path);
	CU_ASSERT_EQUAL_FATAL(load(GOOD "rules = work.rules\n", &conf), 0);
	CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_BAD);
	CU_ASSERT_PTR_NOT_NULL(
		strstr(reported, "work.rules: No such file or directory; everything"));
	CU_ASSERT_STRING_EQUAL(conf->qubes[0].rules_path, path);
	conf_free(conf);
	/* A pipe without a writer would hold the daemon for ever. */
	CU_ASSERT_EQUAL_FATAL(mkfifo(path, 0600), 0);
	CU_ASSERT_EQUAL_FATAL(load(GOOD "rules = work.rules\n", &conf), 0);
	CU_ASSERT_EQUAL(conf->qubes[0].state, RULES_BAD);
	CU_ASSERT_PTR_NOT_NULL(strstr(reported, "work.rules: not a regular file"));
	conf_free(conf);
	unlink(path);
}

static void
test_report(void)
{
	reported[0] = '\0';
	report_line(&report, "a%sb", "\x1b[2J\n\t\x7f");
	CU_ASSERT_STRING_EQUAL(reported, "a?[2J???b\n");
	report_line(NULL, "nobody listens");
	CU_ASSERT_STRING_EQUAL(reported, "a?[2J???b\n");
}

/* Damage a good file in a few places: whatever comes of it, no crash, and an error says where. */
static void
test_random(void)
{
	static const char bytes[] = "=[];#: \t\n\0\r\x7f\xffx0/.";
	uint64_t state = 42;
	bool sound = true;

	for (unsigned round = 0; round < 4000; round++) {
		char text[] = GOOD "mac = 00:16:3e:5e:6c:00\nflows = 99\n[timeouts]\n"
				   "other = 600\n" FORWARD(
					   "80-81") "srchost = 10.0.0.0/8\n"
						    "[qube x]\naddress = 10.137.0.17\n"
						    "[allow a]\nfrom = work\nto = x\nproto = tcp\n"
						    "dstports = 5-6\n";
		struct conf *conf;

		for (unsigned i = 0; i <= round % 6; i++) {
			size_t at, with;

			state = state * UINT64_C(6364136223846793005) + 1;
			at = (size_t)(state >> 33) % (sizeof(text) - 1);
			state = state * UINT64_C(6364136223846793005) + 1;
			with = (size_t)(state >> 33) % (sizeof(bytes) - 1);
			text[at] = bytes[with];
		}
		if (load_bytes(text, sizeof(text) - 1, &conf) == 0) {
			sound &= conf->port_count >= 1;
			conf_free(conf);
		} else {
			sound &= strncmp(reported, conf_path, strlen(conf_path)) == 0 &&
				 reported[strlen(conf_path)] == ':' && conf == NULL;
		}
	}
	CU_ASSERT_TRUE(sound);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"defaults", test_defaults},
		{"defaults are what the man page says", test_defaults_said},
		{"every value arrives", test_values},
		{"a value may be long", test_long_value},
		{"an uplink may have a single address", test_single_address_uplink},
		{"lines that are nothing, with their numbers", test_lines},
		{"bytes that are no text", test_bytes},
		{"a line of 1 MB", test_long_line},
		{"sections", test_sections},
		{"keys", test_keys},
		{"numbers and paths", test_numbers},
		{"devices", test_devices},
		{"ports", test_ports},
		{"the uplink", test_uplink},
		{"our own kernel", test_host},
		{"qubes", test_qubes},
		{"limits of all qubes and of one", test_limits},
		{"what a qube sees in place of its address", test_visible},
		{"zero is a number", test_zero_is_a_number},
		{"filters", test_filter},
		{"refusals in the log", test_log_refusals},
		{"MSS clamps", test_mss_clamp},
		{"every value of a forward arrives", test_forward_values},
		{"ports of forwards", test_forward_ports},
		{"keys of forwards", test_forward_keys},
		{"sources of forwards", test_forward_source},
		{"forwards that overlap", test_forward_overlap},
		{"allows", test_allows},
		{"a thousand forwards and no more", test_forward_counts},
		{"all errors of a file are reported", test_all_errors},
		{"a flood of errors is cut", test_error_flood},
		{"a thousand qubes and no more", test_counts},
		{"files that cannot be read", test_files},
		{"a bad rules file refuses its qube only", test_rules},
		{"a report is one clean line", test_report},
		{"4,000 damaged files", test_random},
	};
	char command[160];
	int status;

	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(conf_path, sizeof(conf_path), "%s/sluice.conf", directory);
	status = UNIT_RUN("conf", tests);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) == 0 ? status : 1;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One configuration of sluice.conf, QubesDB and xenstore: who is who, and whose rules hold. */
#include "conf/changes.h"
#include "conf/live.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include <rte_common.h>

static char reported[2048];

static void
collect(void *context, const char *line)
{
	(void)context;
	snprintf(reported, sizeof(reported), "%s", line);
}

static const struct report report = {collect, NULL};

static union address
address_of(const char *text)
{
	union address address;
	enum family family;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	return address;
}

/* A file: an uplink that leaves its addresses to somebody else, one qube with rules, powered off.
 */
static struct conf_port ports[1];
static struct conf_qube qubes[1];
static struct conf_forward forwards[1];
static struct rule file_rules[1];
static struct conf file;
static struct live *live;

static void
scene_open(void)
{
	file_rules[0] = (struct rule){.action = ACTION_ACCEPT, .protocol = RULE_UDP, .line = 2};
	ports[0] = (struct conf_port){.name = "uplink",
		.role = ROLE_UPLINK,
		.device = DEVICE_KERNEL,
		.argument = (char *)(uintptr_t) "eth0",
		.settings = SETTINGS_QUBESDB};
	qubes[0] = (struct conf_qube){.name = "work",
		.has = {true, false},
		.address = {address_of("10.137.0.16")},
		.rules_path = (char *)(uintptr_t) "work.rules",
		.state = RULES_VALID,
		.ruleset = {.count = 1, .rules = file_rules}};
	forwards[0] = (struct conf_forward){.name = "web",
		.protocol = IPPROTO_TCP,
		.first = 80,
		.last = 80,
		.target_first = 80,
		.target_last = 80,
		.qube = "work",
		.line = 30};
	file = (struct conf){.path = (char *)(uintptr_t) "sluice.conf",
		.socket_path = (char *)(uintptr_t) "/run/s",
		.state_dir = (char *)(uintptr_t) "/var/s",
		.port_count = 1,
		.ports = ports,
		.qube_count = 1,
		.qubes = qubes,
		.forward_count = 1,
		.forwards = forwards};
	limits_defaults(&file.limits);
	limits_defaults(&qubes[0].limits);
	qubes[0].limits.value[0] = 77;
	live = live_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(live);
	reported[0] = '\0';
}

static struct conf *
composed(void)
{
	struct conf *conf = NULL;
	int error = conf_compose(&file, live, &report, &conf);

	CU_ASSERT_EQUAL_FATAL(error, 0);
	return conf;
}

static void
vif_put(uint16_t domid, uint16_t devid, const char *v4, const char *v6)
{
	struct live_vif vif = {.domid = domid, .devid = devid, .has_mac = true, .mac = {2, 1}};

	snprintf(vif.ifname, sizeof(vif.ifname), "vif%u.%u", domid, devid);
	vif.has[FAMILY_IPV4] = v4 != NULL;
	vif.has[FAMILY_IPV6] = v6 != NULL;
	if (v4 != NULL)
		vif.address[FAMILY_IPV4] = address_of(v4);
	if (v6 != NULL)
		vif.address[FAMILY_IPV6] = address_of(v6);
	CU_ASSERT_EQUAL(live_vif_put(live, &vif), 0);
}

/* @param count of rules, that accept a port each */
static struct live_tree *
tree_put(const char *text, enum action policy, unsigned count)
{
	union address address;
	enum family family;
	struct live_tree *tree;

	CU_ASSERT_EQUAL_FATAL(address_parse(text, &family, &address), 0);
	tree = live_tree_new(family, &address);
	CU_ASSERT_PTR_NOT_NULL_FATAL(tree);
	tree->ruleset.policy = policy;
	tree->ruleset.count = count;
	tree->ruleset.rules = calloc(count + 1, sizeof(struct rule));
	for (unsigned i = 0; i < count; i++)
		tree->ruleset.rules[i] = (struct rule){.action = ACTION_ACCEPT,
			.protocol = RULE_TCP,
			.has_ports = true,
			.port_low = (uint16_t)(i + 1),
			.port_high = (uint16_t)(i + 1),
			.origin = ORIGIN_QUBESDB,
			.line = i + 1};
	CU_ASSERT_EQUAL(live_tree_put(live, tree), 0);
	return tree;
}

static const struct conf_qube *
qube_of(const struct conf *conf, const char *name)
{
	const struct conf_qube *qube = conf_qube_find(conf, name);

	CU_ASSERT_PTR_NOT_NULL_FATAL(qube);
	return qube;
}

static void
test_file_alone(void)
{
	struct conf *conf;

	scene_open();
	conf = composed();
	CU_ASSERT_EQUAL(conf->port_count, 1);
	CU_ASSERT_EQUAL(conf->qube_count, 1);
	CU_ASSERT_EQUAL(conf->forward_count, 1);
	CU_ASSERT_FALSE(conf->ports[0].has[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(qube_of(conf, "work")->ruleset.rules, file_rules);
	CU_ASSERT_EQUAL(qube_of(conf, "work")->limits.value[0], 77);
	CU_ASSERT_EQUAL(changes_rules(NULL, qube_of(conf, "work")).layer, ORIGIN_FILE);
	conf_free(conf);
	live_free(live);
}

/* A vif belongs to the qube of the file with its address, or to a new one that is called by it. */
static void
test_vifs(void)
{
	struct conf *conf;

	scene_open();
	vif_put(4, 0, "10.137.0.16", "fd09::10");
	vif_put(5, 0, "10.137.0.17", NULL);
	conf = composed();
	CU_ASSERT_EQUAL(conf->port_count, 3);
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	CU_ASSERT_TRUE(qube_of(conf, "work")->has_mac);
	CU_ASSERT_STRING_EQUAL(conf->ports[1].name, "vif5.0");
	CU_ASSERT_STRING_EQUAL(conf->ports[1].argument, "vif5.0");
	CU_ASSERT_STRING_EQUAL(conf->ports[1].qube, "10.137.0.17");
	CU_ASSERT_STRING_EQUAL(conf->ports[2].qube, "work");
	CU_ASSERT_EQUAL(qube_of(conf, "10.137.0.17")->state, RULES_NONE);
	conf_free(conf);

	live_vif_drop(live, 4, 0);
	live_vif_drop(live, 4, 0);
	CU_ASSERT_PTR_NULL(live_vif_find(live, 4, 0));
	conf = composed();
	CU_ASSERT_EQUAL(conf->port_count, 2);
	CU_ASSERT_FALSE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	conf_free(conf);
	live_free(live);
}

/* The file may say that a qube has IPv6; without it in xenstore its vif has none. */
static void
test_vif_families(void)
{
	struct conf *conf;

	scene_open();
	file.qubes[0].has[FAMILY_IPV6] = true;
	file.qubes[0].address[FAMILY_IPV6] = address_of("fd09::10");
	vif_put(4, 0, "10.137.0.16", NULL);
	conf = composed();
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV4]);
	CU_ASSERT_FALSE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	conf_free(conf);
	/* its address is nobody else's all the same */
	vif_put(5, 0, "10.137.0.17", "fd09::10");
	CU_ASSERT_EQUAL(conf_compose(&file, live, &report, &conf), -EEXIST);
	live_vif_drop(live, 5, 0);
	/* it is enough when one of its vifs has it */
	vif_put(6, 0, "10.137.0.16", "fd09::10");
	conf = composed();
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	conf_free(conf);
	/* and without a vif the file is right */
	live_vif_drop(live, 4, 0);
	live_vif_drop(live, 6, 0);
	conf = composed();
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	conf_free(conf);
	live_free(live);
}

/* Of two vifs with one address the newest comes first: that is where the qube is. */
static void
test_vifs_of_one_address(void)
{
	struct conf *conf;

	scene_open();
	vif_put(7, 0, "10.137.0.20", NULL);
	vif_put(9, 1, "10.137.0.20", NULL);
	vif_put(9, 0, "10.137.0.20", NULL);
	vif_put(8, 0, "10.137.0.20", NULL);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	CU_ASSERT_EQUAL_FATAL(conf->port_count, 5);
	CU_ASSERT_STRING_EQUAL(conf->ports[1].name, "vif9.0");
	CU_ASSERT_STRING_EQUAL(conf->ports[2].name, "vif9.1");
	CU_ASSERT_STRING_EQUAL(conf->ports[3].name, "vif8.0");
	CU_ASSERT_STRING_EQUAL(conf->ports[4].name, "vif7.0");
	for (unsigned i = 1; i < 5; i++)
		CU_ASSERT_STRING_EQUAL(conf->ports[i].qube, "10.137.0.20");
	conf_free(conf);
	live_free(live);
}

/* Addresses that belong to two qubes, or a second one of a family, are refused. */
static void
test_vif_clash(void)
{
	struct conf *conf = NULL;

	scene_open();
	vif_put(4, 0, "10.137.0.16", "fd09::10");
	vif_put(5, 0, "10.137.0.17", "fd09::10");
	CU_ASSERT_EQUAL(conf_compose(&file, live, &report, &conf), -EEXIST);
	CU_ASSERT_PTR_NULL(conf);
	CU_ASSERT_STRING_EQUAL(
		reported, "vif4.0: its addresses belong to qubes work and 10.137.0.17");
	live_vif_drop(live, 5, 0);
	conf_free(composed());

	vif_put(6, 0, "10.137.0.18", "fd09::10");
	CU_ASSERT_EQUAL(conf_compose(&file, live, &report, &conf), -EEXIST);
	live_vif_drop(live, 4, 0);
	vif_put(3, 0, "10.137.0.19", "fd09::10");
	CU_ASSERT_EQUAL(conf_compose(&file, live, &report, &conf), -EEXIST);
	CU_ASSERT_STRING_EQUAL(
		reported, "vif3.0: qube 10.137.0.18 has another address of that family");
	live_free(live);
}

/* Rules arrive before the vif; QubesDB's are stronger than the file's. */
static void
test_trees(void)
{
	struct conf *conf, *older;
	struct live_tree *tree;

	scene_open();
	tree_put("10.137.0.16", ACTION_DROP, 3);
	tree_put("10.137.0.17", ACTION_ACCEPT, 0);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	CU_ASSERT_EQUAL(qube_of(conf, "work")->ruleset.count, 3);
	CU_ASSERT_EQUAL(changes_rules(NULL, qube_of(conf, "work")).layer, ORIGIN_QUBESDB);
	CU_ASSERT_EQUAL(qube_of(conf, "10.137.0.17")->state, RULES_VALID);
	CU_ASSERT_EQUAL(qube_of(conf, "10.137.0.17")->ruleset.policy, ACTION_ACCEPT);

	/* what is replaced lives on in what was made of it */
	older = conf;
	tree = tree_put("10.137.0.16", ACTION_DROP, 1);
	free(tree->error);
	tree->error = strdup("0001: action: \"x\" is no action");
	tree->state = RULES_BAD;
	CU_ASSERT_EQUAL(qube_of(older, "work")->ruleset.rules[2].port_low, 3);
	conf = composed();
	CU_ASSERT_EQUAL(qube_of(conf, "work")->state, RULES_BAD);
	CU_ASSERT_STRING_EQUAL(qube_of(conf, "work")->rules_error,
		"/qubes-firewall/10.137.0.16/0001: action: \"x\" is no action");
	conf_free(older);
	conf_free(conf);

	/* gone, the file's rules hold again */
	live_tree_drop(live, FAMILY_IPV4, &qubes[0].address[FAMILY_IPV4]);
	conf = composed();
	CU_ASSERT_EQUAL(qube_of(conf, "work")->ruleset.count, 1);
	conf_free(conf);
	live_free(live);
}

/* A tree of each family becomes one list, in which every rule is for its own. */
static void
test_two_trees(void)
{
	struct live_tree *v6;
	const struct ruleset *ruleset;
	struct conf *conf;

	scene_open();
	vif_put(4, 0, "10.137.0.16", "fd09::10");
	tree_put("10.137.0.16", ACTION_DROP, 2);
	conf = composed();
	/* until the other tree arrives, nothing of that family is let in */
	CU_ASSERT_FALSE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(qube_of(conf, "work")->ruleset.rules[0].families, RULE_ALL_FAMILIES);
	conf_free(conf);

	v6 = tree_put("fd09::10", ACTION_DROP, 3);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 1);
	CU_ASSERT_TRUE(qube_of(conf, "work")->has[FAMILY_IPV6]);
	ruleset = &qube_of(conf, "work")->ruleset;
	CU_ASSERT_EQUAL_FATAL(ruleset->count, 5);
	CU_ASSERT_EQUAL(ruleset->policy, ACTION_DROP);
	CU_ASSERT_EQUAL(ruleset->rules[1].families, RULE_IPV4_ONLY);
	CU_ASSERT_EQUAL(ruleset->rules[2].families, RULE_IPV6_ONLY);
	CU_ASSERT_EQUAL(ruleset->rules[4].port_low, 3);
	conf_free(conf);

	/* another policy is a last rule */
	v6->ruleset.policy = ACTION_ACCEPT;
	conf = composed();
	ruleset = &qube_of(conf, "work")->ruleset;
	CU_ASSERT_EQUAL_FATAL(ruleset->count, 6);
	CU_ASSERT_EQUAL(ruleset->rules[5].families, RULE_IPV6_ONLY);
	CU_ASSERT_EQUAL(ruleset->rules[5].action, ACTION_ACCEPT);
	CU_ASSERT_EQUAL(ruleset->rules[5].protocol, RULE_ANY);
	conf_free(conf);

	/* a bad one refuses its family and leaves the other alone */
	v6->state = RULES_BAD;
	conf = composed();
	ruleset = &qube_of(conf, "work")->ruleset;
	CU_ASSERT_EQUAL(qube_of(conf, "work")->state, RULES_VALID);
	CU_ASSERT_EQUAL_FATAL(ruleset->count, 3);
	CU_ASSERT_EQUAL(ruleset->rules[2].families, RULE_IPV6_ONLY);
	CU_ASSERT_EQUAL(ruleset->rules[2].action, ACTION_DROP);
	conf_free(conf);
	live_free(live);
}

/* Clients that are powered off keep their addresses; those of IPv6 may be long. */
static void
test_clients(void)
{
	const union address v4[] = {address_of("10.137.0.16"), address_of("10.137.0.30")};
	const union address v6[] = {address_of("fd09:24ef:4179:aaaa:bbbb:cccc:dddd:a89")};
	struct conf *conf;

	scene_open();
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV4, v4, 2), 0);
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV6, v6, 1), 0);
	conf = composed();
	CU_ASSERT_EQUAL_FATAL(conf->qube_count, 3);
	CU_ASSERT_EQUAL(qube_of(conf, "10.137.0.30")->state, RULES_NONE);
	CU_ASSERT_TRUE(strlen(conf->qubes[2].name) == strlen("ip6-0123456789abcdef"));
	CU_ASSERT_TRUE(address_equal(&conf->qubes[2].address[FAMILY_IPV6], &v6[0]));
	conf_free(conf);
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV4, NULL, 0), 0);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	conf_free(conf);
	live_free(live);
}

/* A family without rules is taken from its qube, and given to nobody. */
static void
test_client_without_rules(void)
{
	const union address v6 = address_of("fd09:24ef:4179::a89:30");
	const struct conf_qube *qube;
	struct conf *conf;

	scene_open();
	vif_put(3, 0, "10.137.0.30", "fd09:24ef:4179::a89:30");
	tree_put("10.137.0.30", ACTION_DROP, 1);
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV6, &v6, 1), 0);
	conf = composed();
	CU_ASSERT_FALSE(qube_of(conf, "10.137.0.30")->has[FAMILY_IPV6]);
	CU_ASSERT_EQUAL_FATAL(conf->qube_count, 3);
	qube = &conf->qubes[2];
	CU_ASSERT_TRUE(qube->has[FAMILY_IPV6]);
	CU_ASSERT_TRUE(address_equal(&qube->address[FAMILY_IPV6], &v6));
	CU_ASSERT_EQUAL(qube->state, RULES_NONE);
	conf_free(conf);
	tree_put("fd09:24ef:4179::a89:30", ACTION_DROP, 1);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	CU_ASSERT_TRUE(qube_of(conf, "10.137.0.30")->has[FAMILY_IPV6]);
	conf_free(conf);
	live_free(live);
}

/* Clients are listed by what they take for their addresses: one of our own net stands in nobody's
   way. */
static void
test_clients_with_our_addresses(void)
{
	const union address list[] = {address_of("192.168.1.9"), address_of("192.168.1.1"),
		address_of("10.138.1.1"), address_of("192.168.1.8")};
	const struct live_uplink uplink = {.has = {true, false},
		.address = {address_of("192.168.1.9")},
		.has_gateway = {true, false},
		.gateway = {address_of("192.168.1.1")}};
	const struct live_gateway gateway = {
		.has = {true, false}, .address = {address_of("10.138.1.1")}};
	struct conf *conf;

	scene_open();
	live_uplink_set(live, &uplink);
	live_gateway_set(live, &gateway);
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV4, list, RTE_DIM(list)), 0);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, 2);
	CU_ASSERT_PTR_NULL(conf_qube_find(conf, "192.168.1.9"));
	CU_ASSERT_PTR_NULL(conf_qube_find(conf, "192.168.1.1"));
	CU_ASSERT_PTR_NULL(conf_qube_find(conf, "10.138.1.1"));
	CU_ASSERT_PTR_NOT_NULL(conf_qube_find(conf, "192.168.1.8"));
	conf_free(conf);
	live_free(live);
}

static void
test_settings(void)
{
	struct live_uplink uplink = {.has = {true, false},
		.address = {address_of("10.137.0.5")},
		.link = {{.address = address_of("10.137.0.5"), .length = 32}},
		.has_gateway = {true, false},
		.gateway = {address_of("10.138.0.1")},
		.resolver_count = 1,
		.resolver = {inet_addr("10.139.1.1")}};
	struct live_gateway gateway = {.has = {true, false},
		.address = {address_of("10.137.0.1")},
		.virtual_dns_count = 1,
		.virtual_dns = {inet_addr("10.139.1.1")}};
	struct live_mapping mapping = {.real = address_of("10.137.0.16"),
		.visible = inet_addr("192.168.1.5"),
		.has_visible_gateway = true,
		.visible_gateway = inet_addr("192.168.1.1")};
	struct conf *conf;

	scene_open();
	live_uplink_set(live, &uplink);
	live_gateway_set(live, &gateway);
	CU_ASSERT_EQUAL(live_mappings_set(live, &mapping, 1), 0);
	conf = composed();
	CU_ASSERT_TRUE(conf->ports[0].has[FAMILY_IPV4]);
	CU_ASSERT_TRUE(
		address_equal(&conf->ports[0].gateway[FAMILY_IPV4], &uplink.gateway[FAMILY_IPV4]));
	CU_ASSERT_EQUAL(conf->ports[0].resolver_count, 1);
	CU_ASSERT_TRUE(conf->has_gateway[FAMILY_IPV4]);
	CU_ASSERT_EQUAL(conf->virtual_dns_count, 1);
	CU_ASSERT_TRUE(qube_of(conf, "work")->has_visible);
	CU_ASSERT_EQUAL(qube_of(conf, "work")->visible, mapping.visible);
	conf_free(conf);

	/* nobody overrides what the file says itself */
	ports[0].settings = SETTINGS_FILE;
	conf = composed();
	CU_ASSERT_FALSE(conf->ports[0].has[FAMILY_IPV4]);
	conf_free(conf);
	ports[0].settings = SETTINGS_QUBESDB;
	live_uplink_set(live, NULL);
	live_gateway_set(live, NULL);
	conf = composed();
	CU_ASSERT_FALSE(conf->ports[0].has[FAMILY_IPV4]);
	CU_ASSERT_FALSE(conf->has_gateway[FAMILY_IPV4]);
	conf_free(conf);
	live_free(live);
}

/* Forwards of QubesDB stand beside the file's, which have the way if they overlap. */
static void
test_forwards(void)
{
	struct conf_forward *own = calloc(2, sizeof(*own));
	union address address = address_of("10.137.0.16");
	struct live_tree *tree = live_tree_new(FAMILY_IPV4, &address);
	struct conf *conf;

	scene_open();
	CU_ASSERT_PTR_NOT_NULL_FATAL(own);
	own[0] = own[1] = forwards[0];
	own[0].first = own[0].last = 8080;
	own[0].line = 3;
	own[1].line = 4;
	own[0].comment = strdup("hello");
	tree->forwards = own;
	tree->forward_count = 2;
	CU_ASSERT_EQUAL(live_tree_put(live, tree), 0);
	conf = composed();
	CU_ASSERT_EQUAL_FATAL(conf->forward_count, 2);
	CU_ASSERT_STRING_EQUAL(conf->forwards[1].name, "10.137.0.16-0002");
	CU_ASSERT_STRING_EQUAL(conf->forwards[1].qube, "work");
	CU_ASSERT_STRING_EQUAL(conf->forwards[1].comment, "hello");
	CU_ASSERT_STRING_EQUAL(
		reported, "forward 10.137.0.16-0003: not in force, it overlaps forward web");
	conf_free(conf);
	live_free(live);
}

static void
test_too_many(void)
{
	union address *many = calloc(QUBES_MAX + 1, sizeof(*many));
	struct conf *conf = NULL;

	scene_open();
	CU_ASSERT_PTR_NOT_NULL_FATAL(many);
	for (unsigned i = 0; i <= QUBES_MAX; i++)
		many[i] = address_v4(htonl(0x0a8a0000 + i));
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV4, many, QUBES_MAX - 1), 0);
	conf = composed();
	CU_ASSERT_EQUAL(conf->qube_count, QUBES_MAX);
	conf_free(conf);
	CU_ASSERT_EQUAL(live_connected_set(live, FAMILY_IPV4, many, QUBES_MAX), 0);
	CU_ASSERT_EQUAL(conf_compose(&file, live, &report, &conf), -E2BIG);
	CU_ASSERT_STRING_EQUAL(reported, "more than 1000 qubes");
	live_free(live);
	free(many);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the file alone", test_file_alone},
		{"vifs find their qubes", test_vifs},
		{"families of vifs", test_vif_families},
		{"vifs with one address", test_vifs_of_one_address},
		{"addresses that clash", test_vif_clash},
		{"rules of QubesDB", test_trees},
		{"rules of both families", test_two_trees},
		{"clients that are powered off", test_clients},
		{"a client without rules of a family", test_client_without_rules},
		{"clients with addresses of ours", test_clients_with_our_addresses},
		{"settings of uplink and gateway, mappings", test_settings},
		{"forwards of QubesDB", test_forwards},
		{"a thousand qubes and no more", test_too_many},
	};

	return UNIT_RUN("compose", tests);
}

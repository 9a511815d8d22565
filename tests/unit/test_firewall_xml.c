/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/firewall_xml.h"

#include <errno.h>
#include <string.h>

#include "tests/unit/unit.h"

#define NOW UINT64_C(1700000000)
#define BEGIN "<firewall version=\"2\"><rules>"
#define END "</rules></firewall>\n"
#define RULE(properties) "<rule><properties>" properties "</properties></rule>"
#define PROPERTY(name, value) "<property name=\"" name "\">" value "</property>"
#define ACCEPT PROPERTY("action", "accept")

static char error[512];

static int
parse(const char *text, struct firewall_xml *firewall)
{
	return firewall_xml_parse(
		text, strlen(text), "firewall.xml", NOW, firewall, error, sizeof(error));
}

static void
bad(const char *text, const char *expected)
{
	struct firewall_xml firewall;

	CU_ASSERT_EQUAL(parse(text, &firewall), -EINVAL);
	CU_ASSERT_PTR_NULL(firewall.rules);
	if (strncmp(error, expected, strlen(expected)) != 0)
		fprintf(stderr, "said: %s\nwant: %s\n", error, expected);
	CU_ASSERT_EQUAL(strncmp(error, expected, strlen(expected)), 0);
}

/* One rule, and what becomes of it. */
static void
good(const char *text, const char *expected)
{
	struct firewall_xml firewall;

	CU_ASSERT_EQUAL(parse(text, &firewall), 0);
	if (*error != '\0')
		fprintf(stderr, "said: %s\n", error);
	CU_ASSERT_EQUAL_FATAL(firewall.count, 1);
	CU_ASSERT_STRING_EQUAL(firewall.rules[0].text, expected);
	firewall_xml_free(&firewall);
}

/* As dom0 writes it. */
static void
test_whole(void)
{
	static const char text[] =
		"<firewall version=\"2\">\n"
		"  <!-- by hand -->\n"
		"  <rules>\n"
		"    <rule>\n"
		"      <properties>\n"
		"        <property name=\"action\">accept</property>\n"
		"        <property name=\"proto\">tcp</property>\n"
		"        <property name=\"dsthost\">192.0.2.0/24</property>\n"
		"        <property name=\"dstports\">443</property>\n"
		"        <property name=\"comment\">our web, mail</property>\n"
		"      </properties>\n"
		"    </rule>\n"
		"    <rule><properties><property name=\"action\">accept</property>"
		"<property name=\"specialtarget\">dns</property></properties></rule>\n"
		"    <rule><properties><property name=\"action\">accept</property>"
		"<property name=\"expire\">1699999999</property></properties></rule>\n"
		"    <rule><properties><property name=\"action\">forward</property>"
		"<property name=\"forwardtype\">external</property><property "
		"name=\"proto\">tcp</property>"
		"<property name=\"srcports\">443-443</property>"
		"<property name=\"dstports\">8443</property>"
		"<property name=\"srchost\">0.0.0.0/0</property></properties></rule>\n"
		"    <rule><properties><property "
		"name=\"action\">drop</property></properties></rule>\n"
		"  </rules>\n"
		"</firewall>\n";
	static const struct {
		const char *text;
		unsigned line;
		bool forward, expired;
	} expected[] = {
		{"action=accept proto=tcp dst4=192.0.2.0/24 dstports=443 comment=\"our web, mail\"",
			4, false, false},
		{"action=accept specialtarget=dns", 13, false, false},
		{"action=accept expire=1699999999", 14, false, true},
		{"action=forward forwardtype=external proto=tcp srcports=443-443 dstports=8443 "
		 "srchost=0.0.0.0/0",
			15, true, false},
		{"action=drop", 16, false, false},
	};
	struct firewall_xml firewall;

	CU_ASSERT_EQUAL_FATAL(parse(text, &firewall), 0);
	CU_ASSERT_EQUAL_FATAL(firewall.count, 5);
	for (unsigned i = 0; i < 5; i++) {
		CU_ASSERT_STRING_EQUAL(firewall.rules[i].text, expected[i].text);
		CU_ASSERT_EQUAL(firewall.rules[i].line, expected[i].line);
		CU_ASSERT_EQUAL(firewall.rules[i].forward, expected[i].forward);
		CU_ASSERT_EQUAL(firewall.rules[i].expired, expected[i].expired);
	}
	firewall_xml_free(&firewall);
}

static void
test_names(void)
{
	good(BEGIN RULE(ACCEPT PROPERTY("dsthost", "2001:db8::/32")) END,
		"action=accept dst6=2001:db8::/32");
	good(BEGIN RULE(ACCEPT PROPERTY("dsthost", "192.0.2.7")) END,
		"action=accept dst4=192.0.2.7");
	good(BEGIN RULE(ACCEPT PROPERTY("dsthost", "example.org")) END,
		"action=accept dsthost=example.org");
	good(BEGIN RULE(ACCEPT PROPERTY("dst4", "192.0.2.7/32")) END,
		"action=accept dst4=192.0.2.7/32");
	good(BEGIN RULE(ACCEPT PROPERTY("comment", "a &quot;b&quot; \\ &#60;")) END,
		"action=accept comment=\"a \\\"b\\\" \\\\ <\"");
	good(BEGIN RULE(ACCEPT PROPERTY("comment", "<![CDATA[a b]]>")) END,
		"action=accept comment=\"a b\"");
	good(BEGIN RULE(ACCEPT PROPERTY("expire", "1700000001")) END,
		"action=accept expire=1700000001");
}

static void
test_nothing(void)
{
	struct firewall_xml firewall;

	CU_ASSERT_EQUAL(parse("<firewall version=\"2\"><rules/></firewall>", &firewall), 0);
	CU_ASSERT_EQUAL(firewall.count, 0);
	firewall_xml_free(&firewall);
}

static void
test_values(void)
{
	bad(BEGIN "\n" RULE(ACCEPT "\n" PROPERTY("proto", "tcp") "\n" PROPERTY("dstports", "80443"))
			END,
		"firewall.xml:4: property dstports: 80443 is over 65535");
	bad(BEGIN RULE(PROPERTY("action", "forward") PROPERTY("forwardtype", "external") PROPERTY(
		    "proto", "tcp") "\n" PROPERTY("srcports", "443") PROPERTY("dstports", "80443"))
			END,
		"firewall.xml:2: property dstports: \"80443\" is over 65535");
	bad(BEGIN RULE(PROPERTY("action", "permit")) END, "firewall.xml:1: property action: ");
	bad(BEGIN RULE(ACCEPT PROPERTY("dstports", "80")) END,
		"firewall.xml:1: property dstports: needs proto=tcp or proto=udp");
	bad(BEGIN RULE(ACCEPT PROPERTY("expire", "+300")) END,
		"firewall.xml:1: property expire: \"+300\" is not a unix time");
	bad(BEGIN RULE(ACCEPT PROPERTY("expire", "")) END,
		"firewall.xml:1: property expire: \"\" is not a unix time");
	bad(BEGIN RULE(PROPERTY("proto", "tcp")) END, "firewall.xml:1: action: missing");
	bad(BEGIN RULE("") END, "firewall.xml:1: ");
	bad(BEGIN RULE(ACCEPT PROPERTY("dsthost", "192.0.2.0/33")) END,
		"firewall.xml:1: property dst4: ");
	bad(BEGIN RULE(ACCEPT "\n" PROPERTY("colour", "red")) END,
		"firewall.xml:2: property colour is not known");
	bad(BEGIN RULE(ACCEPT "\n" PROPERTY("action", "drop")) END,
		"firewall.xml:2: property action: stands a second time, first on line 1");
	bad(BEGIN RULE(ACCEPT PROPERTY("dsthost", "1.2.3.4") PROPERTY("dst4", "1.2.3.4")) END,
		"firewall.xml:1: property dst4: stands a second time");
}

static void
test_shape(void)
{
	bad("", "firewall.xml:1: not well-formed XML");
	bad("<firewall", "firewall.xml:1: not well-formed XML");
	bad(BEGIN RULE(ACCEPT), "firewall.xml:1: not well-formed XML");
	bad("<html/>", "firewall.xml:1: this is no firewall.xml");
	bad("<firewall><rules/></firewall>", "firewall.xml:1: version 1 is not known");
	bad("<firewall version=\"3\"><rules/></firewall>",
		"firewall.xml:1: version 3 is not known");
	bad("<firewall version=\"2\" x=\"y\"><rules/></firewall>",
		"firewall.xml:1: <firewall> has an attribute x");
	bad("<firewall version=\"2\"/>", "firewall.xml:1: <firewall> has no <rules> in it");
	bad("<firewall version=\"2\"><rules/>\n<rules/></firewall>",
		"firewall.xml:2: a second <rules>");
	bad("<firewall version=\"2\"><script/></firewall>",
		"firewall.xml:1: <script> is not known");
	bad(BEGIN "text" END, "firewall.xml:1: what stands here is no <rule>");
	bad(BEGIN "<rule/>" END, "firewall.xml:1: <rule> has no <properties>");
	bad(BEGIN "<rule name=\"x\"><properties/></rule>" END,
		"firewall.xml:1: <rule> has an attribute name");
	bad(BEGIN RULE("<property>x</property>") END, "firewall.xml:1: <property> has no name");
	bad(BEGIN RULE("<property name=\"action\" x=\"y\">accept</property>") END,
		"firewall.xml:1: <property> has an attribute x");
	bad(BEGIN RULE(PROPERTY("action", "<b>accept</b>")) END,
		"firewall.xml:1: property action: only text may stand in it");
	bad(BEGIN "<?php x ?>" END, "firewall.xml:1: what stands here is no <rule>");
}

/* What takes time, memory or other files from those who are not careful. */
static void
test_attacks(void)
{
	bad("<!DOCTYPE x [<!ENTITY a \"lol\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"
	    "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d "
	    "\"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">"
	    "]>" BEGIN RULE(PROPERTY("action", "&d;")) END,
		"firewall.xml:1: a document type (<!DOCTYPE) is not allowed");
	bad("\n<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/hostname\">]>" BEGIN RULE(
		    ACCEPT PROPERTY("comment", "&a;")) END,
		"firewall.xml:2: a document type (<!DOCTYPE) is not allowed");
	bad("<!DOCTYPE firewall SYSTEM \"http://192.0.2.1/x.dtd\">" BEGIN END,
		"firewall.xml:1: a document type (<!DOCTYPE) is not allowed");
	bad("<!DOCTYPE firewall>" BEGIN END, "firewall.xml:1: a document type");
	/* an entity that nobody has declared */
	bad(BEGIN RULE(ACCEPT PROPERTY("comment", "&a;")) END, "firewall.xml:1: ");
	/* control characters do not get into a message */
	bad(BEGIN RULE(ACCEPT PROPERTY("a&#10;b", "x")) END,
		"firewall.xml:1: property a?b is not known");
}

static void
test_depth(void)
{
	static char text[400000];
	char *end = text;

	for (unsigned i = 0; i < 50000; i++)
		end += sprintf(end, "<rules>");
	bad(text, "firewall.xml:1: not well-formed XML");
	/* closed again */
	end = text + sprintf(text, "<firewall version=\"2\">");
	for (unsigned i = 0; i < 200; i++)
		end += sprintf(end, "<rules>");
	for (unsigned i = 0; i < 200; i++)
		end += sprintf(end, "</rules>");
	sprintf(end, "</firewall>");
	bad(text, "firewall.xml:1: <rules> is not known here; allowed: <rule>");
}

/* @param rule repeated @p count times */
static char *
many(const char *rule, unsigned count)
{
	char *text = malloc(count * strlen(rule) + sizeof(BEGIN) + sizeof(END));
	char *end = text + sprintf(text, BEGIN);

	for (unsigned i = 0; i < count; i++)
		end += sprintf(end, "%s", rule);
	strcpy(end, END);
	return text;
}

static void
test_size(void)
{
	struct firewall_xml firewall;
	char *text = many(RULE(ACCEPT) "\n", 1000);
	char *properties, *end;

	CU_ASSERT_EQUAL(parse(text, &firewall), 0);
	CU_ASSERT_EQUAL(firewall.count, 1000);
	firewall_xml_free(&firewall);
	free(text);
	text = many(RULE(ACCEPT) "\n", 1001);
	bad(text, "firewall.xml:1001: more than 1000 rules");
	free(text);
	text = many("<!-- a comment that takes place -->", 40000);
	bad(text, "firewall.xml:1: longer than 1048576 bytes");
	free(text);
	/* lines over 65535 are counted, too */
	text = malloc(80000 + 200);
	memset(text, '\n', 80000);
	sprintf(text + 80000, BEGIN RULE(ACCEPT PROPERTY("x", "y")) END);
	bad(text, "firewall.xml:80001: property x is not known");
	free(text);
	properties = malloc(4096);
	end = properties + sprintf(properties, BEGIN "<rule><properties>" PROPERTY("comment", ""));
	memset(end - sizeof("</property>") + 1, 'x', 1025);
	strcpy(end - sizeof("</property>") + 1 + 1025, "</property></properties></rule>" END);
	bad(properties, "firewall.xml:1: property comment: longer than 1024 bytes");
	free(properties);
}

static uint64_t
next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 33;
}

/* A good file with a few bytes damaged is taken or refused, and never more. */
static void
test_damage(void)
{
	static const char sound[] = BEGIN RULE(ACCEPT PROPERTY("dsthost", "192.0.2.7") PROPERTY(
		"proto", "tcp") PROPERTY("dstports", "80-90") PROPERTY("expire", "1800000000"))
		RULE(PROPERTY("action", "drop") PROPERTY("comment", "a b")) END;
	static const char bytes[] = "<>&;\"'=/!?[]-0123456789 \n\x01\x80\xff";
	uint64_t state = 20261128;
	unsigned taken = 0, refused = 0;

	for (unsigned round = 0; round < 20000; round++) {
		char text[sizeof(sound)];
		struct firewall_xml firewall;
		unsigned damage = 1 + (unsigned)next_random(&state) % 3;
		size_t length = sizeof(sound) - 1;

		memcpy(text, sound, sizeof(sound));
		while (damage-- != 0)
			text[next_random(&state) % length] =
				bytes[next_random(&state) % (sizeof(bytes) - 1)];
		if (round % 10 == 0)
			length = (size_t)next_random(&state) % length;
		if (firewall_xml_parse(text, length, "x", NOW, &firewall, error, sizeof(error)) ==
			0) {
			taken++;
			for (unsigned i = 0; i < firewall.count; i++)
				CU_ASSERT_PTR_NOT_NULL_FATAL(
					strstr(firewall.rules[i].text, "action="));
			firewall_xml_free(&firewall);
		} else {
			refused++;
			CU_ASSERT_FATAL(strncmp(error, "x:", 2) == 0);
		}
	}
	CU_ASSERT(taken > 100);
	CU_ASSERT(refused > 1000);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a file of dom0 becomes rules", test_whole},
		{"properties and what rules call them", test_names},
		{"no rules are no error", test_nothing},
		{"wrong values name their line and property", test_values},
		{"what is not of the format is refused", test_shape},
		{"entities and document types", test_attacks},
		{"depth", test_depth},
		{"sizes and counts", test_size},
		{"20,000 damaged files", test_damage},
	};

	return UNIT_RUN("firewall_xml", tests);
}

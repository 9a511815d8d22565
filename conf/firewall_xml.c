/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * firewall.xml -> rule texts.
 *
 * libxml2 makes a tree of it, then the tree is compared with the format, element by element. What a
 * document type could bring in (entities, default attributes, other files) is never looked at: a
 * file that has one is refused, for Qubes writes none.
 */
#include "conf/firewall_xml.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/SAX2.h>
#include <libxml/parser.h>
#include <libxml/tree.h>

#include "conf/rule_text.h"

/* A thousand rules with long comments are a tenth of that. */
#define FILE_MAX_BYTES (1024 * 1024)
#define RULES_MAX 1000
#define PROPERTIES_MAX 32
#define VALUE_MAX_BYTES 1024

struct property {
	const char *name; /* as it stands in a rule text */
	char *value;
	unsigned line;
};

struct reader {
	const char *name;
	uint64_t now_s;
	char *error;
	size_t error_size;
	struct firewall_xml *out;
};

static int refuse(struct reader *reader, unsigned line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int
refuse(struct reader *reader, unsigned line, const char *format, ...)
{
	char reason[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	snprintf(reader->error, reader->error_size, "%s:%u: %s", reader->name, line, reason);
	text_sanitise(reader->error);
	return -EINVAL;
}

static unsigned
line_of(const xmlNode *node)
{
	long line = xmlGetLineNo(node);

	return line > 0 ? (unsigned)line : 1;
}

static bool
is_blank(const xmlNode *node)
{
	return node->type == XML_COMMENT_NODE ||
	       (node->type == XML_TEXT_NODE && xmlIsBlankNode(node));
}

/* The next element behind @p node, itself included. @return 1; 0: there is none; -EINVAL */
static int
element_next(struct reader *reader, const xmlNode **node, const char *wanted)
{
	const xmlNode *at = *node;

	while (at != NULL && is_blank(at))
		at = at->next;
	*node = at;
	if (at == NULL)
		return 0;
	if (at->type != XML_ELEMENT_NODE)
		return refuse(reader, line_of(at), "what stands here is no <%s>", wanted);
	if (strcmp((const char *)at->name, wanted) != 0)
		return refuse(reader, line_of(at), "<%.64s> is not known here; allowed: <%s>",
			(const char *)at->name, wanted);
	return 1;
}

/* The only element of that name in @p parent. @return NULL: refused */
static const xmlNode *
element_only(struct reader *reader, const xmlNode *parent, const char *wanted)
{
	const xmlNode *node = parent->children;
	const xmlNode *more;
	int found = element_next(reader, &node, wanted);

	if (found == 0)
		(void)refuse(reader, line_of(parent), "<%.64s> has no <%s> in it",
			(const char *)parent->name, wanted);
	if (found <= 0)
		return NULL;
	more = node->next;
	found = element_next(reader, &more, wanted);
	if (found > 0)
		(void)refuse(reader, line_of(more), "a second <%s>", wanted);
	return found == 0 ? node : NULL;
}

/* The only attribute an element may have. @return its value for xmlFree, or NULL: it is not there
 */
static int
attribute_only(struct reader *reader, const xmlNode *node, const char *wanted, char **value)
{
	*value = NULL;
	for (const xmlAttr *attribute = node->properties; attribute != NULL;
		attribute = attribute->next)
		if (wanted == NULL || strcmp((const char *)attribute->name, wanted) != 0)
			return refuse(reader, line_of(node),
				"<%.64s> has an attribute %.64s, which is not known",
				(const char *)node->name, (const char *)attribute->name);
	if (wanted != NULL)
		*value = (char *)xmlGetNoNsProp(node, (const xmlChar *)wanted);
	return 0;
}

/* The text of a <property>. @return for xmlFree */
static int
property_text(struct reader *reader, const xmlNode *node, const char *name, char **out)
{
	for (const xmlNode *part = node->children; part != NULL; part = part->next)
		if (part->type != XML_TEXT_NODE && part->type != XML_CDATA_SECTION_NODE &&
			part->type != XML_COMMENT_NODE)
			return refuse(reader, line_of(part),
				"property %.64s: only text may stand in it", name);
	*out = (char *)xmlNodeGetContent(node);
	if (*out == NULL)
		return -ENOMEM;
	if (strlen(*out) > VALUE_MAX_BYTES)
		return refuse(reader, line_of(node), "property %.64s: longer than %d bytes", name,
			VALUE_MAX_BYTES);
	return 0;
}

/* Properties as Qubes names them, and what rules call them. */
static const char *
property_name(const char *written, const char *value)
{
	static const char *const names[] = {"action", "dsthost", "dst4", "dst6", "proto",
		"dstports", "icmptype", "specialtarget", "expire", "comment", "forwardtype",
		"srchost", "srcports"};
	char address[INET6_ADDRSTRLEN];
	unsigned char bytes[sizeof(struct in6_addr)];

	/* an address stands under the name of a host */
	if (strcmp(written, "dsthost") == 0 || strcmp(written, "dstname") == 0) {
		snprintf(address, sizeof(address), "%.*s", (int)strcspn(value, "/"), value);
		if (inet_pton(AF_INET, address, bytes) == 1)
			return "dst4";
		if (inet_pton(AF_INET6, address, bytes) == 1)
			return "dst6";
		return "dsthost";
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], written) == 0)
			return names[i];
	return NULL;
}

static int
property_read(
	struct reader *reader, const xmlNode *node, struct property *properties, unsigned *count)
{
	struct property *property = &properties[*count];
	const char *name = NULL;
	char *written = NULL;
	char *value = NULL;
	int error = attribute_only(reader, node, "name", &written);

	if (error == 0 && *count == PROPERTIES_MAX)
		error = refuse(reader, line_of(node), "more than %d properties", PROPERTIES_MAX);
	if (error == 0 && written != NULL)
		error = property_text(reader, node, written, &value);
	if (error == 0 && (written == NULL || value == NULL))
		error = refuse(reader, line_of(node), "<property> has no name");
	else if (error == 0) {
		name = property_name(written, value);
		if (name == NULL)
			error = refuse(
				reader, line_of(node), "property %.64s is not known", written);
	}
	for (unsigned i = 0; error == 0 && name != NULL && i < *count; i++)
		if (strcmp(properties[i].name, name) == 0)
			error = refuse(reader, line_of(node),
				"property %.64s: stands a second time, first on line %u", written,
				properties[i].line);
	xmlFree(written);
	if (error != 0 || name == NULL) {
		xmlFree(value);
		return error;
	}
	*property = (struct property){name, value, line_of(node)};
	(*count)++;
	return 0;
}

static const struct property *
property_find(const struct property *properties, unsigned count, const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(properties[i].name, name) == 0)
			return &properties[i];
	return NULL;
}

static char *
text_make(const struct property *properties, unsigned count)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream == NULL)
		return NULL;
	for (unsigned i = 0; i < count; i++) {
		if (i != 0)
			fputc(' ', stream);
		rule_token_write(stream, properties[i].name, properties[i].value);
	}
	if (fclose(stream) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* A decimal number of seconds. */
static bool
seconds_parse(const char *text, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18 || text[digits] != '\0')
		return false;
	*out = strtoull(text, NULL, 10);
	return true;
}

/* The reason of the rule parser begins with a key: that is the property, and it has a line. */
static int
rule_refuse(struct reader *reader, unsigned line, const struct property *properties, unsigned count,
	const char *reason)
{
	size_t length = strcspn(reason, ":");

	for (unsigned i = 0; i < count; i++)
		if (strlen(properties[i].name) == length &&
			strncmp(properties[i].name, reason, length) == 0)
			return refuse(reader, properties[i].line, "property %s", reason);
	return refuse(reader, line, "%s", reason);
}

static int
rule_check(struct reader *reader, const struct firewall_xml_rule *entry,
	const struct property *properties, unsigned count)
{
	char reason[RULE_ERROR_SIZE] = "";
	struct conf_forward forward = {0};
	struct rule rule = {0};
	int error;

	if (entry->forward) {
		error = forward_parse(entry->text, reader->now_s, &forward, reason, sizeof(reason));
		free(forward.comment);
	} else {
		error = rule_parse(entry->text, reader->now_s, &rule, reason, sizeof(reason));
		rule_clear(&rule);
	}
	return error == 0 ? 0 : rule_refuse(reader, entry->line, properties, count, reason);
}

static int
rule_add(struct reader *reader, unsigned line, const struct property *properties, unsigned count)
{
	const struct property *action = property_find(properties, count, "action");
	const struct property *expire = property_find(properties, count, "expire");
	struct firewall_xml *out = reader->out;
	struct firewall_xml_rule *rules;
	struct firewall_xml_rule *entry;
	uint64_t expire_s = 0;

	if (expire != NULL && !seconds_parse(expire->value, &expire_s))
		return refuse(reader, expire->line, "property expire: \"%.64s\" is not a unix time",
			expire->value);
	if (out->count == RULES_MAX)
		return refuse(reader, line, "more than %d rules", RULES_MAX);
	rules = realloc(out->rules, (out->count + 1) * sizeof(*rules));
	if (rules == NULL)
		return -ENOMEM;
	out->rules = rules;
	entry = &rules[out->count];
	*entry = (struct firewall_xml_rule){
		.text = text_make(properties, count),
		.line = line,
		.forward = action != NULL && strcmp(action->value, "forward") == 0,
		.expired = expire != NULL && expire_s <= reader->now_s,
	};
	if (entry->text == NULL)
		return -ENOMEM;
	out->count++;
	return entry->expired ? 0 : rule_check(reader, entry, properties, count);
}

static int
rule_read(struct reader *reader, const xmlNode *node)
{
	struct property properties[PROPERTIES_MAX + 1];
	unsigned count = 0;
	const xmlNode *list = element_only(reader, node, "properties");
	const xmlNode *property;
	char *none;
	int error;

	if (list == NULL)
		return -EINVAL;
	error = attribute_only(reader, node, NULL, &none);
	if (error == 0)
		error = attribute_only(reader, list, NULL, &none);
	property = list->children;
	while (error == 0) {
		int found = element_next(reader, &property, "property");

		if (found <= 0) {
			error = found;
			break;
		}
		error = property_read(reader, property, properties, &count);
		property = property->next;
	}
	if (error == 0)
		error = rule_add(reader, line_of(node), properties, count);
	for (unsigned i = 0; i < count; i++)
		xmlFree(properties[i].value);
	return error;
}

static int
document_read(struct reader *reader, const xmlDoc *document)
{
	const xmlNode *root = xmlDocGetRootElement(document);
	const xmlNode *list;
	const xmlNode *rule;
	char *version = NULL;
	char *none;
	int error;

	if (root == NULL || strcmp((const char *)root->name, "firewall") != 0)
		return refuse(reader, root != NULL ? line_of(root) : 1,
			"this is no firewall.xml: it does not begin with <firewall>");
	error = attribute_only(reader, root, "version", &version);
	if (error == 0 && (version == NULL || strcmp(version, "2") != 0))
		error = refuse(reader, line_of(root), "version %.32s is not known; version 2 is",
			version != NULL ? version : "1");
	xmlFree(version);
	if (error != 0)
		return error;
	list = element_only(reader, root, "rules");
	if (list == NULL)
		return -EINVAL;
	error = attribute_only(reader, list, NULL, &none);
	rule = list->children;
	while (error == 0) {
		int found = element_next(reader, &rule, "rule");

		if (found <= 0)
			return found;
		error = rule_read(reader, rule);
		rule = rule->next;
	}
	return error;
}

/* libxml2 would print what it thinks. */
static void
be_quiet(void *context, const char *format, ...)
{
	(void)context;
	(void)format;
}

/* A document type begins. What it declares is not even read. */
static void
refuse_type(void *context, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	xmlParserCtxt *parser = context;
	bool *seen = parser->_private;

	(void)name;
	(void)external;
	(void)system;
	*seen = true;
	xmlStopParser(parser);
}

int
firewall_xml_parse(const char *text, size_t length, const char *name, uint64_t now_s,
	struct firewall_xml *out, char *error, size_t error_size)
{
	struct reader reader = {name, now_s, error, error_size, out};
	xmlParserCtxt *parser;
	xmlDoc *document;
	bool has_type = false;
	int status;

	*out = (struct firewall_xml){0};
	if (error_size != 0)
		*error = '\0';
	if (length > FILE_MAX_BYTES)
		return refuse(&reader, 1, "longer than %d bytes", FILE_MAX_BYTES);
	xmlSetGenericErrorFunc(NULL, be_quiet);
	parser = xmlNewParserCtxt();
	if (parser == NULL)
		return -ENOMEM;
	parser->_private = &has_type;
	parser->sax->internalSubset = refuse_type;
	/* without the options that load, replace or allow more: NOENT, DTDLOAD, DTDATTR, HUGE */
	document = xmlCtxtReadMemory(parser, text, (int)length, NULL, NULL,
		XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOCDATA |
			XML_PARSE_BIG_LINES);
	if (has_type) {
		status = refuse(&reader, (unsigned)xmlSAX2GetLineNumber(parser),
			"a document type (<!DOCTYPE) is not allowed");
	} else if (document == NULL) {
		const xmlError *last = xmlCtxtGetLastError(parser);
		const char *reason =
			last != NULL && last->message != NULL ? last->message : "empty";

		status = refuse(&reader, last != NULL && last->line > 0 ? (unsigned)last->line : 1,
			"not well-formed XML: %.*s", (int)strcspn(reason, "\n"), reason);
	} else {
		status = document_read(&reader, document);
	}
	xmlFreeDoc(document);
	xmlFreeParserCtxt(parser);
	if (status != 0)
		firewall_xml_free(out);
	return status;
}

void
firewall_xml_free(struct firewall_xml *firewall)
{
	for (unsigned i = 0; i < firewall->count; i++)
		free(firewall->rules[i].text);
	free(firewall->rules);
	*firewall = (struct firewall_xml){0};
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What an external forward needs upstream. A packet from outside reaches the outermost network qube
 * first; each one has to send it on to the next, until it is here:
 *
 *	outside -> sys-net (nft) -> sys-vpn (sluice) -> this firewall -> qube
 *
 * Nothing is done here, lines are printed for somebody to paste into a root shell. So whatever
 * stands in them was parsed and written again, or consists of letters, digits, dots and dashes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/ctl_args.h"
#include "app/ctl_table.h"
#include "conf/rule_text.h"

#define HOP_NAME_SIZE 64
#define DEFAULT_HOP "sys-net"

struct hop {
	char name[HOP_NAME_SIZE];
	bool sluice;                    /* else the firewall that comes with Qubes, which is nft */
	char address[INET6_ADDRSTRLEN]; /* of its own uplink; "": unknown */
};

struct plan {
	const struct ctl *ctl;
	const char *name; /* of the forward; NULL: it is not there yet */
	struct conf_forward forward;
	json_t *addresses; /* ours, on the uplink */
	struct hop hops[CTL_VIA_MAX];
	unsigned hop_count;
};

static bool
name_is_plain(const char *name)
{
	size_t length = strlen(name);

	return length != 0 && length < HOP_NAME_SIZE && name[0] != '-' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
		       length;
}

/* NAME[:nft|:sluice[:ADDRESS]] */
static int
hop_parse(const struct ctl_args *args, const char *text, struct hop *hop)
{
	const char *colon = strchr(text, ':');
	size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
	unsigned char bytes[sizeof(struct in6_addr)];

	*hop = (struct hop){0};
	snprintf(hop->name, sizeof(hop->name), "%.*s", (int)length, text);
	if (length >= HOP_NAME_SIZE || !name_is_plain(hop->name))
		return ctl_usage(
			args, "--via: \"%s\" does not begin with the name of a qube", text);
	if (colon == NULL)
		return CTL_DONE;
	text = colon + 1;
	length = strcspn(text, ":");
	if (length == 6 && strncmp(text, "sluice", 6) == 0)
		hop->sluice = true;
	else if (length != 3 || strncmp(text, "nft", 3) != 0)
		return ctl_usage(args, "--via: behind the name of a hop stands nft or sluice");
	if (text[length] == '\0')
		return CTL_DONE;
	text += length + 1;
	if (strlen(text) >= sizeof(hop->address) ||
		(inet_pton(AF_INET, text, bytes) != 1 && inet_pton(AF_INET6, text, bytes) != 1))
		return ctl_usage(args, "--via: \"%s\" is not an address", text);
	strcpy(hop->address, text);
	return CTL_DONE;
}

/* The forward that is named, or described. */
static int
plan_forward(struct plan *plan, struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	char error[RULE_ERROR_SIZE];
	char *rule = NULL;
	json_t *result = NULL;
	const json_t *forward;
	size_t i;
	int status;

	if (args->count == 0)
		return ctl_usage(args, "which forward? Its name, or its properties");
	if (args->count == 1 && strchr(args->words[0], '=') == NULL) {
		status = ctl_call(ctl, "forward.list", NULL, &result);
		if (status != CTL_DONE)
			return status;
		json_array_foreach (json_object_get(result, "forwards"), i, forward)
			if (rule == NULL &&
				strcmp(json_text(forward, "name"), args->words[0]) == 0) {
				rule = strdup(json_text(forward, "rule"));
				plan->addresses = json_incref(json_object_get(forward, "listens"));
			}
		json_decref(result);
		if (rule == NULL) {
			ctl_error("there is no forward %s; sluicectl forward list names them",
				args->words[0]);
			return CTL_REFUSED;
		}
		plan->name = args->words[0];
	} else if (args->count == 1 && args_is_rule(args->words[0])) {
		rule = strdup(args->words[0]);
	} else {
		bool action = false;

		for (i = 0; i < args->count; i++)
			action |= args_rule_has(args->words[i], "action");
		rule = args_rule(args, args->words, args->count, action ? NULL : "action=forward");
	}
	if (rule == NULL)
		return CTL_USAGE;
	status = forward_parse(rule, 0, &plan->forward, error, sizeof(error));
	free(rule);
	return status == 0 ? CTL_DONE : ctl_usage(args, "%s", error);
}

/* Addresses of ours that hops upstream can send to. */
static int
plan_addresses(struct plan *plan, struct ctl *ctl)
{
	json_t *result = NULL;
	const json_t *port;
	size_t i;
	int status;

	if (json_array_size(plan->addresses) != 0)
		return CTL_DONE;
	json_decref(plan->addresses);
	plan->addresses = NULL;
	status = ctl_call(ctl, "status", NULL, &result);
	if (status != CTL_DONE)
		return status;
	json_array_foreach (json_object_get(result, "ports"), i, port)
		if (strcmp(json_text(port, "role"), "uplink") == 0)
			plan->addresses = json_incref(json_object_get(port, "addresses"));
	json_decref(result);
	if (json_array_size(plan->addresses) != 0)
		return CTL_DONE;
	ctl_error("the uplink has no address, so nothing can be sent here");
	return CTL_REFUSED;
}

/* One of ours of this family, without its prefix length. */
static bool
own_address(const struct plan *plan, int family, char address[INET6_ADDRSTRLEN])
{
	unsigned char bytes[sizeof(struct in6_addr)];
	const json_t *entry;
	size_t i;

	json_array_foreach (plan->addresses, i, entry) {
		const char *text = json_string_value(entry);

		if (text == NULL)
			continue;
		snprintf(address, INET6_ADDRSTRLEN, "%.*s", (int)strcspn(text, "/"), text);
		if (inet_pton(family, address, bytes) == 1)
			return true;
	}
	return false;
}

static void step_add(json_t *lines, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void
step_add(json_t *lines, const char *format, ...)
{
	char *line = NULL;
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	json_array_append_new(lines, json_string(line));
	free(line);
}

static void
ports_text(const struct conf_forward *forward, char text[16])
{
	if (forward->first == forward->last)
		snprintf(text, 16, "%u", forward->first);
	else
		snprintf(text, 16, "%u-%u", forward->first, forward->last);
}

/*
 * The chain and its rule, as the Qubes documentation sets up port forwarding by hand. Ports stay
 * what they are until they arrive here, so only the destination changes. Whatever is not a qube
 * (group 2 are the interfaces to qubes) is outside.
 */
static void
plan_nft(const struct plan *plan, int family, const char *next, json_t *lines)
{
	const char *ip = family == AF_INET6 ? "ip6" : "ip";
	const char *table = family == AF_INET6 ? "ip6 qubes" : "ip qubes";
	const struct conf_forward *forward = &plan->forward;
	const char *proto = forward->protocol == IPPROTO_UDP ? "udp" : "tcp";
	char ports[16], chain[64], source[96] = "";

	ports_text(forward, ports);
	snprintf(chain, sizeof(chain), "custom-dnat-%s-%s", proto, ports);
	if (forward->has_source && forward->source.length != 0) {
		char prefix[ADDRESS_TEXT_SIZE];

		snprintf(source, sizeof(source), "%s saddr %s ", ip,
			prefix_format(prefix, forward->source_family, &forward->source));
	}
	step_add(lines,
		"nft 'add chain %s %s { type nat hook prerouting priority filter + 1 ; policy "
		"accept ; }'",
		table, chain);
	step_add(lines,
		"nft 'add rule %s %s iifgroup != 2 %s%s dport %s ct state new counter dnat to %s'",
		table, chain, source, proto, ports, next);
	step_add(lines,
		"nft 'add rule %s custom-forward iifgroup != 2 %s%s daddr %s %s dport %s ct state "
		"new,established,related counter accept'",
		table, source, ip, next, proto, ports);
}

/* The same forward for a sluice upstream, towards the next hop. */
static void
plan_sluice(const struct plan *plan, const char *next, json_t *lines)
{
	struct conf_forward forward = plan->forward;
	char *rule;

	/* ports change here, not on the way */
	forward.target_first = forward.first;
	forward.target_last = forward.last;
	rule = forward_format(&forward, true);
	if (rule == NULL)
		return;
	if (forward.expire_s != 0)
		step_add(lines, "sluicectl forward add %s %s expire=%llu", next, rule,
			(unsigned long long)forward.expire_s);
	else
		step_add(lines, "sluicectl forward add %s %s", next, rule);
	free(rule);
}

/* What hop @p index is told. */
static int
plan_hop(const struct plan *plan, unsigned index, json_t *lines)
{
	static const int families[] = {AF_INET, AF_INET6};
	const struct hop *hop = &plan->hops[index];
	const struct hop *before = index != 0 ? &plan->hops[index - 1] : NULL;
	char here[HOP_NAME_SIZE] = "";

	if (hop->sluice) {
		/* the name of a qube is its host name */
		if (before == NULL &&
			(gethostname(here, sizeof(here) - 1) != 0 || !name_is_plain(here)))
			strcpy(here, "sys-firewall");
		plan_sluice(plan, before != NULL ? before->name : here, lines);
		return CTL_DONE;
	}
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		int family = families[i];
		unsigned char bytes[sizeof(struct in6_addr)];
		char next[INET6_ADDRSTRLEN] = "";

		if (plan->forward.has_source &&
			(family == AF_INET6) != (plan->forward.source_family == FAMILY_IPV6))
			continue;
		if (before == NULL ? !own_address(plan, family, next)
				   : inet_pton(family, before->address, bytes) != 1)
			continue;
		plan_nft(plan, family, before != NULL ? before->address : next, lines);
	}
	if (json_array_size(lines) != 0)
		return CTL_DONE;
	if (before != NULL)
		return ctl_usage(&plan->ctl->args,
			"--via: %s needs the address of %s, of the family of srchost: --via "
			"%s:%s:ADDRESS",
			hop->name, before->name, before->name, before->sluice ? "sluice" : "nft");
	ctl_error("the uplink has no address of the family of srchost");
	return CTL_REFUSED;
}

static json_t *
plan_make(const struct plan *plan, int *status)
{
	json_t *hops = json_array();

	for (unsigned i = 0; *status == CTL_DONE && i < plan->hop_count; i++) {
		json_t *lines = json_array();

		*status = plan_hop(plan, i, lines);
		json_array_append_new(
			hops, json_pack("{s:s, s:s, s:o}", "hop", plan->hops[i].name, "kind",
				      plan->hops[i].sluice ? "sluice" : "nft", "lines", lines));
	}
	return hops;
}

static void
plan_print(const struct plan *plan, const json_t *hops)
{
	const struct hop *last = &plan->hops[plan->hop_count - 1];
	const json_t *hop, *line;
	char ports[16];
	bool nft = false;
	size_t i, k;

	ports_text(&plan->forward, ports);
	json_array_foreach (hops, i, hop) {
		print_clean(stdout, "# in %s, as root:\n", json_text(hop, "hop"));
		nft |= strcmp(json_text(hop, "kind"), "nft") == 0;
		json_array_foreach (json_object_get(hop, "lines"), k, line)
			print_clean(stdout, "%s\n", json_string_value(line));
		putchar('\n');
	}
	if (nft)
		puts("# lines of nft are forgotten when that qube ends; in its\n"
		     "# /rw/config/qubes-firewall-user-script they are done again at every start");
	if (plan->name == NULL)
		puts("# here, if it is not done yet: sluicectl forward add QUBE, with the same "
		     "properties");
	printf("# then clients connect to %s %s of %s%s%s\n",
		plan->forward.protocol == IPPROTO_UDP ? "UDP" : "TCP", ports, last->name,
		*last->address != '\0' ? ", " : "", last->address);
}

int
verb_FORWARD_PLAN(struct ctl *ctl)
{
	const struct ctl_args *args = &ctl->args;
	struct plan plan = {.ctl = ctl};
	json_t *hops, *answer;
	int status = CTL_DONE;

	for (unsigned i = 0; status == CTL_DONE && i < args->via_count; i++)
		status = hop_parse(args, args->via[i], &plan.hops[plan.hop_count++]);
	if (plan.hop_count == 0)
		strcpy(plan.hops[plan.hop_count++].name, DEFAULT_HOP);
	if (status == CTL_DONE)
		status = plan_forward(&plan, ctl);
	if (status == CTL_DONE && plan.forward.side != FORWARD_EXTERNAL)
		status = ctl_usage(args, "an internal forward needs nothing upstream");
	if (status == CTL_DONE && !plan.hops[0].sluice)
		status = plan_addresses(&plan, ctl);
	if (status == CTL_DONE) {
		hops = plan_make(&plan, &status);
		answer = json_pack("{s:O}", "hops", hops);
		if (status == CTL_DONE && !ctl_print_json(ctl, answer))
			plan_print(&plan, hops);
		json_decref(answer);
		json_decref(hops);
	}
	free(plan.forward.comment);
	json_decref(plan.addresses);
	return status;
}

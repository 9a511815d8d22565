/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `explain`: what would happen to a packet, and because of what. The question becomes a frame; the
 * frame is taken through the stages of app/explain.h, here and by the worker that would own its
 * flow; and the outcome is put into words.
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <rte_tcp.h>

#include "app/explain_frame.h"
#include "app/explain_text.h"
#include "app/flow_show.h"
#include "app/method.h"
#include "app/worker_call.h"

/* Above what systems hand out by default: hardly the port of a flow that is open. */
#define PORT_OF_NOBODY 61000
#define ICMP_ECHO 8
#define ICMPV6_ECHO 128
/* How often another policy may come into force between question and answer. */
#define ATTEMPTS 8

struct question {
	struct control_request *request; /* NULL: nobody waits any more */
	struct daemon *daemon;
	struct worker_call call;
	bool calling;
	unsigned attempts;
	uint16_t port;
	uint32_t length;
	uint8_t frame[EXPLAIN_FRAME_LONGEST];
	struct explain *explain;
};

static void
question_free(struct question *question)
{
	free(question->explain);
	free(question);
}

/* A context of control_keep. */
static void
question_ended(void *context)
{
	struct question *question = context;

	question->request = NULL;
	if (!question->calling)
		question_free(question);
}

/* In the worker that owns the flow. */
static void
question_run(struct worker *worker, void *context)
{
	struct question *question = context;

	explain_owned(question->explain, worker);
}

static void
question_answer(struct question *question)
{
	control_answer(question->request, explain_json(question->explain, question->daemon));
	question_free(question);
}

static void
question_ask(struct question *question)
{
	const struct policy *policy = daemon_policy(question->daemon);

	if (question->attempts++ == ATTEMPTS) {
		control_fail(question->request, CONTROL_UNAVAILABLE, NULL,
			"the policy changes faster than it can be asked");
		question_free(question);
		return;
	}
	if (!explain_begin(question->explain, question->daemon->dataplane, policy, question->port,
		    question->frame, question->length)) {
		question_answer(question);
		return;
	}
	question->explain->next_in_line = true;
	question->calling = true;
	worker_call(question->daemon->calls, question->explain->answer.owner, &question->call);
}

static void
question_done(void *context)
{
	struct question *question = context;
	const struct explanation *answer = &question->explain->answer;

	question->calling = false;
	if (question->request == NULL)
		question_free(question);
	else if (answer->stale || answer->generation != daemon_policy(question->daemon)->generation)
		question_ask(question);
	else
		question_answer(question);
}

/* Parameters. */

/* Refuse a request because of one parameter. @return false, for callers to return */
static bool __attribute__((format(printf, 4, 5))) refuse(struct control_request *request,
	enum control_error code, const char *key, const char *format, ...)
{
	char text[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	control_fail(request, code, json_pack("{s:s}", "key", key), "%s: %s", key, text);
	return false;
}

struct parameters {
	const char *from, *dst, *src, *proto, *flags;
	json_int_t dport, sport, icmp_type; /* -1: not given */
};

/* The port of that name, or of the qube of that name. */
static bool
port_take(struct control_request *request, const char *from, uint16_t *port)
{
	const struct policy *policy = daemon_policy(control_daemon(request));

	for (unsigned i = 0; i < policy->qube_count; i++)
		if (policy->qubes[i].name[0] != '\0' && strcmp(policy->qubes[i].name, from) == 0) {
			*port = policy->qubes[i].port;
			return *port != PORT_NONE ||
			       refuse(request, CONTROL_CONFLICT, "from",
				       "qube %s has no port: it is away", from);
		}
	for (unsigned i = 0; i < policy->port_count; i++)
		if (policy->ports[i].role != ROLE_NONE &&
			strcmp(policy->ports[i].name, from) == 0) {
			*port = (uint16_t)i;
			return true;
		}
	return refuse(
		request, CONTROL_CONFLICT, "from", "there is no port or qube named %.64s", from);
}

static bool
address_take(struct control_request *request, const char *key, const char *text,
	enum family *family, union address *address)
{
	return address_parse(text, family, address) == 0 ||
	       refuse(request, CONTROL_INVALID_PARAMS, key,
		       "want an IPv4 or IPv6 address; names are not resolved");
}

/* Who sends, if the question does not say: the qube, or the next router across the uplink. */
static bool
source_default(struct control_request *request, struct explain_question *question)
{
	const struct policy *policy = daemon_policy(control_daemon(request));
	const struct policy_port *port = &policy->ports[question->port];
	enum family family = question->family;
	unsigned number = family == FAMILY_IPV4 ? 4 : 6;

	if (port->role != ROLE_UPLINK) {
		const struct qube *qube = policy_port_qube(policy, question->port);

		if (qube == NULL)
			return refuse(request, CONTROL_CONFLICT, "from",
				"port %s belongs to no qube: nothing passes", port->name);
		question->source = qube->address[family];
		return qube->has[family] ||
		       refuse(request, CONTROL_CONFLICT, "src", "qube %s has no IPv%u address",
			       qube->name, number);
	}
	question->source = port->gateway[family];
	return port->has_gateway[family] ||
	       refuse(request, CONTROL_CONFLICT, "src",
		       "port %s has no IPv%u gateway that could be asked as: say who sends",
		       port->name, number);
}

static bool
source_take(struct control_request *request, const char *src, struct explain_question *question)
{
	enum family family;

	if (src == NULL)
		return source_default(request, question);
	if (!address_take(request, "src", src, &family, &question->source))
		return false;
	return family == question->family ||
	       refuse(request, CONTROL_INVALID_PARAMS, "src",
		       "want an address of the same family as that of dst");
}

/* What the question is about, if it does not say: a port means TCP, else it is a ping. */
static bool
protocol_take(struct control_request *request, const struct parameters *parameters,
	struct explain_question *question)
{
	bool tcp = parameters->dport >= 0 || parameters->flags != NULL;
	uint8_t protocol = tcp ? IPPROTO_TCP : IPPROTO_ICMP;

	if (parameters->proto != NULL && !flow_protocol_parse(parameters->proto, &protocol))
		return refuse(request, CONTROL_INVALID_PARAMS, "proto",
			"want tcp, udp, icmp or a number up to 255");
	if (protocol == IPPROTO_ICMP && question->family == FAMILY_IPV6)
		protocol = IPPROTO_ICMPV6;
	question->protocol = protocol;
	return true;
}

/* Names as nft(8) has them, with commas: syn,ack. */
static bool
flags_parse(const char *text, uint8_t *flags)
{
	static const char *const names[] = {"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"};

	*flags = 0;
	while (*text != '\0') {
		size_t length = strcspn(text, ",");
		unsigned i = 0;

		while (i < RTE_DIM(names) &&
			(strlen(names[i]) != length || strncmp(names[i], text, length) != 0))
			i++;
		if (i == RTE_DIM(names))
			return false;
		*flags |= (uint8_t)(1U << i);
		text += length;
		text += *text == ',';
	}
	return true;
}

/* What does not go with the protocol is a mistake of who asks. */
static bool
upper_take(struct control_request *request, const struct parameters *parameters,
	struct explain_question *question)
{
	uint8_t protocol = question->protocol;
	bool icmp = protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6;
	bool ports = protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;

	if (ports && parameters->dport < 0)
		return refuse(request, CONTROL_INVALID_PARAMS, "dport",
			"TCP and UDP need the port that is asked about");
	if (!ports && parameters->dport >= 0)
		return refuse(
			request, CONTROL_INVALID_PARAMS, "dport", "only TCP and UDP have ports");
	if (!ports && !icmp && parameters->sport >= 0)
		return refuse(
			request, CONTROL_INVALID_PARAMS, "sport", "this protocol has no ports");
	if (!icmp && parameters->icmp_type >= 0)
		return refuse(request, CONTROL_INVALID_PARAMS, "icmptype", "only ICMP has types");
	if (protocol != IPPROTO_TCP && parameters->flags != NULL)
		return refuse(request, CONTROL_INVALID_PARAMS, "flags", "only TCP has flags");
	question->tcp_flags = RTE_TCP_SYN_FLAG;
	if (parameters->flags != NULL && !flags_parse(parameters->flags, &question->tcp_flags))
		return refuse(request, CONTROL_INVALID_PARAMS, "flags",
			"want names of TCP flags, such as syn or fin,ack");
	question->dport = (uint16_t)RTE_MAX(parameters->dport, 0);
	question->sport =
		parameters->sport >= 0 ? (uint16_t)parameters->sport : (uint16_t)PORT_OF_NOBODY;
	question->icmp_type = protocol == IPPROTO_ICMPV6 ? ICMPV6_ECHO : ICMP_ECHO;
	if (parameters->icmp_type >= 0)
		question->icmp_type = (uint8_t)parameters->icmp_type;
	return true;
}

static bool
text_take(struct control_request *request, const char *key, const json_t *value, const char **text)
{
	*text = json_string_value(value);
	return *text != NULL || refuse(request, CONTROL_INVALID_PARAMS, key, "want a text");
}

static bool
number_take(struct control_request *request, const char *key, const json_t *value,
	json_int_t greatest, json_int_t *number)
{
	*number = json_integer_value(value);
	return (json_is_integer(value) && *number >= 0 && *number <= greatest) ||
	       refuse(request, CONTROL_INVALID_PARAMS, key, "want a number up to %d",
		       (int)greatest);
}

static bool
member_take(struct control_request *request, struct parameters *parameters, const char *key,
	const json_t *value)
{
	const struct {
		const char *key;
		const char **text;
		json_int_t *number;
		json_int_t greatest;
	} members[] = {
		{"from", &parameters->from, NULL, 0},
		{"dst", &parameters->dst, NULL, 0},
		{"src", &parameters->src, NULL, 0},
		{"proto", &parameters->proto, NULL, 0},
		{"flags", &parameters->flags, NULL, 0},
		{"dport", NULL, &parameters->dport, UINT16_MAX},
		{"sport", NULL, &parameters->sport, UINT16_MAX},
		{"icmptype", NULL, &parameters->icmp_type, UINT8_MAX},
	};

	for (size_t i = 0; i < RTE_DIM(members); i++) {
		if (strcmp(members[i].key, key) != 0)
			continue;
		return members[i].text != NULL ? text_take(request, key, value, members[i].text)
					       : number_take(request, key, value,
							 members[i].greatest, members[i].number);
	}
	return refuse(request, CONTROL_INVALID_PARAMS, key, "explain has no such parameter");
}

/* @return false when the request has been refused */
static bool
question_take(
	struct control_request *request, const json_t *params, struct explain_question *question)
{
	struct parameters parameters = {.dport = -1, .sport = -1, .icmp_type = -1};
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)(uintptr_t)params, key, value)
		if (!member_take(request, &parameters, key, value))
			return false;
	if (parameters.from == NULL)
		return refuse(request, CONTROL_INVALID_PARAMS, "from",
			"want the name of a qube or port that the packet comes from");
	if (parameters.dst == NULL)
		return refuse(
			request, CONTROL_INVALID_PARAMS, "dst", "want the address it is sent to");
	return port_take(request, parameters.from, &question->port) &&
	       address_take(
		       request, "dst", parameters.dst, &question->family, &question->destination) &&
	       source_take(request, parameters.src, question) &&
	       protocol_take(request, &parameters, question) &&
	       upper_take(request, &parameters, question);
}

void
method_EXPLAIN(struct control_request *request, const json_t *params)
{
	struct explain_question asked = {0};
	struct question *question;

	if (!question_take(request, params, &asked))
		return;
	question = calloc(1, sizeof(*question));
	if (question != NULL)
		question->explain = aligned_alloc(RTE_CACHE_LINE_SIZE,
			RTE_ALIGN_CEIL(sizeof(*question->explain), RTE_CACHE_LINE_SIZE));
	if (question == NULL || question->explain == NULL) {
		free(question);
		control_fail(request, CONTROL_UNAVAILABLE, NULL, "out of memory");
		return;
	}
	question->request = request;
	question->daemon = control_daemon(request);
	question->port = asked.port;
	question->length =
		explain_frame_build(question->frame, &asked, question->daemon->dataplane);
	question->call = (struct worker_call){
		.run = question_run, .done = question_done, .context = question};
	control_keep(request, question_ended, question);
	question_ask(question);
}

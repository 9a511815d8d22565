/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/learn.h"

#include <rte_udp.h>

#include "app/offload.h"

/*
 * The last questions of a flow, kept where TCP connections have their windows: as numbers made of
 * id, type and name. All of them are too old when the last one is: a flow that is used for a long
 * time would otherwise keep questions open that nobody waits for any more.
 */
#define QUESTIONS 7
/* Who asks has given up, or asked again (stub resolvers: after 5 s). */
#define ANSWERED_WITHIN_MS 15000

struct questions {
	uint32_t hash[QUESTIONS]; /* 0: none */
	uint32_t next : 4;
	uint32_t asked_ms : 28; /* the last one; modulo 2^28, three days */
};
_Static_assert(sizeof(struct questions) == 2 * sizeof(struct tcp_end), "UDP has no windows");
_Static_assert(QUESTIONS < 16, "next has four bits");

#define ASKED_MASK ((UINT32_C(1) << 28) - 1)

/* The questions of a flow that may be answered yet. */
static struct questions
questions_of(const struct flow *flow, uint32_t now_ms)
{
	struct questions questions;

	memcpy(&questions, flow->tcp, sizeof(questions));
	if (((now_ms - questions.asked_ms) & ASKED_MASK) > ANSWERED_WITHIN_MS)
		memset(questions.hash, 0, sizeof(questions.hash));
	return questions;
}

static void
question_note(struct flow *flow, uint32_t hash, uint32_t now_ms)
{
	struct questions questions = questions_of(flow, now_ms);
	unsigned at = questions.next % QUESTIONS;

	questions.hash[at] = hash;
	questions.next = (at + 1) & 15U;
	questions.asked_ms = now_ms & ASKED_MASK;
	memcpy(flow->tcp, &questions, sizeof(questions));
}

/* Whether there was such a question, which is answered now, however often it was sent. */
static bool
question_take(struct flow *flow, uint32_t hash, uint32_t now_ms)
{
	struct questions questions = questions_of(flow, now_ms);
	bool found = false;

	for (unsigned i = 0; i < QUESTIONS; i++) {
		if (questions.hash[i] != hash)
			continue;
		questions.hash[i] = 0;
		found = true;
	}
	if (found)
		memcpy(flow->tcp, &questions, sizeof(questions));
	return found;
}

/* The rules that would learn from a flow; NULL when it is none to a resolver, or nothing is named.
 */
static const struct rules *
learning_rules(const struct policy *policy, const struct flow *flow)
{
	const struct rules *rules;

	/* A resolver lies beyond the uplink, whoever else has its address. */
	if ((flow->flags & (FLOW_INBOUND | FLOW_IPV6)) != 0 || flow->qube >= policy->qube_count ||
		flow->way[DIRECTION_ORIGINAL].port != policy->uplink)
		return NULL;
	rules = policy->qubes[flow->qube].rules;
	if (rules->names == NULL)
		return NULL;
	/* what was asked really: behind a virtual address there is another one */
	for (unsigned i = 0; i < policy->resolver_count; i++)
		if (flow->v4[DIRECTION_REPLY][0] == policy->resolver[i])
			return rules;
	return NULL;
}

void
learn_packet(struct worker *worker, const struct rte_mbuf *mbuf, struct flow *flow)
{
	const struct policy *policy = worker->policy;
	const struct packet *packet = packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	const struct rules *rules = learning_rules(policy, flow);
	uint8_t copy[DNS_MESSAGE_MAX];
	const uint8_t *message;
	struct dns_answer answer;
	uint32_t length;
	uint16_t id;

	if (rules == NULL || packet->frame_length <= packet->payload_offset)
		return;
	length = packet->frame_length - packet->payload_offset;
	if (length > sizeof(copy))
		return;
	message = rte_pktmbuf_read(mbuf, packet->payload_offset, length, copy);
	if (message == NULL)
		return;
	if (packet->direction == DIRECTION_ORIGINAL) {
		if (dns_query_parse(message, length, &answer.question) &&
			name_index_find(rules->name_index, answer.question.name) != 0)
			question_note(flow, dns_question_hash(&answer.question), worker->now_ms);
		return;
	}
	if (!dns_answer_parse(message, length, &answer))
		return;
	id = name_index_find(rules->name_index, answer.question.name);
	/* What was spoilt on its way is no answer: the qube will not take it, either. */
	if (id == 0 || !offload_udp_right(mbuf))
		return;
	/* One without addresses ends its question, too: what comes behind it is not for the qube.
	 */
	if (id == 0 || !question_take(flow, dns_question_hash(&answer.question), worker->now_ms) ||
		answer.count == 0)
		return;
	names_learn(rules->names, id, answer.family, answer.addresses, answer.count, worker->now_ms,
		answer.ttl_s * 1000 + policy->timeouts->ms[TIMEOUT_NAME]);
	worker->counters.names_learned++;
}

void
learn_service(struct worker *worker)
{
	const struct policy *policy = worker->policy;

	for (unsigned i = 0; i < policy->qube_count; i++) {
		const struct rules *rules;

		worker->swept_qube = (uint16_t)(worker->swept_qube + 1);
		if (worker->swept_qube >= policy->qube_count)
			worker->swept_qube = 0;
		rules = policy->qubes[worker->swept_qube].rules;
		if (rules->names == NULL)
			continue;
		names_sweep(rules->names, name_index_has, rules->name_index, worker->now_ms);
		return;
	}
}

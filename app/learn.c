/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/learn.h"

#include <rte_udp.h>

/*
 * The last questions of a flow, kept where TCP connections have their windows: as numbers made of
 * id, type and name.
 */
#define QUESTIONS 7

struct questions {
	uint32_t hash[QUESTIONS]; /* 0: none */
	uint32_t next;
};
_Static_assert(sizeof(struct questions) == 2 * sizeof(struct tcp_end), "UDP has no windows");

static void
question_note(struct flow *flow, uint32_t hash)
{
	struct questions questions;

	memcpy(&questions, flow->tcp, sizeof(questions));
	questions.hash[questions.next++ % QUESTIONS] = hash;
	memcpy(flow->tcp, &questions, sizeof(questions));
}

/* Whether there was such a question, which is answered now. */
static bool
question_take(struct flow *flow, uint32_t hash)
{
	struct questions questions;

	memcpy(&questions, flow->tcp, sizeof(questions));
	for (unsigned i = 0; i < QUESTIONS; i++) {
		if (questions.hash[i] != hash)
			continue;
		questions.hash[i] = 0;
		memcpy(flow->tcp, &questions, sizeof(questions));
		return true;
	}
	return false;
}

/* The rules that would learn from a flow; NULL when it is none to a resolver, or nothing is named.
 */
static const struct rules *
learning_rules(const struct policy *policy, const struct flow *flow)
{
	const struct rules *rules;

	if ((flow->flags & (FLOW_INBOUND | FLOW_IPV6)) != 0 || flow->qube >= policy->qube_count)
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
			question_note(flow, dns_question_hash(&answer.question));
		return;
	}
	if (!dns_answer_parse(message, length, &answer) || answer.count == 0)
		return;
	id = name_index_find(rules->name_index, answer.question.name);
	if (id == 0 || !question_take(flow, dns_question_hash(&answer.question)))
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

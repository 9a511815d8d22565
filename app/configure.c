/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What configures the uplink's address, on its way between the host port and the uplink.
 *
 * classifier/configuring.c has said that a packet is one of these messages. Here is what bounds
 * them: so many in a second, and a DHCP answer only to a question that the host has asked within
 * the last two minutes, by its number. Everything else from the uplink is what it would be without
 * a host: part of a flow, or nothing.
 */
#include "app/configure.h"

#include "app/offload.h"
#include "app/worker.h"
#include "classifier/configuring.h"
#include "classifier/guard.h"

#define MESSAGES_PER_S 64
#define ANSWER_MS 120000

/* One more in this second and direction? */
static bool
rate_take(struct configure_state *state, bool from_host, uint32_t now_ms)
{
	_Atomic uint64_t *rate = &state->rate[from_host];
	uint64_t second = now_ms / 1000;
	uint64_t seen = atomic_load_explicit(rate, memory_order_relaxed);
	uint64_t next;

	do {
		next = seen >> 32 == second ? seen + 1 : second << 32 | 1;
		if ((uint32_t)next > MESSAGES_PER_S)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		rate, &seen, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

static void
question_note(
	struct configure_state *state, const struct configuring_message *message, uint32_t now_ms)
{
	_Atomic uint64_t *asked = state->asked[message->protocol];
	unsigned place = CONFIGURE_QUESTIONS;

	for (unsigned i = 0; i < CONFIGURE_QUESTIONS; i++)
		if (atomic_load_explicit(&asked[i], memory_order_relaxed) >> 32 == message->id)
			place = i;
	if (place == CONFIGURE_QUESTIONS)
		place = atomic_fetch_add_explicit(&state->next, 1, memory_order_relaxed) %
			CONFIGURE_QUESTIONS;
	/* Time 0 stands for no question. */
	atomic_store_explicit(
		&asked[place], (uint64_t)message->id << 32 | (now_ms | 1), memory_order_relaxed);
}

static bool
was_asked(struct configure_state *state, const struct configuring_message *message, uint32_t now_ms)
{
	_Atomic uint64_t *asked = state->asked[message->protocol];

	for (unsigned i = 0; i < CONFIGURE_QUESTIONS; i++) {
		uint64_t question = atomic_load_explicit(&asked[i], memory_order_relaxed);

		if ((uint32_t)question != 0 && question >> 32 == message->id &&
			!time_after_ms(now_ms, (uint32_t)question + ANSWER_MS))
			return true;
	}
	return false;
}

/* Send a frame to the other side as it is. Takes it. */
static void
pass(struct worker *worker, struct rte_mbuf *mbuf, uint16_t out)
{
	/* Programs that read whole frames, as DHCP clients do, want to see whole checksums. */
	if ((mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_NONE)
		offload_checksum(mbuf);
	worker_transmit(worker, out, mbuf);
}

static void
pass_copy(struct worker *worker, const struct rte_mbuf *mbuf, uint16_t out)
{
	struct rte_mbuf *copy = rte_pktmbuf_copy(mbuf, worker->dataplane->pool, 0, UINT32_MAX);

	if (copy == NULL)
		return;
	*packet_of(copy) = *packet_of((struct rte_mbuf *)(uintptr_t)mbuf);
	packet_of(copy)->in_port = PORT_NONE;
	pass(worker, copy, out);
}

bool
configure_take(struct worker *worker, struct rte_mbuf *mbuf)
{
	const struct policy *policy = worker->policy;
	struct packet *packet = packet_of(mbuf);
	struct configure_state *state = &worker->dataplane->configure;
	bool from_host = packet->in_port == policy->host;
	uint16_t out = from_host ? policy->uplink : policy->host;
	struct configuring_message message = configuring_message(policy, from_host,
		mac_word(worker->dataplane->ports[policy->uplink].mac), mbuf, packet);

	if (message.kind == CONFIGURING_NOT)
		return false;
	if (!from_host && message.protocol != CONFIGURING_DISCOVERY &&
		!was_asked(state, &message, worker->now_ms)) {
		worker_drop(worker, mbuf, REASON_NO_FLOW);
		return true;
	}
	if (from_host && message.protocol != CONFIGURING_DISCOVERY)
		question_note(state, &message, worker->now_ms);
	if (message.kind == CONFIGURING_NOTE)
		return false;
	if (!rate_take(state, from_host, worker->now_ms)) {
		if (message.kind == CONFIGURING_COPY)
			return false;
		worker_drop(worker, mbuf, REASON_LOCAL_IGNORED);
		return true;
	}
	if (message.kind == CONFIGURING_COPY) {
		pass_copy(worker, mbuf, out);
		return false;
	}
	packet->out_port = out;
	worker_finish(worker, mbuf, VERDICT_FORWARD);
	pass(worker, mbuf, out);
	return true;
}

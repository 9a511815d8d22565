/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See tcp_host.h. The order of host_receive is that of RFC 9293 section 3.10.7.
 */
#include "tests/unit/tcp_host.h"

#include <string.h>

#include <rte_common.h>
#include <rte_tcp.h>

#define FIN RTE_TCP_FIN_FLAG
#define SYN RTE_TCP_SYN_FLAG
#define RST RTE_TCP_RST_FLAG
#define ACK RTE_TCP_ACK_FLAG

#define RESEND_MS 400
#define RESEND_MOST_MS 6000
#define TRIES_MOST 40
#define KEEPALIVE_MS 45000
#define TIME_WAIT_MS 120000
#define CHALLENGE_MS 20

static bool
after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

static bool
is_open(const struct host *host)
{
	return host->state >= HOST_ESTABLISHED;
}

static uint32_t
stream_end(const struct host *host)
{
	return host->iss + 1 + host->habits.bytes;
}

static uint32_t
room_left(const struct host *host)
{
	return host->habits.room > host->unread ? host->habits.room - host->unread : 0;
}

static struct host_segment
segment_new(struct host *host, uint32_t sequence, uint8_t flags)
{
	bool syn = (flags & SYN) != 0;
	uint32_t window = room_left(host) >> (syn ? 0 : host->receive_scale);
	struct host_segment segment = {
		.sequence = sequence,
		.flags = flags,
		.window = (uint16_t)RTE_MIN(window, (uint32_t)UINT16_MAX),
		.scale = HOST_NO_SCALE,
		.provoked = host->answering_forged,
	};

	if ((flags & ACK) != 0) {
		segment.acknowledgement = host->received;
		host->ack_due = false;
		host->announced = segment.window;
	}
	if (!syn && host->sack && (flags & ACK) != 0) {
		segment.blocks = host->holes;
		memcpy(segment.block, host->hole, sizeof(segment.block));
	}
	return segment;
}

static void
send_ack(struct host *host)
{
	struct host_segment segment = segment_new(host, host->most, ACK);

	host->emit(host, &segment);
}

/* RFC 5961 section 7: not as fast as somebody may ask. */
static void
send_challenge(struct host *host)
{
	if (host->challenge_ms != 0 && host->now_ms - host->challenge_ms < CHALLENGE_MS)
		return;
	host->challenge_ms = host->now_ms | 1;
	send_ack(host);
}

static void
send_syn(struct host *host)
{
	bool answers = host->state == HOST_SYN_RECEIVED;
	struct host_segment segment =
		segment_new(host, host->iss, answers ? (uint8_t)(SYN | ACK) : (uint8_t)SYN);

	segment.scale = host->habits.scale;
	segment.sack_permitted = host->habits.sack;
	host->emit(host, &segment);
}

/* What a host without a connection says (RFC 9293 section 3.10.7.1). */
static void
send_refusal(struct host *host, const struct host_segment *to)
{
	struct host_segment segment = {
		.flags = RST, .scale = HOST_NO_SCALE, .provoked = to->forged};

	if ((to->flags & RST) != 0)
		return;
	if ((to->flags & ACK) != 0) {
		segment.sequence = to->acknowledgement;
	} else {
		segment.flags = RST | ACK;
		segment.acknowledgement = to->sequence + to->length + ((to->flags & SYN) != 0) +
					  ((to->flags & FIN) != 0);
	}
	host->emit(host, &segment);
}

static void
resend_arm(struct host *host)
{
	uint32_t wait_ms = RTE_MIN(RESEND_MS << RTE_MIN(host->tries, 5u), RESEND_MOST_MS);

	host->resending = true;
	host->resend_ms = host->now_ms + wait_ms + host->draw(100);
}

/* Data from @p from on, as the window lets. @return how far it got */
static uint32_t
send_piece(struct host *host, uint32_t from, uint32_t window_end)
{
	uint32_t end = stream_end(host), length = 0;
	struct host_segment segment;
	bool fin;

	if (after(end, from) && after(window_end, from)) {
		length = RTE_MIN(RTE_MIN(end - from, host->habits.mss), window_end - from);
		if (host->draw(4) == 0)
			length = 1 + host->draw(length);
	}
	fin = host->closing && from + length == end && after(window_end, from + length);
	if (length == 0 && !fin)
		return from;
	segment = segment_new(host, from, fin ? (uint8_t)(FIN | ACK) : (uint8_t)ACK);
	segment.length = length;
	host->emit(host, &segment);
	return from + length + fin;
}

static bool
has_begun(const struct host *host)
{
	return host->now_ms - host->connected_ms >= host->habits.begins_ms;
}

/* Whether the application has nothing more to say. */
static bool
wants_to_close(const struct host *host)
{
	if (host->una != stream_end(host) && host->habits.lingers_ms != 0)
		return false;
	if (host->habits.waits_for_fin && !host->fin_received)
		return false;
	return host->now_ms - host->connected_ms >=
	       host->habits.begins_ms + host->habits.lingers_ms;
}

/* It has sent up to @p next, and a FIN that has left is what the state says. */
static void
note_sent(struct host *host, uint32_t next)
{
	if (after(next, host->most))
		host->most = next;
	if (!after(host->most, stream_end(host)))
		return;
	if (host->state == HOST_ESTABLISHED)
		host->state = HOST_FIN_WAIT_1;
	else if (host->state == HOST_CLOSE_WAIT)
		host->state = HOST_LAST_ACK;
}

static void
output(struct host *host)
{
	if (!is_open(host) || !has_begun(host))
		return;
	host->closing |= wants_to_close(host);
	for (unsigned i = 0; i < 8; i++) {
		uint32_t next = send_piece(host, host->next, host->una + host->window);

		if (next == host->next)
			break;
		host->next = next;
		note_sent(host, next);
	}
	if (!host->resending &&
		(host->most != host->una || after(stream_end(host), host->una) || host->closing) &&
		host->state != HOST_FIN_WAIT_2 && host->state != HOST_TIME_WAIT)
		resend_arm(host);
}

static void
end(struct host *host)
{
	host->state = HOST_CLOSED;
	host->resending = false;
	host->ack_due = false;
}

static void
abort_connection(struct host *host)
{
	struct host_segment segment =
		segment_new(host, host->most, host->draw(2) ? (uint8_t)RST : (uint8_t)(RST | ACK));

	if (host->state != HOST_SYN_SENT && host->state != HOST_TIME_WAIT)
		host->emit(host, &segment);
	host->was_reset = true;
	end(host);
}

static void
begin(struct host *host, enum host_state state, uint32_t iss, uint32_t now_ms)
{
	struct host fresh = {
		.habits = host->habits,
		.state = state,
		.emit = host->emit,
		.draw = host->draw,
		.index = host->index,
		.passive = state == HOST_LISTEN,
		.iss = iss,
		.una = iss,
		.next = iss + 1,
		.most = iss + 1,
		.now_ms = now_ms,
		.connected_ms = now_ms,
		.heard_ms = now_ms,
		.read_ms = now_ms,
	};

	fresh.habits.sack = host->habits.sack;
	*host = fresh;
}

void
host_open(struct host *host, uint32_t iss, uint32_t now_ms)
{
	begin(host, HOST_SYN_SENT, iss, now_ms);
	send_syn(host);
	resend_arm(host);
}

void
host_listen(struct host *host, uint32_t iss, uint32_t now_ms)
{
	begin(host, HOST_LISTEN, iss, now_ms);
}

bool
host_idle(const struct host *host)
{
	return host->state == HOST_CLOSED || host->state == HOST_LISTEN;
}

/* --- receiving --- */

/*
 * RFC 9293 section 3.10.7.4, and as Linux has it: what acknowledges more is newer whatever its
 * number. To the letter an old window would count from there, further than anybody has allowed.
 */
static void
take_window(struct host *host, const struct host_segment *segment)
{
	bool syn = (segment->flags & SYN) != 0;

	if (!syn && !after(segment->acknowledgement, host->window_ack) &&
		(after(host->window_sequence, segment->sequence) ||
			segment->acknowledgement != host->window_ack))
		return;
	host->window = (uint32_t)segment->window << (syn ? 0 : host->send_scale);
	host->window_largest = RTE_MAX(host->window_largest, host->window);
	host->window_sequence = segment->sequence;
	host->window_ack = (segment->flags & ACK) != 0 ? segment->acknowledgement : host->una;
}

static void
take_syn(struct host *host, const struct host_segment *segment)
{
	host->irs = segment->sequence;
	host->received = segment->sequence + 1;
	host->send_scale = 0;
	host->receive_scale = 0;
	if (segment->scale != HOST_NO_SCALE && host->habits.scale != HOST_NO_SCALE) {
		host->send_scale = (uint8_t)segment->scale;
		host->receive_scale = (uint8_t)host->habits.scale;
	} else {
		host->habits.scale = HOST_NO_SCALE;
	}
	host->sack = host->habits.sack && segment->sack_permitted;
	take_window(host, segment);
	host->took_forged |= segment->forged;
}

static void
established(struct host *host)
{
	host->state = HOST_ESTABLISHED;
	host->connected = true;
	host->connected_ms = host->now_ms;
	host->resending = false;
	host->tries = 0;
}

static void
receive_listen(struct host *host, const struct host_segment *segment)
{
	if ((segment->flags & RST) != 0)
		return;
	if ((segment->flags & ACK) != 0) {
		send_refusal(host, segment);
		return;
	}
	if ((segment->flags & SYN) == 0)
		return;
	take_syn(host, segment);
	host->state = HOST_SYN_RECEIVED;
	send_syn(host);
	resend_arm(host);
}

static void
receive_syn_sent(struct host *host, const struct host_segment *segment)
{
	bool acknowledges = (segment->flags & ACK) != 0;

	if (acknowledges && segment->acknowledgement != host->iss + 1) {
		send_refusal(host, segment);
		return;
	}
	if ((segment->flags & RST) != 0) {
		if (acknowledges) {
			host->was_reset = true;
			end(host);
		}
		return;
	}
	if ((segment->flags & SYN) == 0)
		return;
	take_syn(host, segment);
	if (acknowledges) {
		host->una = segment->acknowledgement;
		established(host);
		send_ack(host);
		output(host);
		return;
	}
	host->state = HOST_SYN_RECEIVED;
	send_syn(host);
	resend_arm(host);
}

static void
take_reset(struct host *host, const struct host_segment *segment)
{
	if (segment->sequence != host->received) {
		send_challenge(host);
		return;
	}
	host->took_forged |= segment->forged;
	host->was_reset = true;
	if (host->state == HOST_SYN_RECEIVED && host->passive)
		host_listen(host, host->iss + 64000, host->now_ms);
	else
		end(host);
}

static void
hole_drop(struct host *host, unsigned i)
{
	host->holes--;
	memmove(host->hole[i], host->hole[i + 1], (host->holes - i) * sizeof(host->hole[0]));
}

/* Keep what came too early; without room for one more piece it will come again. */
static void
hole_add(struct host *host, uint32_t from, uint32_t to)
{
	for (unsigned i = 0; i < host->holes;) {
		if (after(from, host->hole[i][1]) || after(host->hole[i][0], to)) {
			i++;
			continue;
		}
		from = after(from, host->hole[i][0]) ? host->hole[i][0] : from;
		to = after(host->hole[i][1], to) ? host->hole[i][1] : to;
		hole_drop(host, i);
	}
	if (host->holes == HOST_BLOCKS)
		return;
	/* RFC 2018 section 4: the newest block comes first */
	memmove(host->hole[1], host->hole[0], host->holes * sizeof(host->hole[0]));
	host->hole[0][0] = from;
	host->hole[0][1] = to;
	host->holes++;
}

static void
advance(struct host *host, uint32_t to)
{
	host->delivered += to - host->received;
	host->unread += to - host->received;
	host->received = to;
}

static void
take_data(struct host *host, const struct host_segment *segment)
{
	uint32_t edge = host->received + room_left(host);
	uint32_t from = segment->sequence, to = from + segment->length;

	if (segment->length == 0)
		return;
	host->ack_due = true;
	if (after(to, edge))
		to = edge;
	if (!after(to, host->received))
		return send_ack(host);
	host->took_forged |= segment->forged;
	if (after(from, host->received)) {
		hole_add(host, from, to);
		return send_ack(host);
	}
	advance(host, to);
	for (unsigned i = 0; i < host->holes;) {
		if (after(host->hole[i][0], host->received)) {
			i++;
			continue;
		}
		if (after(host->hole[i][1], host->received))
			advance(host, host->hole[i][1]);
		hole_drop(host, i);
		i = 0;
	}
}

static void
take_fin(struct host *host, const struct host_segment *segment)
{
	if ((segment->flags & FIN) != 0) {
		host->fin_known = true;
		host->fin = segment->sequence + segment->length;
		host->took_forged |= segment->forged;
	}
	if (host->fin_received && (segment->flags & FIN) != 0) {
		/* RFC 9293 section 3.10.7.4: once more, since the answer was lost */
		host->over_ms = host->now_ms + TIME_WAIT_MS;
		send_ack(host);
	}
	if (!host->fin_known || host->fin_received || host->received != host->fin)
		return;
	host->fin_received = true;
	host->received++;
	switch (host->state) {
	case HOST_ESTABLISHED:
		host->state = HOST_CLOSE_WAIT;
		break;
	case HOST_FIN_WAIT_1:
		host->state = HOST_CLOSING;
		break;
	case HOST_FIN_WAIT_2:
		host->state = HOST_TIME_WAIT;
		host->over_ms = host->now_ms + TIME_WAIT_MS;
		break;
	default:
		break;
	}
	send_ack(host);
}

/* All that it has sent has arrived, the FIN too. */
static void
take_last_ack(struct host *host)
{
	host->resending = false;
	switch (host->state) {
	case HOST_FIN_WAIT_1:
		host->state = HOST_FIN_WAIT_2;
		break;
	case HOST_CLOSING:
		host->state = HOST_TIME_WAIT;
		host->over_ms = host->now_ms + TIME_WAIT_MS;
		break;
	case HOST_LAST_ACK:
		host->finished = true;
		end(host);
		break;
	default:
		break;
	}
}

/* @return whether the segment goes on */
static bool
take_ack(struct host *host, const struct host_segment *segment)
{
	uint32_t ack = segment->acknowledgement;

	if (host->state == HOST_SYN_RECEIVED) {
		if (ack != host->iss + 1) {
			send_refusal(host, segment);
			return false;
		}
		host->una = ack;
		host->took_forged |= segment->forged;
		established(host);
		take_window(host, segment);
		return true;
	}
	/* RFC 5961 section 5.2 */
	if (after(ack, host->most) || after(host->una - host->window_largest, ack)) {
		send_challenge(host);
		return false;
	}
	if (after(ack, host->una)) {
		host->una = ack;
		host->tries = 0;
		host->resending = false;
		host->took_forged |= segment->forged;
	}
	if (after(host->una, host->next))
		host->next = host->una;
	if (!after(host->una, ack))
		take_window(host, segment);
	if (host->una == host->most && after(host->most, stream_end(host)))
		take_last_ack(host);
	return host->state != HOST_CLOSED;
}

static bool
is_acceptable(const struct host *host, const struct host_segment *segment)
{
	uint32_t last = segment->sequence + segment->length + ((segment->flags & FIN) != 0) +
			((segment->flags & SYN) != 0);

	return !after(segment->sequence, host->received + room_left(host)) &&
	       !after(host->received, last);
}

static void
receive_open(struct host *host, const struct host_segment *segment)
{
	bool crosses = host->state == HOST_SYN_RECEIVED && (segment->flags & SYN) != 0 &&
		       segment->sequence == host->irs;

	if (!is_acceptable(host, segment)) {
		if ((segment->flags & RST) == 0)
			send_challenge(host);
		return;
	}
	if ((segment->flags & RST) != 0) {
		if (host->state != HOST_TIME_WAIT) /* RFC 1337 */
			take_reset(host, segment);
		return;
	}
	if (crosses && (segment->flags & ACK) == 0)
		return send_syn(host);
	if ((segment->flags & SYN) != 0 && !crosses)
		return send_challenge(host);
	if ((segment->flags & ACK) == 0 || !take_ack(host, segment))
		return;
	host->heard_ms = host->now_ms;
	if (host->una == host->most)
		host->tries = 0;
	if (crosses)
		return send_ack(host);
	take_data(host, segment);
	take_fin(host, segment);
	output(host);
}

void
host_receive(struct host *host, const struct host_segment *segment, uint32_t now_ms)
{
	host->now_ms = now_ms;
	host->answering_forged = segment->forged;
	switch (host->state) {
	case HOST_CLOSED:
		send_refusal(host, segment);
		break;
	case HOST_LISTEN:
		receive_listen(host, segment);
		break;
	case HOST_SYN_SENT:
		receive_syn_sent(host, segment);
		break;
	default:
		receive_open(host, segment);
		break;
	}
	host->answering_forged = false;
	if (host->ack_due)
		host->ack_ms = now_ms + host->draw(60);
}

/* --- time --- */

static uint32_t
until(uint32_t when_ms, uint32_t now_ms)
{
	return after(when_ms, now_ms) ? when_ms - now_ms : 0;
}

uint32_t
host_pause(const struct host *host, uint32_t now_ms)
{
	uint32_t least = UINT32_MAX, next_ms;

	if (host_idle(host))
		return least;
	if (host->state == HOST_TIME_WAIT)
		return until(host->over_ms, now_ms);
	if (host->resending)
		least = RTE_MIN(least, until(host->resend_ms, now_ms));
	if (host->ack_due)
		least = RTE_MIN(least, until(host->ack_ms, now_ms));
	if (host->unread != 0)
		least = RTE_MIN(least, until(host->read_ms, now_ms));
	if (is_open(host)) {
		least = RTE_MIN(least, until(host->heard_ms + KEEPALIVE_MS, now_ms));
		next_ms = host->connected_ms + host->habits.begins_ms;
		if (after(next_ms, now_ms))
			least = RTE_MIN(least, next_ms - now_ms);
		next_ms += host->habits.lingers_ms;
		if (after(next_ms, now_ms))
			least = RTE_MIN(least, next_ms - now_ms);
		if (host->habits.aborts_ms != 0)
			least = RTE_MIN(
				least, until(host->connected_ms + host->habits.aborts_ms, now_ms));
	}
	return RTE_MAX(least, 1u);
}

/* The application takes some of what is there, and the window opens. */
static void
read_some(struct host *host)
{
	uint32_t most = host->habits.reads_slowly ? 1 + host->habits.room / 4 : host->unread;
	uint32_t window;

	host->unread -= host->draw(RTE_MIN(host->unread, most) + 1);
	host->read_ms = host->now_ms + 1 + host->draw(host->habits.reads_slowly ? 300 : 40);
	window = RTE_MIN(room_left(host) >> host->receive_scale, (uint32_t)UINT16_MAX);
	if (is_open(host) && !host->fin_received &&
		(host->announced == 0 ? window != 0
				      : window > 2u * host->announced || host->draw(8) == 0))
		send_ack(host);
}

/* The window is shut, or its opening was lost: ask, from below it. */
static void
probe(struct host *host)
{
	struct host_segment segment = segment_new(host, host->una - 1, ACK);

	host->emit(host, &segment);
}

static void
resend(struct host *host)
{
	uint32_t next;

	if (++host->tries > TRIES_MOST) {
		host->gave_up = true;
		abort_connection(host);
		return;
	}
	host->resending = false;
	if (!is_open(host)) {
		send_syn(host);
	} else if (host->window == 0 && host->most == host->una && host->habits.probes_bare) {
		probe(host);
	} else {
		/* One byte passes through a shut window (RFC 9293 section 3.8.6.1). */
		next = send_piece(host, host->una, host->una + RTE_MAX(host->window, 1u));
		if (after(next, host->next) || (host->habits.goes_back && next != host->una))
			host->next = next;
		note_sent(host, next);
		output(host);
	}
	if (!host->resending)
		resend_arm(host);
}

static void
keep_alive(struct host *host)
{
	struct host_segment segment = segment_new(host, host->most - 1, ACK);

	segment.length = host->habits.keepalive_byte;
	host->heard_ms = host->now_ms - KEEPALIVE_MS + 2000;
	if (host->una != host->most) /* what it sends again keeps it alive */
		return;
	host->emit(host, &segment);
	if (++host->tries > TRIES_MOST) {
		host->gave_up = true;
		abort_connection(host);
	}
}

void
host_tick(struct host *host, uint32_t now_ms)
{
	host->now_ms = now_ms;
	if (host->state == HOST_TIME_WAIT) {
		if (!after(host->over_ms, now_ms)) {
			host->finished = true;
			end(host);
		}
		return;
	}
	if (host_idle(host))
		return;
	if (is_open(host) && host->habits.aborts_ms != 0 &&
		now_ms - host->connected_ms >= host->habits.aborts_ms) {
		abort_connection(host);
		return;
	}
	if (host->ack_due && !after(host->ack_ms, now_ms))
		send_ack(host);
	if (host->unread != 0 && !after(host->read_ms, now_ms))
		read_some(host);
	if (host->resending && !after(host->resend_ms, now_ms))
		resend(host);
	if (is_open(host) && !after(host->heard_ms + KEEPALIVE_MS, now_ms))
		keep_alive(host);
	output(host);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An honest end of TCP connections, for simulations: RFC 9293 with RFC 5961, 7323 (window scale)
 * and 2018, without a congestion window. It knows nothing of the tracker, and no bytes, only how
 * many: a segment says of itself whether it was forged, and a host remembers that it took one.
 *
 * What differs between real stacks is a habit, drawn for each host: how large its segments and its
 * buffer are, whether probes carry a byte, whether it sends everything or one segment again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HOST_NO_SCALE -1
#define HOST_BLOCKS 3

enum host_state {
	HOST_CLOSED,
	HOST_LISTEN,
	HOST_SYN_SENT,
	HOST_SYN_RECEIVED,
	HOST_ESTABLISHED,
	HOST_FIN_WAIT_1,
	HOST_FIN_WAIT_2,
	HOST_CLOSE_WAIT,
	HOST_CLOSING,
	HOST_LAST_ACK,
	HOST_TIME_WAIT,
};

struct host_segment {
	uint32_t sequence, acknowledgement;
	uint32_t length;
	uint16_t window; /* as in the header */
	uint8_t flags;
	int8_t scale; /* HOST_NO_SCALE: no option */
	bool sack_permitted;
	uint8_t blocks;
	uint32_t block[HOST_BLOCKS][2];
	bool forged;
	bool provoked; /* answers one that was forged */
};

/* What a host is like, for one connection. */
struct host_habits {
	uint32_t mss;  /* bytes */
	uint32_t room; /* of the receive buffer, bytes */
	int8_t scale;  /* of its own windows; HOST_NO_SCALE: it knows none */
	bool sack;
	bool probes_bare;    /* zero windows are probed below the window, without a byte */
	bool keepalive_byte; /* a keep-alive carries one byte of garbage */
	bool goes_back; /* sends again all that is not acknowledged, not the first segment only */
	bool reads_slowly;
	bool waits_for_fin;  /* closes when the other end has */
	uint32_t bytes;      /* to send */
	uint32_t begins_ms;  /* how long after the handshake it sends the first of them */
	uint32_t lingers_ms; /* how long it stays when all has been sent */
	uint32_t aborts_ms;  /* when it resets the connection; 0: it does not */
};

struct host {
	struct host_habits habits;
	enum host_state state;
	void (*emit)(struct host *host, const struct host_segment *segment);
	uint32_t (*draw)(uint32_t range);
	unsigned index;
	bool passive; /* came out of LISTEN */
	/* sending */
	uint32_t iss, una, next, most; /* `most`: the highest `next` there ever was */
	uint32_t window;               /* bytes from una */
	uint32_t window_largest;
	uint32_t window_sequence, window_ack; /* of the segment that set it */
	uint8_t send_scale, receive_scale;
	bool sack;
	bool closing; /* nothing follows what has been given to it */
	/* receiving */
	uint32_t irs, received; /* `received`: the next expected */
	uint32_t unread;
	uint32_t hole[HOST_BLOCKS][2]; /* what arrived too early */
	uint8_t holes;
	uint16_t announced; /* the window last said */
	bool fin_received;
	uint32_t fin; /* its number, when known */
	bool fin_known;
	bool ack_due;
	/* time */
	uint32_t now_ms;
	uint32_t connected_ms; /* when it became established */
	uint32_t heard_ms;
	uint32_t resend_ms, read_ms, ack_ms, over_ms, challenge_ms;
	bool resending; /* resend_ms holds */
	unsigned tries;
	/* what became of it */
	bool connected, finished, was_reset, gave_up, took_forged;
	bool answering_forged;
	uint32_t delivered; /* bytes of the other end, in order */
};

/** Begin a connection with number @p iss, or wait for one. */
void host_open(struct host *host, uint32_t iss, uint32_t now_ms);
void host_listen(struct host *host, uint32_t iss, uint32_t now_ms);

/** Take a segment that has arrived. */
void host_receive(struct host *host, const struct host_segment *segment, uint32_t now_ms);

/** When something is to be done next; UINT32_MAX ms from now: never. */
uint32_t host_pause(const struct host *host, uint32_t now_ms);
void host_tick(struct host *host, uint32_t now_ms);

/** Whether there is no connection, and none waited for. */
bool host_idle(const struct host *host);

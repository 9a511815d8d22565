/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timeouts: one table of named tunables with default, least and greatest value in seconds.
 *
 * Each row is TIMEOUT(identifier, "name", default, min, max, "help"); the name is the key under
 * [timeouts] in sluice.conf.
 */
#pragma once

#include <stdint.h>

/* clang-format off */
#define TIMEOUTS(TIMEOUT) \
	TIMEOUT(TCP_SYN_SENT,	 "tcp-syn-sent",    240,  5, 3600,   "SYN sent, nothing heard yet (RFC 5382 REQ-5: at least 240)") \
	TIMEOUT(TCP_SYN_RECV,	 "tcp-syn-recv",    240,  5, 3600,   "SYN answered, handshake not complete (RFC 5382 REQ-5: at least 240)") \
	TIMEOUT(TCP_ESTABLISHED, "tcp-established", 7440, 60, 432000, "open connection (RFC 5382 REQ-5: at least 7440)") \
	TIMEOUT(TCP_FIN_WAIT,	 "tcp-fin-wait",    240,  5, 3600,   "first FIN seen (RFC 5382 REQ-5: at least 240)") \
	TIMEOUT(TCP_CLOSE_WAIT,	 "tcp-close-wait",  240,  5, 3600,   "first FIN acknowledged") \
	TIMEOUT(TCP_LAST_ACK,	 "tcp-last-ack",    240,  5, 3600,   "second FIN seen") \
	TIMEOUT(TCP_TIME_WAIT,	 "tcp-time-wait",   240,  1, 3600,   "both FINs acknowledged (RFC 5382 REQ-5: at least 240)") \
	TIMEOUT(TCP_CLOSE,	 "tcp-close",        10,  1, 3600,   "reset seen") \
	TIMEOUT(UDP_UNREPLIED,	 "udp-unreplied",   120,  5, 3600,   "no answer yet (RFC 4787 REQ-5)") \
	TIMEOUT(UDP_REPLIED,	 "udp-replied",     300,  5, 3600,   "both sides spoke (RFC 4787 REQ-5)") \
	TIMEOUT(UDP_SERVICE,	 "udp-service",      30,  5, 3600,   "answered, destination port below 1024, such as DNS") \
	TIMEOUT(ICMP_QUERY,	 "icmp-query",       60, 60, 3600,   "ping and its like (RFC 5508 REQ-2: at least 60)") \
	TIMEOUT(OTHER,		 "other",           600,  5, 432000, "protocols without ports") \
	TIMEOUT(FRAGMENT,	 "fragment",         30,  1, 120,    "first fragment seen, datagram not complete") \
	TIMEOUT(NAME,		 "name",	     60,  1, 3600,   "an address of a name in rules opens flows so much longer than its TTL") \
	TIMEOUT(PICKUP,		 "tcp-pickup",        0,  0, 3600,   "after a start without a flow snapshot: qubes' connections are taken up in the middle")
/* clang-format on */

enum timeout {
#define TIMEOUT_ENUM(identifier, name, default_s, min_s, max_s, help) TIMEOUT_##identifier,
	TIMEOUTS(TIMEOUT_ENUM)
#undef TIMEOUT_ENUM
		TIMEOUT_COUNT
};

struct timeout_info {
	const char *name;
	const char *help;
	uint32_t default_s, min_s, max_s;
};
extern const struct timeout_info timeouts[TIMEOUT_COUNT];

/* The values in force, in milliseconds, indexed by enum timeout. */
struct timeout_values {
	uint32_t ms[TIMEOUT_COUNT];
};

/** Fill @p values with the defaults of the table. */
void timeout_defaults(struct timeout_values *values);

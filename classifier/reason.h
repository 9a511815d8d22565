/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a packet did not pass: the one table of drop reasons.
 *
 * Counters, replay verdicts, logs and documentation are all made from it. Each row is
 *
 *	REASON(identifier, "name", answer, "help")
 *
 * `answer` is what the sender hears. Silence is the rule; an answer is given only to a qube (or for
 * a packet of a tracked flow), never to somebody unknown across the uplink, and is limited per
 * source.
 */
#pragma once

#include <stdint.h>

/* What the sender of a dropped packet hears: ICMP type/code for IPv4, ICMPv6 type/code. */
enum answer {
	ANSWER_SILENCE,         /* nothing */
	ANSWER_PROHIBITED,      /* 3/13, 1/1: communication administratively prohibited */
	ANSWER_HOST_PROHIBITED, /* 3/10, 1/1: host administratively prohibited */
	ANSWER_TIME_EXCEEDED,   /* 11/0, 3/0: hop limit exceeded in transit */
	ANSWER_UNREACHABLE,     /* 3/1, 1/3: host or address unreachable */
	ANSWER_NO_ROUTE,        /* 3/0, 1/0: no route to destination */
	ANSWER_TOO_BIG,         /* 3/4 or 2/0 with the MTU of the way out */
};

/* clang-format off */
#define REASONS(REASON) \
	/* parse: what cannot be understood */ \
	REASON(TRUNCATED,	   "truncated",		    SILENCE,	     "frame ends before its headers or its announced length do") \
	REASON(VLAN,		   "vlan",		    SILENCE,	     "frame carries a VLAN tag") \
	REASON(ETHERTYPE,	   "ethertype",		    SILENCE,	     "neither ARP, IPv4 nor IPv6") \
	REASON(IP_HEADER,	   "ip-header",		    SILENCE,	     "malformed IPv4 or IPv6 header") \
	REASON(IP_CHECKSUM,	   "ip-checksum",	    SILENCE,	     "wrong IPv4 header checksum") \
	REASON(SOURCE_ROUTE,	   "source-route",	    SILENCE,	     "IPv4 source route option or IPv6 routing header") \
	REASON(FRAGMENT,	   "fragment",		    SILENCE,	     "malformed IP fragment, or a first one without its upper-layer header") \
	REASON(EXTENSION_HEADER,   "extension-header",	    SILENCE,	     "IPv6 extension header unknown, misplaced or too many") \
	REASON(L4_HEADER,	   "l4-header",		    SILENCE,	     "malformed TCP, UDP or ICMP header") \
	REASON(L4_CHECKSUM,	   "l4-checksum",	    SILENCE,	     "wrong TCP, UDP or ICMP checksum") \
	REASON(TCP_FLAGS,	   "tcp-flags",		    SILENCE,	     "impossible combination of TCP flags") \
	/* guard: who may send what on this port */ \
	REASON(PORT_GONE,	   "port-gone",		    SILENCE,	     "came from a port that has been taken away, or that belongs to no qube") \
	REASON(OTHER_MAC,	   "other-mac",		    SILENCE,	     "frame is addressed to another station") \
	REASON(SOURCE_MAC,	   "source-mac",	    SILENCE,	     "source MAC is not the one assigned to the port") \
	REASON(MAC_UNKNOWN,	   "mac-unknown",	    SILENCE,	     "the qube's MAC is not known yet: no valid ARP or neighbour solicitation seen") \
	REASON(SOURCE_ADDRESS,	   "source-address",	    SILENCE,	     "source address is not the one assigned to the port") \
	REASON(ARP,		   "arp",		    SILENCE,	     "malformed ARP, or its sender is not the one assigned to the port") \
	REASON(NEIGHBOUR_DISCOVERY,"neighbour-discovery",   SILENCE,	     "invalid neighbour discovery message, router advertisement or redirect") \
	REASON(MARTIAN_SOURCE,	   "martian-source",	    SILENCE,	     "source is loopback, multicast, broadcast or unspecified") \
	REASON(MARTIAN_DESTINATION,"martian-destination",   SILENCE,	     "destination is loopback, multicast, broadcast or unspecified") \
	REASON(LAND,		   "land",		    SILENCE,	     "source and destination are the same") \
	REASON(DOWNSTREAM_SOURCE,  "downstream-source",	    SILENCE,	     "a qube's address as source on the uplink") \
	/* local: what is addressed to the firewall itself */ \
	REASON(LOCAL_REFUSED,	   "local-refused",	    HOST_PROHIBITED, "the firewall offers no such service") \
	REASON(LOCAL_IGNORED,	   "local-ignored",	    SILENCE,	     "addressed to the firewall, not answered by intent") \
	/* reassemble: fragments that never become a datagram */ \
	REASON(FRAGMENT_OVERLAP,   "fragment-overlap",	    SILENCE,	     "fragments of one datagram overlap or contradict each other") \
	REASON(FRAGMENT_LIMIT,	   "fragment-limit",	    SILENCE,	     "too many fragments wait already for the rest of their datagrams") \
	REASON(FRAGMENT_TIMEOUT,   "fragment-timeout",	    SILENCE,	     "the rest of the datagram did not come in time") \
	/* flow: what the tracker does not accept */ \
	REASON(NO_FLOW,		   "no-flow",		    SILENCE,	     "unsolicited: from the uplink, or a reply, without a flow") \
	REASON(TCP_STATE,	   "tcp-state",		    SILENCE,	     "TCP segment that is invalid in the state of its flow, or opens none") \
	REASON(TCP_WINDOW,	   "tcp-window",	    SILENCE,	     "TCP segment outside what its connection can have sent") \
	REASON(ICMP_ERROR,	   "icmp-error",	    SILENCE,	     "ICMP error that relates to no flow, or cannot be true") \
	REASON(ICMP_TYPE,	   "icmp-type",		    SILENCE,	     "ICMP type that is never forwarded") \
	REASON(FLOWS_EXHAUSTED,	   "flows-exhausted",	    PROHIBITED,	     "the flow table has no room") \
	REASON(FLOWS_BUDGET,	   "flows-budget",	    UNREACHABLE,     "the qube has as many flows as it may") \
	REASON(NEW_FLOWS_BUDGET,   "new-flows-budget",	    SILENCE,	     "the qube opens flows faster than it may") \
	REASON(HALF_OPEN_BUDGET,   "half-open-budget",	    SILENCE,	     "the qube has as many half-open TCP connections as it may") \
	REASON(PORTS_BUDGET,	   "ports-budget",	    UNREACHABLE,     "the qube has as many external ports as it may") \
	REASON(PORTS_EXHAUSTED,	   "ports-exhausted",	    PROHIBITED,	     "no external port is free for this destination") \
	REASON(NO_RESOLVER,	   "no-resolver",	    SILENCE,	     "virtual DNS address, but no resolver is configured") \
	/* judge: what the rules say */ \
	REASON(RULE,		   "rule",		    PROHIBITED,	     "a rule of the qube says drop") \
	REASON(POLICY,		   "policy",		    PROHIBITED,	     "no rule matched and the qube's policy is drop") \
	REASON(BAD_RULES,	   "bad-rules",		    PROHIBITED,	     "the qube's rules have an error: everything is refused") \
	REASON(NO_RULES,	   "no-rules",		    SILENCE,	     "the qube has no rules at all") \
	REASON(INTER_QUBE,	   "inter-qube",	    SILENCE,	     "accepted by the rules, but towards another qube") \
	REASON(NO_LONGER_ALLOWED,  "no-longer-allowed",	    PROHIBITED,	     "the flow was open, but what is in force now does not allow it") \
	REASON(FLOW_REFUSED,	   "flow-refused",	    SILENCE,	     "the connection has been reset because it is no longer allowed") \
	/* route and transmit */ \
	REASON(TIME_EXCEEDED,	   "time-exceeded",	    TIME_EXCEEDED,   "TTL or hop limit ran out") \
	REASON(NO_ROUTE,	   "no-route",		    NO_ROUTE,	     "no route to the destination") \
	REASON(NEIGHBOUR_PENDING,  "neighbour-pending",	    SILENCE,	     "too many packets already wait for this next hop's MAC") \
	REASON(NEIGHBOUR_FAILED,   "neighbour-failed",	    UNREACHABLE,     "the next hop does not answer ARP or neighbour solicitation") \
	REASON(TOO_BIG,		   "too-big",		    TOO_BIG,	     "longer than the MTU of the way out") \
	REASON(NO_MBUF,		   "no-mbuf",		    SILENCE,	     "no packet buffer was free") \
	REASON(HANDOVER_FULL,	   "handover-full",	    SILENCE,	     "the ring to the worker that owns the flow was full") \
	REASON(TRANSMIT,	   "transmit",		    SILENCE,	     "the port out did not take the frame")
/* clang-format on */

/* REASON_NONE is no drop at all; it is zero so that a cleared packet is a passing packet. */
enum reason {
	REASON_NONE,
#define REASON_ENUM(identifier, name, answer, help) REASON_##identifier,
	REASONS(REASON_ENUM)
#undef REASON_ENUM
		REASON_COUNT
};

struct reason_info {
	const char *name;
	const char *help;
	enum answer answer;
};

/* Indexed by enum reason; the row of REASON_NONE is named "none". */
extern const struct reason_info reasons[REASON_COUNT];

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one table of what the control socket can be asked: sluiced dispatches by it, `help` and
 * sluiced(8) are made from it. docs/control-socket.md has parameters and answers in full.
 *
 *	METHOD(identifier, "name", access, "parameters", "help")
 *
 * A method is the function `method_IDENTIFIER` of app/method.h. `access` is LOOK for who may only
 * look, CHANGE for who may change things and see what packets carry.
 */
#pragma once

/* clang-format off */
#define METHODS(METHOD) \
	METHOD(HELLO,		"hello",	   LOOK,   "",			   "who answers, which protocol, and what you may do") \
	METHOD(HELP,		"help",		   LOOK,   "",			   "this table") \
	METHOD(STATUS,		"status",	   LOOK,   "",			   "everything on one page") \
	METHOD(COUNTERS,	"counters",	   LOOK,   "",			   "packets per verdict, drop reason and port") \
	METHOD(QUBES,		"qubes",	   LOOK,   "[qube]",		   "traffic, flows and budgets of each qube") \
	METHOD(METRICS,		"metrics",	   LOOK,   "",			   "all counters as OpenMetrics text") \
	METHOD(RULES_GET,	"rules.get",	   LOOK,   "[qube]",		   "rules in force, with origin, hits and time left") \
	METHOD(RULES_SET,	"rules.set",	   CHANGE, "qube policy rules",	   "replace all rules of a qube") \
	METHOD(RULES_ADD,	"rules.add",	   CHANGE, "qube rules",	   "append rules") \
	METHOD(RULES_INSERT,	"rules.insert",	   CHANGE, "qube rules [before]",  "insert rules, at first place or before a number") \
	METHOD(RULES_DELETE,	"rules.delete",	   CHANGE, "qube number|rule",	   "delete one rule") \
	METHOD(RULES_POLICY,	"rules.policy",	   CHANGE, "qube policy",	   "what holds when no rule matches: accept or drop") \
	METHOD(RULES_RESET,	"rules.reset",	   CHANGE, "qube",		   "forget changes: the rules of the configuration hold") \
	METHOD(FORWARD_LIST,	"forward.list",	   LOOK,   "[qube]",		   "port forwards in force") \
	METHOD(FORWARD_ADD,	"forward.add",	   CHANGE, "qube rule [name]",	   "add a port forward to a qube") \
	METHOD(FORWARD_DELETE,	"forward.delete",  CHANGE, "name",		   "delete a port forward") \
	METHOD(TRANSACTION,	"transaction",	   CHANGE, "changes",		   "several changes, all of them or none") \
	METHOD(FLOWS,		"flows",	   LOOK,   "[filter] [limit]",	   "stream the connections that are tracked") \
	METHOD(FLOWS_DELETE,	"flows.delete",	   CHANGE, "filter",		   "end connections") \
	METHOD(DROPS,		"drops",	   LOOK,   "[qube] [reason]",	   "what was dropped and why, with the last packets") \
	METHOD(EXPLAIN,		"explain",	   LOOK,   "from dst [proto dport sport src icmptype flags]", "what would happen to a packet, and because of what") \
	METHOD(TRACE,		"trace",	   LOOK,   "[filter port qube drops count]", "stream packets with their verdicts") \
	METHOD(CAPTURE,		"capture",	   CHANGE, "[filter port qube drops count snaplen]", "stream packets with all their bytes") \
	METHOD(EVENTS,		"events",	   LOOK,   "[kinds]",		   "stream what happens: policies, ports, forwards, budgets, drops") \
	METHOD(CANCEL,		"cancel",	   LOOK,   "id",		   "end a stream")
/* clang-format on */

enum method_id {
#define METHOD_ENUM(identifier, name, access, parameters, help) METHOD_##identifier,
	METHODS(METHOD_ENUM)
#undef METHOD_ENUM
		METHOD_COUNT
};

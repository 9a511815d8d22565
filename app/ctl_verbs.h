/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one table of what sluicectl can do: it dispatches by it, and `sluicectl help`, the completion
 * of bash and zsh and the man page (docs/man) are made from it.
 *
 *	VERB(kind, identifier, "words", "arguments", "options", access, "help", "text", "example")
 *
 * `kind` is CHANGE for what can stand in a batch: the function `change_IDENTIFIER` makes the
 *request of it; RUN for all others: the function `verb_IDENTIFIER` does it. `access` is what
 *sluiced asks for: NONE (it is not asked), LOOK or CHANGE. Arguments in capitals have completions
 *of their own (ctl_complete.c). Options are those of the verb alone; --json, --socket and --help go
 *with all of them, --runtime and --check with changes and whatever makes changes.
 */
#pragma once

/* clang-format off */
/*	OPTION(identifier, "long name", 'short', "value", "help") */
#define CTL_OPTIONS(OPTION) \
	OPTION(JSON,	"json",	   '\0', NULL,	  "the answer as JSON: one object, of streams one per line") \
	OPTION(SOCKET,	"socket",  '\0', "PATH",  "where sluiced listens; else $SLUICE_SOCKET, else /run/sluice/control.sock") \
	OPTION(HELP,	"help",	   'h',	 NULL,	  "how the verb is used") \
	OPTION(VERSION,	"version", '\0', NULL,	  "the version of sluicectl") \
	OPTION(RUNTIME,	"runtime", '\0', NULL,	  "the change is forgotten when sluiced ends") \
	OPTION(CHECK,	"check",   '\0', NULL,	  "say what would happen, and change nothing") \
	OPTION(DRY_RUN,	"dry-run", '\0', NULL,	  "show the result, and change nothing") \
	OPTION(FILE,	"file",	   'f',	 "FILE",  "read from FILE; -: from standard input") \
	OPTION(BEFORE,	"before",  '\0', "N",	  "insert before rule N; without it before all others") \
	OPTION(RULE_NO,	"rule-no", '\0', "N",	  "the rule with this number, as rules show counts") \
	OPTION(NAME,	"name",	   '\0', "NAME",  "what the forward is called; else sluiced names it") \
	OPTION(VIA,	"via",	   '\0', "HOP",	  "a network qube upstream: NAME[:nft|:sluice[:ADDRESS]], ours outwards; may be repeated") \
	OPTION(ALL,	"all",	   '\0', NULL,	  "all of them are meant") \
	OPTION(LIMIT,	"limit",   '\0', "N",	  "no more than N") \
	OPTION(WRITE,	"write",   'w',	 "FILE",  "write a pcapng file; -: to standard output") \
	OPTION(DROPS,	"drops",   '\0', NULL,	  "only packets that are dropped") \
	OPTION(COUNT,	"count",   'c',	 "N",	  "end after N packets") \
	OPTION(SNAPLEN,	"snaplen", 's',	 "BYTES", "no more than so much of a packet") \
	OPTION(PORT,	"port",	   'i',	 "PORT",  "only packets that arrive on this port, or leave by it") \
	OPTION(QUBE,	"qube",	   '\0', "QUBE",  "only packets that come from this qube, or go to it") \
	OPTION(STAGES,	"stages",  'v',	 NULL,	  "what each stage said") \
	OPTION(VERBS,	"verbs",   '\0', NULL,	  "the verbs alone, one per line")

#define CTL_VERBS(VERB) \
	VERB(RUN, STATUS, "status", "", "", LOOK, \
		"everything on one page", \
		"Version and uptime, the policy in force, workers, ports and qubes with their traffic, and what there is to worry about.", \
		"sluicectl status") \
	VERB(RUN, COUNTERS, "counters", "", "", LOOK, \
		"packets per verdict, drop reason and port", \
		"All counters since sluiced began. They are never reset.", \
		"sluicectl counters") \
	VERB(RUN, QUBES, "qubes", "[QUBE]", "", LOOK, \
		"traffic, flows and budgets of each qube", \
		"One line per qube; with the name of one, everything that is counted of it and each of its limits.", \
		"sluicectl qubes work") \
	VERB(RUN, METRICS, "metrics", "", "", LOOK, \
		"all counters as OpenMetrics text", \
		"As a collector of Prometheus wants them.", \
		"sluicectl metrics") \
	VERB(RUN, RULES_SHOW, "rules show", "[QUBE]", "", LOOK, \
		"rules in force, with origin, hits and time left", \
		"Rules are shown in the order they are tried. HITS counts what a rule has decided: first packets of flows, not those that a flow lets in.", \
		"sluicectl rules show work") \
	VERB(CHANGE, RULES_SET, "rules set", "QUBE [policy=drop|accept] RULE...|-", "file", CHANGE, \
		"replace all rules of a qube", \
		"Each RULE is one argument, in quotes. With --file they are read like a rules file: policy= first, one rule per line, # for comments. Without policy= it is drop.", \
		"sluicectl rules set work policy=drop 'action=accept proto=tcp dstports=443' 'action=accept specialtarget=dns'") \
	VERB(CHANGE, RULES_ADD, "rules add", "QUBE PROPERTY...", "", CHANGE, \
		"append a rule", \
		"Properties are those of qvm-firewall: action= dst4= dst6= dsthost= proto= dstports= icmptype= specialtarget= expire= comment=. Several rules at once: each one in quotes.", \
		"sluicectl rules add work action=accept dst4=192.0.2.0/24 proto=tcp dstports=443 comment=\"until lunch\" expire=+3600") \
	VERB(CHANGE, RULES_INSERT, "rules insert", "QUBE PROPERTY...", "before", CHANGE, \
		"insert a rule at first place, or before a number", \
		"As rules add, but in front of those that are there.", \
		"sluicectl rules insert work --before 2 action=drop dst4=192.0.2.7") \
	VERB(CHANGE, RULES_DELETE, "rules delete", "QUBE [PROPERTY...]", "rule-no", CHANGE, \
		"delete one rule", \
		"By its number, or by what it says.", \
		"sluicectl rules delete work --rule-no 2") \
	VERB(CHANGE, RULES_POLICY, "rules policy", "QUBE drop|accept", "", CHANGE, \
		"what holds when no rule matches", \
		"", \
		"sluicectl rules policy work drop") \
	VERB(CHANGE, RULES_RESET, "rules reset", "QUBE", "", CHANGE, \
		"forget changes: the rules of the configuration hold", \
		"", \
		"sluicectl rules reset work") \
	VERB(CHANGE, RULES_FULL_ACCESS, "rules full-access", "QUBE TIME", "", CHANGE, \
		"let a qube reach everything for a time", \
		"The same as rules insert QUBE action=accept expire=+SECONDS. TIME is a number with s, m, h or d; m when there is none. When it is over, connections that only this rule allowed end.", \
		"sluicectl rules full-access work 10m") \
	VERB(CHANGE, FORWARD_ADD, "forward add", "QUBE PROPERTY...", "name", CHANGE, \
		"add a port forward to a qube", \
		"forwardtype=external listens on the uplink, internal on the gateway's address for other qubes. srcports= is where we listen, dstports= where the qube does: as many, or a single one; left out: the same. srchost= is who may connect; left out: anyone.", \
		"sluicectl forward add work action=forward proto=tcp forwardtype=external srcports=443-443 dstports=8443-8443 srchost=0.0.0.0/0 expire=+5000 comment=\"example\"") \
	VERB(RUN, FORWARD_LIST, "forward list", "[QUBE]", "", LOOK, \
		"port forwards in force", \
		"", \
		"sluicectl forward list") \
	VERB(CHANGE, FORWARD_DELETE, "forward delete", "FORWARD", "", CHANGE, \
		"delete a port forward", \
		"Connections through it end.", \
		"sluicectl forward delete web") \
	VERB(RUN, FORWARD_PLAN, "forward plan", "FORWARD|PROPERTY...", "via", LOOK, \
		"what network qubes upstream need for an external forward", \
		"Changes nothing. For each hop between this firewall and the outside it prints what to type there: a sluicectl command where sluice runs, nft commands for the firewall that comes with Qubes. Without --via one hop is assumed, sys-net with nft. Hops further out than the first need the ADDRESS of the one before, so that is given with --via.", \
		"sluicectl forward plan web --via sys-vpn:sluice:10.137.0.9 --via sys-net") \
	VERB(RUN, BATCH, "batch", "", "file runtime check", CHANGE, \
		"several changes, all of them or none", \
		"Reads one change per line, written as arguments of sluicectl: rules set|add|insert|delete|policy|reset|full-access and forward add|delete. # begins a comment. Either all of them are in force afterwards or none; an error names its line.", \
		"sluicectl batch --file changes.txt") \
	VERB(RUN, IMPORT, "import", "QUBE FILE", "dry-run runtime check", CHANGE, \
		"take the rules of a qube from its firewall.xml", \
		"FILE is what Qubes keeps in dom0 in /var/lib/qubes/appvms/QUBE/firewall.xml. Its rules take the place of those of the qube, its port forwards are added, all of it or nothing. What has expired already is left out. --dry-run shows what it becomes and asks nobody; --check asks sluiced.", \
		"sluicectl import work firewall.xml --dry-run") \
	VERB(RUN, FLOWS, "flows", "[FILTER...]", "limit", LOOK, \
		"the connections that are tracked", \
		"Lines as conntrack -L writes them. FILTER: qube= proto= state= family= address= src= dst= port= sport= dport= inbound=; addresses may be prefixes.", \
		"sluicectl flows qube=work proto=tcp state=established dst=192.0.2.0/24 dport=443") \
	VERB(RUN, FLOWS_DELETE, "flows delete", "FILTER...", "all", CHANGE, \
		"end connections", \
		"They are reset at both ends.", \
		"sluicectl flows delete qube=work dst=192.0.2.7") \
	VERB(RUN, DROPS, "drops", "[DROPFILTER...]", "", LOOK, \
		"what was dropped and why, with the last packets", \
		"", \
		"sluicectl drops qube=work reason=policy") \
	VERB(RUN, EXPLAIN, "explain", "EXPLAIN...", "", LOOK, \
		"what would happen to a packet, and because of what", \
		"from= is a port or a qube, dst= an address. The answer comes from the tables in force; nothing is sent.", \
		"sluicectl explain from=work dst=1.1.1.1 proto=tcp dport=443") \
	VERB(RUN, TRACE, "trace", "[EXPRESSION]", "drops count port qube stages", LOOK, \
		"packets with their verdicts, as they pass", \
		"EXPRESSION is that of tcpdump, see pcap-filter(7).", \
		"sluicectl trace --drops tcp port 443") \
	VERB(RUN, CAPTURE, "capture", "[EXPRESSION]", "write drops count snaplen port qube", CHANGE, \
		"packets with all their bytes, for Wireshark", \
		"Writes pcapng with the verdict, its reason and the rule in the comment of each packet. EXPRESSION is that of tcpdump, see pcap-filter(7).", \
		"sluicectl capture -w - --drops host 192.0.2.7 | wireshark -k -i -") \
	VERB(RUN, EVENTS, "events", "[KIND...]", "", LOOK, \
		"what happens: policies, ports, forwards, budgets, drops", \
		"KIND: policy policy-refused port vif forward-added forward-deleted forward-expired rule-expired rules-refused source budget drop. All of them without.", \
		"sluicectl events policy forward-expired") \
	VERB(RUN, TOP, "top", "", "", LOOK, \
		"qubes with their rates, flows and refusals, on a screen", \
		"Keys: up and down choose, Enter shows one qube and Escape goes back, p f d n t sort by packets, flows, drops, name, bits, space pauses, q ends.", \
		"sluicectl top") \
	VERB(RUN, HELP, "help", "[VERB...]", "verbs", NONE, \
		"this table, or one line of it in full", \
		"", \
		"sluicectl help rules add") \
	VERB(RUN, COMPLETION, "completion", "bash|zsh|qubes|forwards", "", NONE, \
		"a completion script for a shell", \
		"qubes and forwards print what sluiced knows by name; the scripts ask that.", \
		"source <(sluicectl completion bash)") \
	VERB(RUN, VERSION, "version", "", "", NONE, \
		"the versions of sluicectl, and of sluiced if it answers", \
		"", \
		"sluicectl version")
/* clang-format on */

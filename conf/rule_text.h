/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rules and forwards as people write them, both ways: the syntax of qvm-firewall, as it comes over
 * the control socket, from an import, and as it is kept on disk.
 *
 *	action=accept dst4=192.0.2.0/24 proto=tcp dstports=443 expire=+300 comment="until lunch"
 *	action=forward forwardtype=external proto=tcp srcports=8443 dstports=443 expire=+5000
 *
 * Keys may come in any order, each once. Rules files and QubesDB have a stricter syntax of their
 * own: qubes_rule_parse in conf/conf.h. None of this links DPDK.
 */
#pragma once

#include "conf/conf.h"
#include "conf/rule_token.h"

/* Enough for every reason below, with its NUL. */
#define RULE_ERROR_SIZE 320

/**
 * Parse the text of a filter rule.
 * @param now_s unix time that `expire=+N` counts from and `expire=N` must lie behind; 0: there is
 *	no such time, and any unix time is taken
 * @param error out, on failure: the reason, `KEY: what is wrong` with `syntax` for no key
 * @return 0 with @p rule filled (free with rule_clear), or -EINVAL with it empty
 */
int rule_parse(const char *text, uint64_t now_s, struct rule *rule, char *error, size_t error_size);

/**
 * Write a filter rule in its canonical form: keys in Qubes' order, prefixes with their length,
 * ports as LOW-HIGH.
 * @param bare without expire and comment
 * @return allocated; NULL when out of memory
 */
char *rule_format(const struct rule *rule, bool bare);

/**
 * Parse the text of a forward. Its name and qube are not part of it: they stay empty. Without
 * srchost anyone may connect, without dstports they are those of srcports.
 * @return as rule_parse; the comment of @p forward is the caller's
 */
int forward_parse(const char *text, uint64_t now_s, struct conf_forward *forward, char *error,
	size_t error_size);

/** Write a forward in its canonical form. @return as rule_format */
char *forward_format(const struct conf_forward *forward, bool bare);

/** Whether a text asks for a forward: has action=forward. */
bool rule_text_is_forward(const char *text);

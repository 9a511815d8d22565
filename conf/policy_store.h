/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy store: turns wishes into one immutable struct policy.
 */
#pragma once

#include "conf/changes.h"

/**
 * Build a snapshot of a configuration. Qubes and ports keep the indices they have in @p previous,
 *by name, ports if device, role and qube are the same too; new ones get the lowest index that is
 *free, which one that is lost with this snapshot is not, nor one whose slot is taken still.
 *Compiled rules of a qube whose rules are the same as before are shared, not compiled again: @p
 *previous must live until this returns, and no longer.
 *
 * A ruleset that cannot be compiled makes its qube RULES_BAD (reported), like one that cannot be
 * parsed. Forwards whose time is over are left out (reported): build again when the next one
 * expires (forward_next_expiry).
 * @param previous the snapshot in force; NULL for the first one, whose indices are those of
 *	`conf->qubes` and `conf->ports` then
 * @param now_s unix time
 * @return 0; -E2BIG without a slot for a port, -EEXIST for an address with two owners, -ENOENT for
 *a forward or an allow of an unknown qube, -ENOMEM; all reported
 */
int policy_build(const struct conf *conf, const struct policy *previous, uint64_t now_s,
	const struct report *report, struct policy **out);

/**
 * The same of a configuration and what was changed over the control socket. Rules whose time is
 * over are left out: rules are numbered as those are that are left. Changes about qubes that are
 * not configured do nothing, nor do forwards that do not stand (changes_forward_stands).
 * @param changes NULL: none
 */
int policy_build_changed(const struct conf *conf, const struct changes *changes,
	const struct policy *previous, uint64_t now_s, const struct report *report,
	struct policy **out);

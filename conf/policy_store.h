/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The policy store: turns wishes into one immutable struct policy.
 */
#pragma once

#include "conf/conf.h"

/**
 * Build the first snapshot of a configuration. Port indices are those of `conf->ports`, qube
 * indices those of `conf->qubes`.
 *
 * A ruleset that cannot be compiled makes its qube RULES_BAD (reported), like one that cannot be
 * parsed.
 * @return 0; -EEXIST for an address with two owners (reported), -ENOMEM
 */
int policy_build(const struct conf *conf, const struct report *report, struct policy **out);

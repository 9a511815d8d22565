/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An explanation in words: the members of the control socket's answer, the text of each stage, and
 * one plain sentence.
 */
#pragma once

#include <jansson.h>

#include "app/daemon.h"
#include "app/explain.h"

/**
 * @param explain its answer is complete, by the policy in force
 * @return the answer of `explain`; NULL when out of memory
 */
json_t *explain_json(const struct explain *explain, const struct daemon *daemon);

/* SPDX-License-Identifier: BSD-3-Clause */
/* What trace and capture share. */
#pragma once

#include "app/ctl.h"

/**
 * Make the request of the options and of the filter among the words.
 * @return CTL_DONE, or a status, said
 */
int packets_request(const struct ctl_args *args, json_t **params);

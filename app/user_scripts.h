/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scripts that users of a network qube have, and that cannot have an effect on sluice.
 */
#pragma once

#include <stddef.h>

struct daemon;

/* Where Qubes keeps what is a qube's own. */
#define USER_CONFIG "/rw/config"

/**
 * Look for `qubes-firewall-user-script`, `qubes-firewall.d` and `network-hooks.d` with something in
 * them.
 * @param text out: what was found, for people
 * @return how many were found
 */
unsigned user_scripts_find(const char *folder, char *text, size_t text_size);

/** Tell the log and subscribers of those in USER_CONFIG. Control thread. */
void user_scripts_warn(struct daemon *daemon);

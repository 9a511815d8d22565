/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A packet of the control socket's `capture` as a frame of a pcapng file.
 *
 * Its comment says what became of it, as in `verdict=drop reason=rule rule=work/0003`, so that
 * Wireshark finds all drops by frame.comment contains "verdict=drop".
 */
#pragma once

#include <jansson.h>

#include "app/pcapng.h"

/**
 * Write @p packet, an element of `packets` in a `capture` notification.
 * @return 0; -EINVAL if it is not such a packet: nothing was written; -errno of the file
 */
int pcapng_write_packet(struct pcapng *pcapng, const json_t *packet);

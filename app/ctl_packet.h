/* SPDX-License-Identifier: BSD-3-Clause */
/* A packet as a line, much as tcpdump writes it, with what became of it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include <jansson.h>

/** @param packet PACKET of docs/control-socket.md @param stages also what each stage said */
void packet_print(FILE *stream, const json_t *packet, bool colour, bool stages);

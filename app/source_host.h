/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Our own kernel as a source: the host port's interface looks to it like the uplink, and with
 * `settings = host` the uplink has the addresses, gateways and resolvers that are set there.
 * Control thread.
 */
#pragma once

#include <stdbool.h>

#include "conf/conf.h"

struct daemon;
struct live;
struct source_host;

/**
 * Put into @p live what the kernel knows already, before anything is in force: after a restart that
 * is what was in force before. Nothing without `settings = host` in @p file.
 */
void source_host_look(const struct conf *file, struct live *live, const struct report *report);

/**
 * Configure the host port's interface and follow it. Nothing without a host port.
 * @return 0 or -errno, reported
 */
int source_host_open(struct daemon *daemon, const struct report *report);
void source_host_close(struct daemon *daemon);

/**
 * The file was read again, or the uplink has other settings: look at everything anew, soon. A host
 * port that came is followed from now on.
 */
void source_host_refresh(struct daemon *daemon);

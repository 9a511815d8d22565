/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The resolvers in a resolv.conf, as DHCP clients and systemd-resolved write it.
 */
#pragma once

#include "classifier/policy.h"

/* A longer file is none of these; what is behind is not read. */
#define RESOLV_CONF_BYTES_MAX (64u << 10)

/**
 * Find the IPv4 resolvers in a text: those of `nameserver` lines, in their order, each once.
 * Whatever else stands there is skipped, as the resolver library does; so are addresses
 * at which no host beyond the uplink can be, such as 127.0.0.53.
 * @return how many were found
 */
unsigned resolv_conf_parse_text(
	const char *text, size_t length, rte_be32_t resolver[RESOLVERS_MAX]);

/** Read them from a file. @return how many, or -errno */
int resolv_conf_read(const char *path, rte_be32_t resolver[RESOLVERS_MAX]);

/**
 * Put a file that names them in the place of what is there, a link too, in one step. Everybody may
 * read it.
 * @return 0 or -errno
 */
int resolv_conf_write(const char *path, const rte_be32_t *resolver, unsigned count);

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Values that stand in more than one kind of text: sluice.conf, rules, forwards over the control
 * socket, and what Qubes says of its qubes.
 *
 * A parser sees the value alone and says what is wrong with it, such as "is over 65535"; the caller
 * adds the place, the key and what is allowed.
 */
#pragma once

#include "classifier/address.h"
#include "classifier/forward.h"

/* Longest reason, with its NUL. */
#define REASON_SIZE 160

/* The last second of the year 9999: whoever counts in milliseconds by mistake is over it. */
#define EXPIRE_MAX UINT64_C(253402300799)

/** Write a reason. @return false, which is what the parser returns */
bool value_wrong(char *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A decimal number, digits only. @param most far below 2^64 / 10 */
bool value_decimal(const char *text, uint64_t least, uint64_t most, uint64_t *number, char *reason);

/** PORT or LOW-HIGH, host order. */
bool value_ports(const char *text, unsigned least, uint16_t *first, uint16_t *last, char *reason);

/** Any text, kept as a copy that takes the place of @p stored. */
bool value_text(char **stored, const char *text, char *reason);

/** What can name a port, a qube or a forward. */
bool value_name(const char *name, char *reason);

bool value_forward_side(const char *text, enum forward_side *side, char *reason);

/** tcp or udp, as IPPROTO_*. */
bool value_forward_protocol(const char *text, uint8_t *protocol, char *reason);

/** ADDRESS or ADDRESS/LENGTH of either family. */
bool value_prefix(const char *text, enum family *family, struct prefix *prefix, char *reason);

/**
 * A time that is to come: unix seconds, or +SECONDS from now.
 * @param now_s unix time; 0: any time is taken, but none from now
 */
bool value_expire(const char *text, uint64_t now_s, uint64_t *expire_s, char *reason);

/** What people may write about a rule: UTF-8 without control characters, not empty. */
bool value_comment(char **stored, const char *text, char *reason);

/** Tell whether one station can have an address. @param reason out, REASON_SIZE: why it cannot */
bool address_is_unicast(enum family family, const union address *address, char *reason);

/** Tell whether @p address is an IPv6 link-local one. */
bool address_is_link_local(enum family family, const union address *address);

/** An address of that family that one station can have. */
bool value_station(enum family family, const char *text, union address *address, char *reason);

/** One that a qube can have. */
bool value_qube_address(enum family family, const char *text, union address *address, char *reason);

/** A unicast MAC. */
bool value_mac(const char *text, uint8_t stored[6], char *reason);

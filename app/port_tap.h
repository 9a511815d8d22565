/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a TAP port can do beyond other ports: its device is ours to configure. Control thread.
 */
#pragma once

#include "app/port.h"

bool port_is_tap(const struct port *port);

/** The interface of our own kernel. */
const char *port_tap_name(const struct port *port);

/**
 * Give the interface the MAC and MTU of the uplink, and bring it up.
 * @param mtu longest IP packet, bytes
 * @return 0 or -errno
 */
int port_tap_follow(struct port *port, const uint8_t mac[6], uint16_t mtu);

/** Show our kernel whether there is a link. */
void port_tap_carrier(const struct port *port, bool up);

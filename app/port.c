/* SPDX-License-Identifier: BSD-3-Clause */
/* Which kind of port a device is; the rest is in files of their own. */
#include "app/port.h"

#include <errno.h>
#include <stdio.h>

int
port_open(struct port *port, const struct conf_port *conf, const struct port_setup *setup)
{
	snprintf(port->name, sizeof(port->name), "%s", conf->name);
	switch (conf->device) {
	case DEVICE_KERNEL:
		return port_kernel_open(port, conf->argument, setup);
	case DEVICE_PCI:
	case DEVICE_DPDK:
		return port_ethdev_open(port, conf, setup);
	case DEVICE_TAP:
		return port_tap_open(port, conf->argument, setup);
	}
	return -EINVAL;
}

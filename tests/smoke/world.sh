#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The world of `make run`, as a test.
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

world_require curl dig nc dnsmasq cmp
unset KEEP PCAP
exec "$WORLD_ROOT/tests/world.sh"

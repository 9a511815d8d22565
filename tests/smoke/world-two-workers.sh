#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The world of `make run` with two workers: every flow is owned by one of them, and half of all
# packets arrive at the other.
export WORKERS=2
exec "$(dirname "$0")/world.sh"

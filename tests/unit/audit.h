/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Do the books balance? What accounts, bindings and permissions say is counted once more, flow by
 * flow.
 */
#pragma once

#include "tests/unit/plane.h"

/**
 * Compare what is used of every account with what the flow tables hold, and with the limits in
 * force; external ports with the flows that hold them; permissions with the flows that they stand
 * for. No worker may be running.
 * @return NULL, or what does not fit, in words
 */
const char *plane_audit(const struct plane *plane);

/** Likewise when everything has expired: nothing is held at all, no external port is anybody's. */
const char *plane_audit_empty(const struct plane *plane);

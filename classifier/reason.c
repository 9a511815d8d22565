/* SPDX-License-Identifier: BSD-3-Clause */
#include "classifier/reason.h"

const struct reason_info reasons[REASON_COUNT] = {
	[REASON_NONE] = {"none", "the packet passes", ANSWER_SILENCE},
#define REASON_ROW(identifier, name, answer, help) \
	[REASON_##identifier] = {name, help, ANSWER_##answer},
	REASONS(REASON_ROW)
#undef REASON_ROW
};

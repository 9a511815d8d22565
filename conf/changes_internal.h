/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of changes share, and others do not need. */
#pragma once

#include "conf/changes.h"

/** Say why an operation is refused. @return @p code */
int change_refuse(struct change_error *error, int code, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

int change_no_memory(struct change_error *error);

/** Find a configured qube. @return 0 or -ENOENT, said */
int change_qube(const struct change_scope *scope, const char *name, const struct conf_qube **out,
	struct change_error *error);

/** The rules of a qube in a layer; NULL if there are none. */
const struct qube_change *changes_qube_find(
	const struct changes *changes, const char *qube, enum rule_origin layer);
void changes_qube_drop(struct changes *changes, const char *qube, enum rule_origin layer);
void changes_forward_drop(struct changes *changes, unsigned index);

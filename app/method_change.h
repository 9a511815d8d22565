/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the methods that change something share: parameters of all changes, transactions, errors
 * that say where, and who is told.
 */
#pragma once

#include "app/method.h"
#include "conf/changes.h"
#include "conf/rule_text.h"

/* One or several changes that are being made. */
struct change {
	struct changes *changes; /* with what has been changed so far */
	struct change_scope scope;
	struct change_error error;
	json_t *answer; /* what the operation that runs adds to the answer */
	json_t *events; /* to be told if all goes well: objects with `kind` beside the details */
};

/*
 * One operation. Its parameters are known by name; their values it checks itself.
 * @return 0 or an error of conf/changes.h with change->error filled
 */
typedef int (*change_fn)(struct change *change, const json_t *params);

int change_rules_set(struct change *change, const json_t *params);
int change_rules_add(struct change *change, const json_t *params);
int change_rules_insert(struct change *change, const json_t *params);
int change_rules_delete(struct change *change, const json_t *params);
int change_rules_policy(struct change *change, const json_t *params);
int change_rules_reset(struct change *change, const json_t *params);
int change_forward_add(struct change *change, const json_t *params);
int change_forward_delete(struct change *change, const json_t *params);

/** Refuse a parameter. @return -EINVAL */
int change_wrong(struct change *change, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Refuse the text of a rule. @param reason `KEY: what is wrong` @return -EINVAL */
int change_wrong_rule(struct change *change, int rule, const char *reason);

/** A text that must be there. @return NULL, said, when it is not */
const char *change_text(struct change *change, const json_t *params, const char *key);

/** Make the change that one method stands for, or all of a transaction, and answer. */
void change_request(struct control_request *request, enum method_id method, const json_t *params);

/** Add expire, left and comment, where there are any, to what is listed. */
void change_annotate(json_t *object, uint64_t expire_s, const char *comment, uint64_t now_s);

/** `file`, `kept` or `runtime`. */
const char *change_origin(enum rule_origin origin);

/** A text that may not be UTF-8, as JSON. */
json_t *change_string(const char *text);

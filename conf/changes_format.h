/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of kept changes are made of: JSON objects, one per line. changes_file.c makes the
 * base of them, changes_journal.c the records of the journal.
 *
 *	{"qube": "work", "policy": "drop", "source": "work.rules"}
 *	{"rule": "action=accept proto=tcp dstports=443-443", "line": 3}
 *	{"rule": "action=accept dst4=192.0.2.1/32 expire=1893456000 comment=lunch"}
 *	{"forward": "work-1", "qube": "work", "rule": "action=forward forwardtype=external ..."}
 *
 * In the base, rules belong to the qube above them; in a record, `rules` of a qube has them. A rule
 * with a line was copied from its source, a rules file.
 */
#pragma once

#include <jansson.h>

#include "conf/changes_internal.h"

#define CHANGES_NAME "changes.json"
#define JOURNAL_NAME "changes.journal"

/** FNV-1a: it finds what fails by itself; who means harm and may write here needs no checksum. */
uint64_t changes_checksum(const char *text, size_t length);

bool changes_is_over(uint64_t expire_s, uint64_t now_s);

/* As objects; NULL when out of memory. */

/** Without its rules. */
json_t *changes_qube_object(const struct qube_change *change);
json_t *changes_rule_object(const struct rule *rule);
json_t *changes_forward_object(const struct conf_forward *forward);

/* Reading. */
struct changes_reader {
	const char *path; /* for messages */
	unsigned line;    /* 1-based */
	uint64_t now_s;
	const struct report *report;
	struct changes *changes;  /* what was read so far */
	struct qube_change *qube; /* whose rules are being read */
	unsigned capacity;        /* of its rules */
	uint64_t sequence;        /* of the last record that is in `changes` */
	bool left_out;            /* something was over */
};

/** Report that the file is damaged, where, and what to do. @return -EINVAL */
int changes_damaged(struct changes_reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
int changes_read_no_memory(struct changes_reader *reader);

/*
 * Each takes one object, and returns 0 or -errno, reported. What is over is left out. After the
 * rules of a qube comes changes_read_qube_end.
 */
int changes_read_qube(struct changes_reader *reader, const json_t *object);
int changes_read_rule(struct changes_reader *reader, const json_t *object);
int changes_read_qube_end(struct changes_reader *reader);
int changes_read_forward(struct changes_reader *reader, const json_t *object);

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tcpdump's filters are compiled here, not in sluiced: a compiler is much code, its input is what
 * somebody typed, and the program that comes out of it is small and can be checked.
 */
#include "app/ctl_filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pcap/pcap.h>

/* More than any packet: the filter sees all that sluiced shows it. */
#define SNAPLEN 262144

static char *
words_join(const char *const *words, unsigned count)
{
	size_t length = 1;
	char *text, *end;

	for (unsigned i = 0; i < count; i++)
		length += strlen(words[i]) + 1;
	text = end = malloc(length);
	for (unsigned i = 0; text != NULL && i < count; i++)
		end += sprintf(end, "%s%s", i != 0 ? " " : "", words[i]);
	if (text != NULL)
		*end = '\0';
	return text;
}

json_t *
filter_compile(const char *const *words, unsigned count, char *error, size_t error_size)
{
	struct bpf_program program = {0};
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	char *expression = words_join(words, count);
	json_t *list = NULL;

	snprintf(error, error_size, "out of memory");
	if (pcap != NULL && expression != NULL) {
		if (pcap_compile(pcap, &program, expression, 1, PCAP_NETMASK_UNKNOWN) == 0)
			list = json_array();
		else
			snprintf(error, error_size, "\"%s\" is no filter: %s", expression,
				pcap_geterr(pcap));
	}
	for (unsigned i = 0; list != NULL && i < program.bf_len; i++) {
		const struct bpf_insn *line = &program.bf_insns[i];

		json_array_append_new(
			list, json_pack("[i, i, i, I]", (int)line->code, (int)line->jt,
				      (int)line->jf, (json_int_t)line->k));
	}
	pcap_freecode(&program);
	if (pcap != NULL)
		pcap_close(pcap);
	free(expression);
	return list;
}

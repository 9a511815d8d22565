/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each command is one transaction: a chain never exists without its policy. What is in force is
 * found by listing it: nft's own words for a chain that was just made are what it is compared with
 * later, so nothing here depends on how a version of nft writes them.
 */
#include "app/quiet_rules.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nftables/libnftables.h>

#define TABLE "netdev sluice"
#define CHAIN_PREFIX "port-"
#define CHAIN_BEGIN "\tchain " CHAIN_PREFIX

/* Cut a text of several lines after the first: a report is one line. */
static const char *
first_line(const char *text, char *line, size_t size)
{
	snprintf(line, size, "%s", text != NULL ? text : "");
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static struct nft_ctx *
context_new(void)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);

	if (nft != NULL && nft_ctx_buffer_error(nft) == 0 && nft_ctx_buffer_output(nft) == 0)
		return nft;
	if (nft != NULL)
		nft_ctx_free(nft);
	return NULL;
}

/* @param intent what the command is for, as in "cannot INTENT" */
static int
command_run(const char *command, const char *intent, char *error, size_t error_size)
{
	struct nft_ctx *nft = context_new();
	char line[128];
	int result = 0;

	if (nft == NULL) {
		snprintf(error, error_size, "libnftables does not start");
		return -ENOMEM;
	}
	if (nft_run_cmd_from_buffer(nft, command) != 0) {
		snprintf(error, error_size,
			"cannot %s: nftables: %s (is nf_tables in this kernel, and CAP_NET_ADMIN "
			"ours?)",
			intent, first_line(nft_ctx_get_error_buffer(nft), line, sizeof(line)));
		result = -ENOTSUP;
	}
	nft_ctx_free(nft);
	return result;
}

int
rules_drop(const char *ifname, char *error, size_t error_size)
{
	char intent[64 + IFNAMSIZ];
	char command[512];
	int result;

	snprintf(intent, sizeof(intent), "make the kernel drop what arrives on %s", ifname);
	/* "add" is silent about what exists already, and wakes a table that was made dormant. */
	snprintf(command, sizeof(command),
		"add table " TABLE "\n"
		"add chain " TABLE " " CHAIN_PREFIX "%s { type filter hook ingress device \"%s\" "
		"priority -500; policy drop; }\n"
		"flush chain " TABLE " " CHAIN_PREFIX "%s\n",
		ifname, ifname, ifname);
	result = command_run(command, intent, error, error_size);
	if (result != -ENOTSUP)
		return result;
	/* Somebody else's chain of that name, on another hook or on none. */
	snprintf(command, sizeof(command),
		"add table " TABLE "\n"
		"add chain " TABLE " " CHAIN_PREFIX "%s\n"
		"delete chain " TABLE " " CHAIN_PREFIX "%s\n"
		"add chain " TABLE " " CHAIN_PREFIX "%s { type filter hook ingress device \"%s\" "
		"priority -500; policy drop; }\n",
		ifname, ifname, ifname, ifname);
	return command_run(command, intent, error, error_size);
}

int
rules_delete(const char *ifname, char *error, size_t error_size)
{
	char intent[64 + IFNAMSIZ];
	char command[128];
	char *listing = rules_list();
	char *chain = listing != NULL ? rules_extract(listing, ifname) : NULL;
	int result = listing != NULL ? 0 : -ENOMEM;

	if (chain != NULL) {
		snprintf(intent, sizeof(intent), "delete the chain of %s", ifname);
		snprintf(command, sizeof(command),
			"flush chain " TABLE " " CHAIN_PREFIX "%s\n"
			"delete chain " TABLE " " CHAIN_PREFIX "%s\n",
			ifname, ifname);
		result = command_run(command, intent, error, error_size);
	}
	free(chain);
	free(listing);
	if (result != 0)
		return result;
	listing = rules_list();
	if (listing != NULL && listing[0] != '\0' && strstr(listing, "\tchain ") == NULL)
		result = command_run(
			"delete table " TABLE "\n", "delete the empty table", error, error_size);
	free(listing);
	return result;
}

char *
rules_list(void)
{
	struct nft_ctx *nft = context_new();
	char *listing;

	if (nft == NULL)
		return NULL;
	if (nft_run_cmd_from_buffer(nft, "list table " TABLE "\n") == 0)
		listing = strdup(nft_ctx_get_output_buffer(nft));
	else
		listing = strdup("");
	nft_ctx_free(nft);
	return listing;
}

char *
rules_extract(const char *listing, const char *ifname)
{
	const char *head_end = strstr(listing, "\tchain ");
	const char *begin, *end;
	char opening[64];
	char *text;

	snprintf(opening, sizeof(opening), CHAIN_BEGIN "%s {\n", ifname);
	begin = strstr(listing, opening);
	end = begin != NULL ? strstr(begin, "\n\t}") : NULL;
	if (end == NULL)
		return NULL;
	/* What stands before the first chain concerns all of them, such as that it is dormant. */
	if (asprintf(&text, "%.*s%.*s", (int)(head_end - listing), listing, (int)(end - begin),
		    begin) < 0)
		return NULL;
	return text;
}

void
rules_each(const char *listing, void (*found)(void *context, const char *ifname), void *context)
{
	const char *at = listing;

	while ((at = strstr(at, CHAIN_BEGIN)) != NULL) {
		size_t length;
		char ifname[IFNAMSIZ];

		at += strlen(CHAIN_BEGIN);
		length = strcspn(at, " \n");
		if (length == 0 || length >= sizeof(ifname))
			continue;
		snprintf(ifname, sizeof(ifname), "%.*s", (int)length, at);
		found(context, ifname);
	}
}

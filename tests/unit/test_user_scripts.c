/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which scripts of qubes-firewall's users are worth a word: those that do something.
 */
#include "app/user_scripts.h"
#include "tests/unit/unit.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[] = "/tmp/sluice-test-scripts-XXXXXX";
static char found[256];

static unsigned
find(void)
{
	return user_scripts_find(directory, found, sizeof(found));
}

static void
put(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT(fputs(text, file) >= 0);
	fclose(file);
}

static void
test_script(void)
{
	static const char *const harmless[] = {
		"", "\n\n", "#!/bin/sh\n\n# This script\n\t # is run\n", "# no end"};
	static const char *const harmful[] = {"#!/bin/sh\nnft add rule x\n", "nft", "\n \ttrue\n"};
	char text[2048] = "#";

	CU_ASSERT_EQUAL(find(), 0);
	for (unsigned i = 0; i < sizeof(harmless) / sizeof(harmless[0]); i++) {
		put("qubes-firewall-user-script", harmless[i]);
		CU_ASSERT_EQUAL(find(), 0);
		CU_ASSERT_STRING_EQUAL(found, "");
	}
	for (unsigned i = 0; i < sizeof(harmful) / sizeof(harmful[0]); i++) {
		put("qubes-firewall-user-script", harmful[i]);
		CU_ASSERT_EQUAL(find(), 1);
		CU_ASSERT_STRING_EQUAL(found + strlen(directory), "/qubes-firewall-user-script");
	}
	/* a comment longer than any buffer, and what comes after it */
	memset(text + 1, 'x', 1500);
	put("qubes-firewall-user-script", text);
	CU_ASSERT_EQUAL(find(), 0);
	strcat(text, "\nnft\n");
	put("qubes-firewall-user-script", text);
	CU_ASSERT_EQUAL(find(), 1);
	CU_ASSERT_EQUAL(unlink("qubes-firewall-user-script"), 0);
	/* nobody is kept waiting */
	CU_ASSERT_EQUAL(mkfifo("qubes-firewall-user-script", 0644), 0);
	CU_ASSERT_EQUAL(find(), 0);
	CU_ASSERT_EQUAL(unlink("qubes-firewall-user-script"), 0);
}

static void
test_folder(void)
{
	char name[64];

	CU_ASSERT_EQUAL(mkdir("qubes-firewall.d", 0755), 0);
	CU_ASSERT_EQUAL(find(), 0);
	put("qubes-firewall.d/.hidden", "x");
	CU_ASSERT_EQUAL(find(), 0);
	put("qubes-firewall.d/50-mine", "nft");
	CU_ASSERT_EQUAL(find(), 1);
	CU_ASSERT_STRING_EQUAL(found + strlen(directory), "/qubes-firewall.d/50-mine");
	/* more than can be said */
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "qubes-firewall.d/%u", i);
		put(name, "nft");
	}
	CU_ASSERT_EQUAL(find(), 21);
	CU_ASSERT(strlen(found) < sizeof(found));
}

/* Of hooks, those that can be executed were run. */
static void
test_hooks(void)
{
	unsigned before = find();

	CU_ASSERT_EQUAL(mkdir("network-hooks.d", 0755), 0);
	put("network-hooks.d/readme", "x");
	CU_ASSERT_EQUAL(chmod("network-hooks.d/readme", 0644), 0);
	CU_ASSERT_EQUAL(find(), before);
	put("network-hooks.d/10-route", "#!/bin/sh\nip rule add\n");
	CU_ASSERT_EQUAL(chmod("network-hooks.d/10-route", 0755), 0);
	CU_ASSERT_EQUAL(find(), before + 1);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the script", test_script},
		{"the folder", test_folder},
		{"hooks", test_hooks},
	};
	char command[64];
	int status;

	if (mkdtemp(directory) == NULL || chdir(directory) != 0)
		return 1;
	status = UNIT_RUN("user_scripts", tests);
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command) == 0 ? status : 1;
}

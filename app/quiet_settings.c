/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What settings were is noted in one file per interface, STATE-DIR/deaf/IFNAME, before the first of
 * them is changed. It says of which boot and interface it speaks: names come again, and then mean
 * something else. A file that is not believed is as good as none.
 */
#include "app/quiet_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "deaf"
#define VALUE_SIZE 16
#define BOOT_SIZE 40

/* What each interface has under /proc/sys/net, and what it must say. */
static const struct setting {
	const char *tree;
	const char *name;
	const char *value;
} settings[] = {
	{"ipv6", "disable_ipv6", "1"}, /* also takes the link-local address away */
	{"ipv4", "forwarding", "0"},
	{"ipv4", "arp_ignore", "8"}, /* answer for no local address */
	/* No source has its way back on an interface without addresses and routes, strict or, as
	   all/rp_filter may have it, loose: so nothing reaches an address that the kernel has
	   elsewhere. */
	{"ipv4", "rp_filter", "1"},
};
#define SETTING_COUNT (sizeof(settings) / sizeof(settings[0]))

/* What the file of an interface says. */
struct note {
	char boot[BOOT_SIZE];
	unsigned ifindex;
	char value[SETTING_COUNT][VALUE_SIZE];
};

static char state_dir[384];

void
settings_keep_in(const char *directory)
{
	/* One that is too long for it is as good as none. */
	if (strlen(directory) < sizeof(state_dir))
		snprintf(state_dir, sizeof(state_dir), "%s", directory);
}

/* The first line of a file. @return 0 or -errno */
static int
line_read(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length;

	line[0] = '\0';
	if (fd < 0)
		return -errno;
	length = read(fd, line, size - 1);
	if (length < 0)
		length = -errno;
	close(fd);
	if (length < 0)
		return (int)length;
	line[length] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

static void
setting_path(const struct setting *setting, const char *ifname, char *path, size_t size)
{
	snprintf(path, size, "/proc/sys/net/%s/conf/%s/%s", setting->tree, ifname, setting->name);
}

static int
setting_write(const struct setting *setting, const char *ifname, const char *value, char *error,
	size_t error_size)
{
	char path[128];
	int fd, result = 0;

	setting_path(setting, ifname, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0) {
		result = -errno;
		snprintf(error, error_size, "cannot write %s to %s: %s", value, path,
			strerror(-result));
	}
	if (fd >= 0)
		close(fd);
	return result;
}

/* @return 0, -ENOENT when this kernel, or this interface, does not have it, -errno */
static int
setting_read(const struct setting *setting, const char *ifname, char value[VALUE_SIZE])
{
	char path[128];

	setting_path(setting, ifname, path, sizeof(path));
	return line_read(path, value, VALUE_SIZE);
}

/* ---- notes */

static bool
note_path(const char *ifname, char *path, size_t size)
{
	return state_dir[0] != '\0' &&
	       snprintf(path, size, "%s/" FOLDER "/%s", state_dir, ifname) < (int)size;
}

static bool
boot_read(char boot[BOOT_SIZE])
{
	return line_read("/proc/sys/kernel/random/boot_id", boot, BOOT_SIZE) == 0 &&
	       boot[0] != '\0';
}

/* @return whether there is one that speaks of this interface and this boot */
static bool
note_read(const char *ifname, struct note *note)
{
	char boot[BOOT_SIZE];
	char path[512];
	FILE *file;
	bool good;

	memset(note, 0, sizeof(*note));
	if (!note_path(ifname, path, sizeof(path)) || !boot_read(boot))
		return false;
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	good = fscanf(file, "boot %39s\nifindex %u\n", note->boot, &note->ifindex) == 2 &&
	       strcmp(note->boot, boot) == 0 && note->ifindex == if_nametoindex(ifname);
	for (size_t i = 0; i < SETTING_COUNT && good; i++) {
		char tree[8], name[32];

		good = fscanf(file, "%7s %31s %15s\n", tree, name, note->value[i]) == 3 &&
		       strcmp(tree, settings[i].tree) == 0 && strcmp(name, settings[i].name) == 0;
	}
	fclose(file);
	return good;
}

void
settings_note(const char *ifname)
{
	struct note note;
	char path[512], draft[544], folder[512];
	FILE *file;
	bool written;

	if (!note_path(ifname, path, sizeof(path)) || note_read(ifname, &note) ||
		!boot_read(note.boot))
		return;
	snprintf(folder, sizeof(folder), "%s/" FOLDER, state_dir);
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		return;
	/* No interface is named like that: name_is_plain of quiet.c. */
	snprintf(draft, sizeof(draft), "%s/.%s.new", folder, ifname);
	file = fopen(draft, "we");
	if (file == NULL)
		return;
	fprintf(file, "boot %s\nifindex %u\n", note.boot, if_nametoindex(ifname));
	for (size_t i = 0; i < SETTING_COUNT; i++) {
		char value[VALUE_SIZE];

		/* what cannot be read has nothing to be given back */
		if (setting_read(&settings[i], ifname, value) != 0 || value[0] == '\0')
			snprintf(value, sizeof(value), "%s", settings[i].value);
		fprintf(file, "%s %s %s\n", settings[i].tree, settings[i].name, value);
	}
	written = fflush(file) == 0 && ferror(file) == 0;
	fclose(file);
	if (!written || rename(draft, path) != 0)
		(void)unlink(draft);
}

void
settings_forget(const char *ifname)
{
	char path[512];

	if (note_path(ifname, path, sizeof(path)))
		(void)unlink(path);
}

void
settings_each(void (*found)(void *context, const char *ifname), void *context)
{
	char pattern[512];
	glob_t names = {0};

	if (!note_path("*", pattern, sizeof(pattern)) || glob(pattern, 0, NULL, &names) != 0)
		return;
	for (size_t i = 0; i < names.gl_pathc; i++) {
		const char *name = strrchr(names.gl_pathv[i], '/') + 1;

		if (strlen(name) < IFNAMSIZ)
			found(context, name);
	}
	globfree(&names);
}

/* ---- the settings */

int
settings_quiet(const char *ifname, settings_fn told, void *context, char *error, size_t error_size)
{
	int result = 0;

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		const struct setting *setting = &settings[i];
		char was[VALUE_SIZE] = "unknown";
		char reason[192] = "";
		char name[128];
		int failed = setting_read(setting, ifname, was);

		/* Written only where it differs: somebody may have set it before making /proc
		   read-only. */
		if (failed == -ENOENT || (failed == 0 && strcmp(was, setting->value) == 0))
			continue;
		failed = setting_write(setting, ifname, setting->value, reason, sizeof(reason));
		/* it went while we looked */
		if (failed == -ENOENT)
			continue;
		if (failed != 0) {
			result = failed;
			snprintf(error, error_size, "%s", reason);
		}
		snprintf(name, sizeof(name), "net.%s.conf.%s.%s", setting->tree, ifname,
			setting->name);
		if (told != NULL)
			told(context, name, was, failed != 0 ? reason : NULL);
	}
	return result;
}

int
settings_restore(const char *ifname, char *error, size_t error_size)
{
	struct note note;
	bool noted = note_read(ifname, &note);
	int result = 0;

	for (size_t i = 0; i < SETTING_COUNT; i++) {
		char value[VALUE_SIZE], now[VALUE_SIZE];
		int failed = setting_read(&settings[i], ifname, now);

		if (failed == -ENOENT)
			continue;
		if (noted)
			snprintf(value, sizeof(value), "%s", note.value[i]);
		else
			failed = setting_read(&settings[i], "default", value);
		if (failed == 0 && strcmp(value, now) != 0)
			failed = setting_write(&settings[i], ifname, value, error, error_size);
		else if (failed != 0)
			snprintf(error, error_size, "cannot read net.%s.conf.default.%s: %s",
				settings[i].tree, settings[i].name, strerror(-failed));
		if (failed != 0)
			result = failed;
	}
	if (result == 0)
		settings_forget(ifname);
	return result;
}

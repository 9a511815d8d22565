/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qubes-firewall runs them when it starts, and what they hold is nft commands: rules of a kernel
 * that does not see packets any more. Hooks are run by the vif script that vif-route-sluice stands
 * in for. Whoever relies on them must know, so it is said at each start.
 */
#include "app/user_scripts.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/event.h"

#define SCRIPT "qubes-firewall-user-script"
#define SCRIPTS "qubes-firewall.d"
#define HOOKS "network-hooks.d"
/* Of a script that is read: whoever has longer comments than that has a script. */
#define SCRIPT_BYTES_MAX 65536

/* Whether it has a line that is more than a comment: the one that Qubes puts there has none. */
static bool
script_does_something(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool found = false, continued = false;
	size_t read = 0;
	struct stat status;
	char line[512];
	FILE *file;

	if (fd < 0)
		return false;
	file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode) ? fdopen(fd, "r") : NULL;
	if (file == NULL) {
		close(fd);
		return false;
	}
	while (!found && fgets(line, sizeof(line), file) != NULL) {
		const char *text = line + strspn(line, " \t\r\n");

		found = !continued && *text != '\0' && *text != '#';
		/* the rest of a long comment is a comment */
		continued = strchr(line, '\n') == NULL;
		read += strlen(line);
		found |= read > SCRIPT_BYTES_MAX;
	}
	fclose(file);
	return found;
}

/* What was found, for people, as far as there is room. */
struct scripts {
	char *text;
	size_t size, used;
	unsigned count;
};

static void
scripts_add(struct scripts *scripts, const char *path)
{
	if (scripts->used < scripts->size)
		scripts->used += (size_t)snprintf(scripts->text + scripts->used,
			scripts->size - scripts->used, "%s%s", scripts->used != 0 ? ", " : "",
			path);
	scripts->count++;
}

/* @param runnable only what can be executed: nothing else is run there */
static void
scripts_look(struct scripts *scripts, const char *folder, const char *name, bool runnable)
{
	const struct dirent *entry;
	char path[512];
	DIR *directory;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	directory = opendir(path);
	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		snprintf(path, sizeof(path), "%s/%s/%s", folder, name, entry->d_name);
		if (entry->d_name[0] != '.' && (!runnable || access(path, X_OK) == 0))
			scripts_add(scripts, path);
	}
	if (directory != NULL)
		closedir(directory);
}

unsigned
user_scripts_find(const char *folder, char *text, size_t text_size)
{
	struct scripts scripts = {.text = text, .size = text_size};
	char path[512];

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/" SCRIPT, folder);
	if (script_does_something(path))
		scripts_add(&scripts, path);
	scripts_look(&scripts, folder, SCRIPTS, false);
	scripts_look(&scripts, folder, HOOKS, true);
	return scripts.count;
}

void
user_scripts_warn(struct daemon *daemon)
{
	char found[1024];
	unsigned count = user_scripts_find(USER_CONFIG, found, sizeof(found));

	if (count == 0)
		return;
	event_emit(daemon, "user-scripts",
		json_pack("{s:o, s:s, s:i}", "text",
			json_sprintf("%s has no effect: sluice runs no scripts; put what they "
				     "do into " USER_CONFIG "/sluice.d/*.conf",
				found),
			"found", found, "count", (int)count));
}

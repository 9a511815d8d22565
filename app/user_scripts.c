/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * qubes-firewall runs them when it starts, and what they hold is nft commands: rules of a kernel
 * that does not see packets any more. Whoever relies on them must know, so it is said at each
 * start.
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

unsigned
user_scripts_find(const char *folder, char *text, size_t text_size)
{
	const struct dirent *entry;
	unsigned count = 0;
	char path[512];
	size_t used = 0;
	DIR *scripts;

	text[0] = '\0';
	snprintf(path, sizeof(path), "%s/" SCRIPT, folder);
	if (script_does_something(path)) {
		used = (size_t)snprintf(text, text_size, "%s", path);
		count++;
	}
	snprintf(path, sizeof(path), "%s/" SCRIPTS, folder);
	scripts = opendir(path);
	while (scripts != NULL && (entry = readdir(scripts)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		if (used < text_size)
			used += (size_t)snprintf(text + used, text_size - used, "%s%s/%s",
				used != 0 ? ", " : "", path, entry->d_name);
		count++;
	}
	if (scripts != NULL)
		closedir(scripts);
	return count;
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
			json_sprintf("%s has no effect: sluice does not run commands for nft; put "
				     "what they do into " USER_CONFIG "/sluice.d/*.conf",
				found),
			"found", found, "count", (int)count));
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/resolv_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

#include "classifier/guard.h"

#define KEYWORD "nameserver"

static bool
is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

/* The address of a line that names a resolver. */
static bool
line_take(const char *line, size_t length, union address *address)
{
	const size_t keyword = sizeof(KEYWORD) - 1;
	char text[ADDRESS_TEXT_SIZE];
	enum family family;
	size_t at = keyword, end;

	if (length <= keyword || memcmp(line, KEYWORD, keyword) != 0 || !is_blank(line[at]))
		return false;
	while (at < length && is_blank(line[at]))
		at++;
	for (end = at; end < length && !is_blank(line[end]) && line[end] != '\r'; end++)
		;
	if (end - at >= sizeof(text))
		return false;
	memcpy(text, line + at, end - at);
	text[end - at] = '\0';
	return address_parse(text, &family, address) == 0 && family == FAMILY_IPV4 &&
	       !address_is_martian(family, address);
}

unsigned
resolv_conf_parse_text(const char *text, size_t length, rte_be32_t resolver[RESOLVERS_MAX])
{
	unsigned count = 0;

	for (size_t at = 0; at < length && count < RESOLVERS_MAX;) {
		const char *newline = memchr(text + at, '\n', length - at);
		size_t end = newline != NULL ? (size_t)(newline - text) : length;
		union address address;
		bool known = false;

		if (line_take(text + at, end - at, &address)) {
			for (unsigned i = 0; i < count; i++)
				known |= resolver[i] == address.v4;
			if (!known)
				resolver[count++] = address.v4;
		}
		at = end + 1;
	}
	return count;
}

int
resolv_conf_read(const char *path, rte_be32_t resolver[RESOLVERS_MAX])
{
	static char text[RESOLV_CONF_BYTES_MAX];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat status;
	size_t used = 0;
	int error = 0;

	if (fd < 0)
		return -errno;
	/* A pipe would keep us waiting for who never writes. */
	if (fstat(fd, &status) != 0)
		error = -errno;
	else if (!S_ISREG(status.st_mode))
		error = -EINVAL;
	while (error == 0 && used < sizeof(text)) {
		ssize_t got = read(fd, text + used, sizeof(text) - used);

		if (got < 0 && errno != EINTR)
			error = -errno;
		if (got == 0)
			break;
		if (got > 0)
			used += (size_t)got;
	}
	close(fd);
	return error != 0 ? error : (int)resolv_conf_parse_text(text, used, resolver);
}

int
resolv_conf_write(const char *path, const rte_be32_t *resolver, unsigned count)
{
	char text[ADDRESS_TEXT_SIZE];
	char *draft;
	FILE *file;
	int error = 0;

	if (asprintf(&draft, "%s.sluice", path) < 0)
		return -ENOMEM;
	(void)unlink(draft);
	file = fopen(draft, "wxe");
	if (file == NULL) {
		error = -errno;
		free(draft);
		return error;
	}
	fputs("# written by sluiced: sluice.conf(5), settings = uplink\n", file);
	for (unsigned i = 0; i < count; i++) {
		const union address address = {.v4 = resolver[i]};

		fprintf(file, KEYWORD " %s\n", address_format(text, FAMILY_IPV4, &address));
	}
	/* everybody's to read, whatever the umask */
	if (fflush(file) != 0 || fchmod(fileno(file), 0644) != 0)
		error = -errno;
	if (fclose(file) != 0 && error == 0)
		error = -errno;
	if (error == 0 && rename(draft, path) != 0)
		error = -errno;
	if (error != 0)
		(void)unlink(draft);
	free(draft);
	return error;
}

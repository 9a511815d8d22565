/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluice.conf: from a file to a struct conf.
 *
 * libinih splits KEY = VALUE lines. It is lenient where a firewall must not be (over-long lines are
 * split, names cut, unknown shapes skipped) and does not say where a section starts, so it reads
 * through a reader of ours that hands out one checked line at a time:
 *
 *	file -> line_read(): bytes, comments, sections, line numbers -> inih -> key_take() -> keys[]
 *
 * A line that is wrong is reported and reaches inih as an empty one. Nothing stops at the first
 * error, so that one run shows all there is to fix.
 */
#include "conf/include.h"
#include "conf/live.h"
#include "conf/loader.h"
#include "conf/value.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_common.h>

/* Larger files are no configuration: 1,000 qubes with everything fit in a tenth of it. */
#define CONF_BYTES_MAX (8u << 20)
#define RULES_BYTES_MAX (4u << 20)
/* Longest line given to inih where its limit can be set (Debian's build); else its own, 200. */
#define LINE_BYTES_MAX 4096

/* Absent from builds of inih that fix the limit when they are compiled. */
extern int ini_max_line __attribute__((weak));

/*
 * Sections with a name describe one object each, in an array of their kind; the others describe the
 * struct conf itself. Every such object begins with its name.
 */
static const struct {
	const char *name;
	size_t object_size;        /* bytes; 0: the section has no name */
	size_t array, count, line; /* offsets: of the first two in struct conf */
	unsigned max;
} section_kinds[SECTION_KINDS] = {
#define OBJECTS(type, elements, counter, most)                                        \
	.object_size = sizeof(struct type), .array = offsetof(struct conf, elements), \
	.count = offsetof(struct conf, counter), .line = offsetof(struct type, line), .max = most
	[SECTION_SLUICE] = {.name = "sluice"},
	[SECTION_GATEWAY] = {.name = "gateway"},
	[SECTION_PORT] = {"port", OBJECTS(conf_port, ports, port_count, PORTS_MAX)},
	[SECTION_QUBE] = {"qube", OBJECTS(conf_qube, qubes, qube_count, QUBES_MAX)},
	[SECTION_FORWARD] = {"forward",
		OBJECTS(conf_forward, forwards, forward_count, FORWARDS_MAX)},
	[SECTION_ALLOW] = {"allow", OBJECTS(conf_allow, allows, allow_count, ALLOWS_MAX)},
	[SECTION_LIMITS] = {.name = "limits"},
	[SECTION_TIMEOUTS] = {.name = "timeouts"},
	[SECTION_QUBES] = {.name = "qubes"},
#undef OBJECTS
};
_Static_assert(offsetof(struct conf_port, name) == 0 && offsetof(struct conf_qube, name) == 0 &&
		       offsetof(struct conf_forward, name) == 0 &&
		       offsetof(struct conf_allow, name) == 0,
	"the object of a section begins with its name");
#define SECTIONS_ALLOWED                                                                          \
	"[sluice], [gateway], [port NAME], [qube NAME], [forward NAME], [allow NAME], [limits], " \
	"[timeouts], [qubes]"

/* What the keys of a section are stored in. */
static void *
section_object(const struct conf *conf, enum section_kind kind, unsigned index)
{
	size_t size = section_kinds[kind].object_size;
	char *array;

	if (size == 0)
		return (void *)(uintptr_t)conf;
	memcpy(&array, (const char *)conf + section_kinds[kind].array, sizeof(array));
	return array + size * index;
}

static const char *
section_name(const struct conf *conf, const struct section *section)
{
	if (section_kinds[section->kind].object_size == 0)
		return "";
	return section_object(conf, section->kind, section->index);
}

void
loader_error(struct loader *loader, unsigned line, const char *key, const char *format, ...)
{
	char reason[1024];
	char place[PLACE_SIZE];
	va_list arguments;

	if (loader->errors++ >= ERRORS_MAX)
		return;
	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	report_line(loader->report, "%s: %s%s%s", conf_place(loader->conf, line, place),
		key ? key : "", key ? ": " : "", reason);
	if (loader->errors == ERRORS_MAX)
		report_line(loader->report, "%s: %u errors, further ones are not shown",
			loader->conf->path, ERRORS_MAX);
}

const char *
section_title(
	const struct conf *conf, const struct section *section, char title[SECTION_TITLE_SIZE])
{
	const char *name = section_name(conf, section);

	snprintf(title, SECTION_TITLE_SIZE, "[%s%s%s]", section_kinds[section->kind].name,
		name[0] != '\0' ? " " : "", name);
	return title;
}

/* Make room for one more element; arrays grow by doubling, from a power of two. */
static bool
array_grow(void **array, unsigned count, size_t element_size)
{
	void *grown;

	if (count != 0 && (count < 8 || (count & (count - 1)) != 0))
		return true;
	grown = reallocarray(*array, RTE_MAX(count * 2, 8u), element_size);
	if (grown == NULL)
		return false;
	*array = grown;
	return true;
}

static struct section *
section_search(const struct conf *conf, enum section_kind kind, const char *name)
{
	for (unsigned i = 0; i < conf->section_count; i++) {
		struct section *section = &conf->sections[i];

		if (section->kind == kind && strcmp(section_name(conf, section), name) == 0)
			return section;
	}
	return NULL;
}

const struct section *
section_find(const struct conf *conf, enum section_kind kind, const char *name)
{
	return section_search(conf, kind, name);
}

static unsigned *
object_count(struct conf *conf, enum section_kind kind)
{
	return (unsigned *)(void *)((char *)conf + section_kinds[kind].count);
}

/* Add the object that a section with a name describes. @return false when there is no room */
static bool
object_add(struct loader *loader, enum section_kind kind, const char *name, unsigned *index)
{
	void **array = (void **)(void *)((char *)loader->conf + section_kinds[kind].array);
	unsigned *count = object_count(loader->conf, kind);
	char *object;

	if (!array_grow(array, *count, section_kinds[kind].object_size))
		return false;
	*index = (*count)++;
	object = section_object(loader->conf, kind, *index);
	memset(object, 0, section_kinds[kind].object_size);
	snprintf(object, NAME_SIZE, "%s", name);
	memcpy(object + section_kinds[kind].line, &loader->line, sizeof(loader->line));
	return true;
}

static void
section_add(struct loader *loader, enum section_kind kind, const char *name)
{
	struct conf *conf = loader->conf;
	unsigned index = 0;

	if (!array_grow((void **)&conf->sections, conf->section_count, sizeof(*conf->sections)) ||
		(section_kinds[kind].object_size != 0 && !object_add(loader, kind, name, &index))) {
		loader_error(loader, loader->line, NULL, "out of memory");
		return;
	}
	loader->current = &conf->sections[conf->section_count++];
	*loader->current = (struct section){
		.kind = kind, .index = index, .line = loader->line, .file = loader->file};
}

/*
 * Our own kernel is a qube without addresses of its own. Where the port that is for it names none,
 * there is one with the port's name, from which everything is accepted.
 */
static void
host_complete(struct loader *loader)
{
	struct conf *conf = loader->conf;

	for (unsigned i = 0; i < conf->port_count; i++) {
		struct conf_port *port = &conf->ports[i];
		const struct section *taken = section_find(conf, SECTION_QUBE, port->name);
		unsigned sections = conf->section_count;

		if (port->role != ROLE_HOST || port->qube[0] != '\0')
			continue;
		if (taken != NULL) {
			loader_error(loader, port->line, "qube",
				"is missing: [qube %s] (line %u) may be meant, or not", port->name,
				taken->line);
			continue;
		}
		if (conf->qube_count == QUBES_MAX) {
			loader_error(loader, port->line, NULL, "more than %u qubes", QUBES_MAX);
			continue;
		}
		loader->line = port->line;
		section_add(loader, SECTION_QUBE, port->name);
		if (conf->section_count == sections)
			continue;
		memcpy(port->qube, port->name, sizeof(port->qube));
		conf->qubes[loader->current->index].accepts_all = true;
	}
	for (unsigned i = 0; i < conf->port_count; i++)
		for (unsigned j = 0; j < conf->qube_count; j++)
			if (conf->ports[i].role == ROLE_HOST &&
				strcmp(conf->ports[i].qube, conf->qubes[j].name) == 0)
				conf->qubes[j].host = true;
}

/* Take a section header, @p text from its bracket on, without blanks at its end. */
static void
section_open(struct loader *loader, char *text)
{
	struct section *first;
	char place[PLACE_SIZE];
	char *bracket = strchr(text, ']');
	char reason[REASON_SIZE];
	unsigned kind;
	bool named;
	char *name;

	loader->any_section = true;
	loader->current = NULL;
	if (bracket == NULL || bracket[1] != '\0') {
		loader_error(loader, loader->line, NULL, "\"%.64s\" is no section header, %s", text,
			bracket == NULL ? "\"]\" is missing" : "text follows its \"]\"");
		return;
	}
	*bracket = '\0';
	text++;
	name = text + strcspn(text, " \t");
	if (*name != '\0') {
		*name++ = '\0';
		name += strspn(name, " \t");
	}
	for (kind = 0; kind < SECTION_KINDS; kind++)
		if (strcmp(text, section_kinds[kind].name) == 0)
			break;
	if (kind == SECTION_KINDS) {
		loader_error(loader, loader->line, NULL,
			"unknown section [%.64s]; allowed: " SECTIONS_ALLOWED, text);
		return;
	}
	named = section_kinds[kind].object_size != 0;
	if (!named && *name != '\0') {
		loader_error(loader, loader->line, NULL,
			"[%s] takes no name, \"%.64s\" is too much", text, name);
		return;
	}
	if (named && !value_name(name, reason)) {
		loader_error(loader, loader->line, NULL,
			"[%s NAME]: name \"%.64s\" %s; allowed: 1 to %u letters, digits and - _ .",
			text, name, reason, NAME_SIZE - 1);
		return;
	}
	first = section_search(loader->conf, kind, name);
	if (first != NULL && first->file == loader->file) {
		loader_error(loader, loader->line, NULL,
			"[%s%s%s] stands a second time, first %s%s", text, *name ? " " : "", name,
			conf_file_same(loader->conf, loader->line, first->line) ? "on " : "at ",
			conf_other_place(loader->conf, loader->line, first->line, place));
		return;
	}
	if (first != NULL) {
		first->file = loader->file;
		loader->current = first;
		return;
	}
	if (named && *object_count(loader->conf, kind) == section_kinds[kind].max) {
		loader_error(loader, loader->line, NULL, "more than %u %ss",
			section_kinds[kind].max, text);
		return;
	}
	section_add(loader, kind, name);
}

/* Check the bytes of a line. @return false after an error that hides the rest of it */
static bool
bytes_check(struct loader *loader, const char **text, size_t *length)
{
	if (loader->line == loader->first && *length >= 3 &&
		memcmp(*text, "\xef\xbb\xbf", 3) == 0) {
		loader_error(loader, loader->line, NULL,
			"starts with a byte order mark; save it without");
		*text += 3;
		*length -= 3;
	}
	if (*length != 0 && (*text)[*length - 1] == '\r') {
		if (!loader->dos)
			loader_error(loader, loader->line, NULL,
				"DOS line end (byte 0x0d); save the file with Unix line ends");
		loader->dos = true;
		--*length;
	}
	for (size_t i = 0; i < *length; i++) {
		unsigned char byte = (unsigned char)(*text)[i];

		if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
			loader_error(loader, loader->line, NULL, "byte 0x%02x is not text", byte);
			return false;
		}
	}
	return true;
}

/* Cut the comment and the blanks around what is left. */
static void
line_trim(const char **text, size_t *length)
{
	for (size_t i = 0; i < *length; i++)
		if (((*text)[i] == ';' || (*text)[i] == '#') &&
			(i == 0 || (*text)[i - 1] == ' ' || (*text)[i - 1] == '\t')) {
			*length = i;
			break;
		}
	while (*length != 0 && ((*text)[0] == ' ' || (*text)[0] == '\t')) {
		++*text;
		--*length;
	}
	while (*length != 0 && ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == '\t'))
		--*length;
}

/* Check the shape of the trimmed line in @p buffer. @return whether inih may see it */
static bool
line_check(struct loader *loader, char *buffer)
{
	const char *equals = strchr(buffer, '=');
	size_t length;

	if (buffer[0] == '[') {
		section_open(loader, buffer);
		return false;
	}
	if (equals == NULL) {
		loader_error(loader, loader->line, NULL,
			"\"%.64s\" is neither [SECTION] nor KEY = VALUE", buffer);
		return false;
	}
	/* inih also splits at a colon; keys of this alphabet leave it only the `=`. */
	length = strspn(buffer, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (length == 0 || buffer + length + strspn(buffer + length, " \t") != equals) {
		loader_error(loader, loader->line, NULL,
			"key in \"%.64s\" is wrong; allowed: a-z, 0-9 and -", buffer);
		return false;
	}
	return true;
}

/* The reader for inih, in the manner of fgets(): one line per call, never a piece of one. */
static char *
line_read(char *buffer, int size, void *context)
{
	struct loader *loader = context;
	const char *text = loader->cursor;
	const char *newline;
	size_t length;

	if (text == loader->end || loader->errors >= ERRORS_MAX)
		return NULL;
	newline = memchr(text, '\n', (size_t)(loader->end - text));
	length = (size_t)((newline != NULL ? newline : loader->end) - text);
	loader->line++;
	loader->cursor = text + length + (newline != NULL);

	strcpy(buffer, "\n");
	if (!bytes_check(loader, &text, &length))
		return buffer;
	line_trim(&text, &length);
	if (length + 2 > (size_t)size) {
		loader_error(loader, loader->line, NULL, "line is longer than %d bytes", size - 2);
		if (text[0] == '[')
			loader->current = NULL;
		return buffer;
	}
	memcpy(buffer, text, length);
	buffer[length] = '\0';
	if (length == 0 || !line_check(loader, buffer))
		length = 0;
	strcpy(buffer + length, "\n");
	return buffer;
}

static void
unknown_key(struct loader *loader, const char *name)
{
	char title[SECTION_TITLE_SIZE];
	char allowed[320] = "";
	size_t used = 0;

	for (unsigned i = 0; i < KEY_COUNT; i++)
		if (keys[i].section == loader->current->kind && used < sizeof(allowed))
			used += (size_t)snprintf(allowed + used, sizeof(allowed) - used, "%s%s",
				used != 0 ? ", " : "", keys[i].name);
	loader_error(loader, loader->line, name, "unknown key in %s; allowed: %s",
		section_title(loader->conf, loader->current, title), allowed);
}

static void
key_store(struct loader *loader, const struct key *key, const char *value)
{
	struct section *section = loader->current;
	char reason[REASON_SIZE] = "is wrong";
	char range[32] = "";
	void *object = section_object(loader->conf, section->kind, section->index);

	if (key->max != 0)
		snprintf(range, sizeof(range), "%u..%u, ", key->min, key->max);
	if (value[0] == '\0')
		loader_error(loader, loader->line, key->name, "has no value; allowed: %s%s", range,
			key->allowed);
	else if (!key->parse(key, object, value, reason))
		loader_error(loader, loader->line, key->name, "\"%.64s\" %s; allowed: %s%s", value,
			reason, range, key->allowed);
	else
		section->key_valid[key - keys] = true;
}

/* The handler for inih. The section comes from the reader: inih's copy is cut at 50 bytes. */
static int
key_take(void *context, const char *section_name, const char *name, const char *value)
{
	struct loader *loader = context;
	struct section *section = loader->current;
	char place[PLACE_SIZE];
	unsigned i;

	(void)section_name;
	if (section == NULL) {
		/* The keys of a section that was refused would only repeat its error. */
		if (!loader->any_section)
			loader_error(loader, loader->line, name,
				"stands before the first section; allowed: " SECTIONS_ALLOWED);
		return 1;
	}
	for (i = 0; i < KEY_COUNT; i++)
		if (keys[i].section == section->kind && strcmp(keys[i].name, name) == 0)
			break;
	if (i == KEY_COUNT) {
		unknown_key(loader, name);
	} else if (section->key_line[i] != 0) {
		loader_error(loader, loader->line, name, "stands a second time, first %s%s",
			conf_file_same(loader->conf, loader->line, section->key_line[i]) ? "on "
											 : "at ",
			conf_other_place(loader->conf, loader->line, section->key_line[i], place));
	} else {
		section->key_line[i] = loader->line;
		key_store(loader, &keys[i], value);
	}
	return 1;
}

/* Who may have written a file. */
enum trust {
	TRUST_ANY,     /* the user has named it */
	TRUST_REGULAR, /* no pipes and devices, which could keep the daemon waiting */
	TRUST_OWNED,   /* and of root or ourselves, because it was found by its name */
};

/* Nobody else can have written it. */
static bool
is_owned(const struct stat *status)
{
	return (status->st_uid == 0 || status->st_uid == geteuid()) &&
	       (status->st_mode & S_IWOTH) == 0;
}

/* Read a whole file, at most @p size_max bytes. The text gets a NUL behind its end. */
static int
file_read(const char *path, size_t size_max, enum trust trust, char **text, size_t *length)
{
	int file = open(path, O_RDONLY | O_CLOEXEC | (trust != TRUST_ANY ? O_NONBLOCK : 0));
	size_t capacity = 64 << 10;
	char *buffer = NULL;
	struct stat status;
	size_t used = 0;
	int error = 0;
	ssize_t got;

	if (file < 0)
		return -errno;
	if (fstat(file, &status) != 0)
		error = -errno;
	else if (S_ISDIR(status.st_mode))
		error = -EISDIR;
	else if (trust != TRUST_ANY && !S_ISREG(status.st_mode))
		error = -EINVAL;
	else if (trust == TRUST_OWNED && !is_owned(&status))
		error = -EPERM;
	while (error == 0) {
		char *grown = NULL;

		if (buffer == NULL || used + 1 == capacity) {
			capacity = buffer == NULL ? capacity : capacity * 2;
			grown = realloc(buffer, capacity);
			if (grown == NULL) {
				error = -ENOMEM;
				break;
			}
			buffer = grown;
		}
		got = read(file, buffer + used, capacity - 1 - used);
		if (got < 0 && errno != EINTR)
			error = -errno;
		if (got == 0)
			break;
		if (got > 0)
			used += (size_t)got;
		if (used > size_max)
			error = -EFBIG;
	}
	close(file);
	if (error != 0) {
		free(buffer);
		return error;
	}
	buffer[used] = '\0';
	*text = buffer;
	*length = used;
	return 0;
}

static const char *
file_reason(int error)
{
	if (error == -EFBIG)
		return "too large for what it is said to be";
	if (error == -EINVAL)
		return "not a regular file";
	if (error == -EPERM)
		return "may have been written by anybody; allowed: files of root that others "
		       "cannot write";
	return strerror(-error);
}

/* Make the path of a rules file one that can be opened from anywhere. */
static char *
path_resolve(const char *conf_path, const char *path)
{
	const char *slash = strrchr(conf_path, '/');
	char *resolved;

	if (path[0] == '/' || slash == NULL)
		return strdup(path);
	if (asprintf(&resolved, "%.*s/%s", (int)(slash - conf_path), conf_path, path) < 0)
		return NULL;
	return resolved;
}

static unsigned
line_count(const char *text, const char *end)
{
	unsigned line = 1;

	for (; text < end; text++)
		line += *text == '\n';
	return line;
}

static int
rules_load(struct conf_qube *qube)
{
	char *text = NULL;
	size_t length = 0;
	int error, written = 0;

	error = file_read(qube->rules_path, RULES_BYTES_MAX, TRUST_REGULAR, &text, &length);
	if (error != 0 || text == NULL) {
		written = asprintf(
			&qube->rules_error, "%s: %s", qube->rules_path, file_reason(error));
	} else if (strlen(text) != length) {
		error = -EINVAL;
		written = asprintf(&qube->rules_error, "%s:%u: syntax: byte 0x00 is not text",
			qube->rules_path, line_count(text, text + strlen(text)));
	} else {
		error = rules_parse(qube->rules_path, text, &qube->ruleset, &qube->rules_error);
	}
	free(text);
	if (written < 0)
		qube->rules_error = NULL;
	return error;
}

/* The file in which it was said where the rules of a qube are. */
static const char *
rules_key_path(const struct conf *conf, const struct conf_qube *qube)
{
	const struct section *section = section_find(conf, SECTION_QUBE, qube->name);

	return conf_file_path(
		conf, section != NULL ? section->key_line[KEY_QUBE_RULES] : qube->line);
}

/* Read the rules of every qube that has some. An error there refuses the qube, not the file. */
static int
rules_load_all(struct conf *conf, const struct report *report)
{
	for (unsigned i = 0; i < conf->qube_count; i++) {
		struct conf_qube *qube = &conf->qubes[i];
		char *path;

		qube->state = RULES_NONE;
		if (qube->accepts_all) {
			qube->state = RULES_VALID;
			qube->ruleset.policy = ACTION_ACCEPT;
		}
		if (qube->rules_path == NULL)
			continue;
		path = path_resolve(rules_key_path(conf, qube), qube->rules_path);
		if (path == NULL)
			return -ENOMEM;
		free(qube->rules_path);
		qube->rules_path = path;
		qube->state = rules_load(qube) == 0 ? RULES_VALID : RULES_BAD;
		if (qube->state != RULES_BAD)
			continue;
		if (qube->rules_error == NULL)
			qube->rules_error = strdup("out of memory");
		report_line(report, "%s; everything from qube %s is refused",
			qube->rules_error ? qube->rules_error : "out of memory", qube->name);
	}
	return 0;
}

static struct conf *
conf_new(const char *path)
{
	struct conf *conf = calloc(1, sizeof(*conf));

	if (conf == NULL)
		return NULL;
	conf->path = strdup(path);
	workers_automatic(conf);
	conf->flows = FLOWS_DEFAULT;
	conf->log_refusals = true;
	conf->socket_path = strdup(SOCKET_PATH_DEFAULT);
	conf->state_dir = strdup(STATE_DIR_DEFAULT);
	limits_defaults(&conf->limits);
	timeout_defaults(&conf->timeouts);
	if (conf->path == NULL || conf->socket_path == NULL || conf->state_dir == NULL) {
		conf_free(conf);
		return NULL;
	}
	return conf;
}

/* Give values to keys that do not stand there and whose default is another key's value. */
static void
defaults_fill(struct conf *conf)
{
	for (unsigned i = 0; i < conf->section_count; i++) {
		const struct section *section = &conf->sections[i];
		void *object = section_object(conf, section->kind, section->index);
		struct conf_forward *forward = object;
		struct conf_allow *allow = object;
		struct conf_qube *qube = object;

		for (unsigned kind = 0; section->kind == SECTION_QUBE && kind < BUDGET_COUNT;
			kind++)
			if (section->key_line[KEY_QUBE_LIMIT_FLOWS + kind] == 0)
				qube->limits.value[kind] = conf->limits.value[kind];
		if (section->kind == SECTION_FORWARD &&
			section->key_line[KEY_FORWARD_DSTPORTS] == 0) {
			forward->target_first = forward->first;
			forward->target_last = forward->last;
		}
		if (section->kind == SECTION_ALLOW && section->key_line[KEY_ALLOW_DSTPORTS] == 0)
			allow->last = UINT16_MAX;
	}
}

/* Read one of the files. */
static void
text_load(struct loader *loader, const char *path, const char *text, size_t length)
{
	int result = conf_files_add(&loader->conf->files, path, loader->line);

	if (result != 0) {
		loader_error(loader, 0, NULL, "out of memory");
		return;
	}
	loader->cursor = text;
	loader->end = text + length;
	loader->first = loader->line + 1;
	loader->file = loader->conf->files->count - 1;
	loader->dos = false;
	loader->current = NULL;
	loader->any_section = false;
	if (&ini_max_line != NULL)
		ini_max_line = LINE_BYTES_MAX;
	result = ini_parse_stream(line_read, loader, key_take, loader);
	/* Every line inih would refuse was taken out by the reader: a safety net. */
	if (result < 0)
		loader_error(loader, 0, NULL, "out of memory");
	else if (result > 0)
		loader_error(
			loader, loader->first + (unsigned)result - 1, NULL, "cannot be parsed");
	/* An empty file has a first line too, for messages about it. */
	loader->line = RTE_MAX(loader->line, loader->first);
}

static void
include_error(struct loader *loader, const char *format, const char *path, const char *reason)
{
	unsigned line =
		section_find(loader->conf, SECTION_SLUICE, "")->key_line[KEY_SLUICE_INCLUDE];

	loader_error(loader, line, "include", format, path, reason);
}

/* Whoever can write the folder can put a file there. */
static int
folder_check(const char *path)
{
	char folder[PATH_MAX];
	const char *slash = strrchr(path, '/');
	struct stat status;

	snprintf(folder, sizeof(folder), "%.*s", slash != NULL ? (int)(slash - path + 1) : 1,
		slash != NULL ? path : ".");
	if (stat(folder, &status) != 0)
		return -errno;
	return is_owned(&status) ? 0 : -EPERM;
}

/* Read the files that `include` names. That there are none, or no folder, is fine. */
static void
includes_load(struct loader *loader)
{
	struct conf *conf = loader->conf;
	char *pattern = conf->include != NULL ? path_resolve(conf->path, conf->include) : NULL;
	char **paths = NULL;
	unsigned count = 0;
	int error;

	if (conf->include == NULL)
		return;
	error = pattern != NULL ? include_find(pattern, &paths, &count) : -ENOMEM;
	if (error != 0)
		include_error(loader, "%s: %s", conf->include,
			error == -E2BIG ? "too many files" : strerror(-error));
	for (unsigned i = 0; i < count && error == 0; i++) {
		size_t length = 0;
		char *text = NULL;
		int failed = folder_check(paths[i]);

		if (failed == 0)
			failed = file_read(paths[i], CONF_BYTES_MAX, TRUST_OWNED, &text, &length);
		if (failed != 0)
			include_error(loader, "%s: %s", paths[i], file_reason(failed));
		else
			text_load(loader, paths[i], text, length);
		free(text);
	}
	for (unsigned i = 0; i < count; i++)
		free(paths[i]);
	free(paths);
	free(pattern);
}

static int
texts_load(struct loader *loader, const char *text, size_t length)
{
	text_load(loader, loader->conf->path, text, length);
	loader->conf->line_count = RTE_MAX(loader->line, 1u);
	if (loader->errors < ERRORS_MAX)
		includes_load(loader);
	host_complete(loader);
	defaults_fill(loader->conf);
	if (loader->errors < ERRORS_MAX)
		conf_check(loader);
	return loader->errors == 0 ? 0 : -EINVAL;
}

int
conf_load(const char *path, const struct report *report, struct conf **out)
{
	struct loader loader = {.report = report};
	size_t length = 0;
	char *text = NULL;
	int error, rules_error;

	*out = NULL;
	error = file_read(path, CONF_BYTES_MAX, TRUST_ANY, &text, &length);
	if (error != 0) {
		report_line(report, "%s: %s", path, file_reason(error));
		return error;
	}
	loader.conf = conf_new(path);
	if (loader.conf == NULL) {
		free(text);
		report_line(report, "%s: out of memory", path);
		return -ENOMEM;
	}
	error = texts_load(&loader, text, length);
	rules_error = rules_load_all(loader.conf, report);
	free(text);
	if (error == 0)
		error = rules_error;
	if (error != 0) {
		conf_free(loader.conf);
		return error;
	}
	*out = loader.conf;
	return 0;
}

const struct conf_qube *
conf_qube_find(const struct conf *conf, const char *name)
{
	for (unsigned i = 0; i < conf->qube_count; i++)
		if (strcmp(conf->qubes[i].name, name) == 0)
			return &conf->qubes[i];
	return NULL;
}

void
conf_free(struct conf *conf)
{
	if (conf == NULL)
		return;
	for (unsigned i = 0; i < conf->port_count; i++)
		free(conf->ports[i].argument);
	for (unsigned i = 0; i < conf->qube_count; i++) {
		struct conf_qube *qube = &conf->qubes[i];

		free(qube->rules_path);
		free(qube->rules_error);
		if (qube->storage == STORAGE_OWNED)
			ruleset_clear(&qube->ruleset);
		else if (qube->storage == STORAGE_SHALLOW)
			free(qube->ruleset.rules);
		for (unsigned family = 0; family < FAMILIES; family++)
			live_tree_unref(qube->tree[family]);
	}
	for (unsigned i = 0; i < conf->forward_count; i++)
		free(conf->forwards[i].comment);
	free(conf->ports);
	free(conf->qubes);
	free(conf->forwards);
	free(conf->allows);
	free(conf->sections);
	conf_files_unref(conf->files);
	free(conf->include);
	free(conf->path);
	free(conf->socket_path);
	free(conf->state_dir);
	free(conf->qubesdb_path);
	free(conf);
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/pcapng_packet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "app/base64.h"

#define SECOND_NS UINT64_C(1000000000)
#define COMMENT_SIZE 256

/* "1700000000.010000000", with up to nine digits behind the point. */
static int
time_parse(const char *text, uint64_t *time_ns)
{
	uint64_t unit = SECOND_NS;
	uint64_t seconds = 0;
	uint64_t part = 0;

	if (text == NULL || *text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		seconds = seconds * 10 + (uint64_t)(*text - '0');
		if (seconds > UINT64_MAX / SECOND_NS - 1)
			return -EINVAL;
	}
	if (*text == '.')
		for (text++; *text >= '0' && *text <= '9' && unit > 1; text++) {
			unit /= 10;
			part += unit * (uint64_t)(*text - '0');
		}
	*time_ns = seconds * SECOND_NS + part;
	return *text == '\0' ? 0 : -EINVAL;
}

/* "verdict=drop reason=rule rule=work/0003": whatever of it is known. */
static void
comment_make(char comment[COMMENT_SIZE], const json_t *packet)
{
	static const char *const keys[] = {"verdict", "reason", "rule"};
	size_t used = 0;

	comment[0] = '\0';
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const char *value = json_string_value(json_object_get(packet, keys[i]));

		if (value != NULL && used < COMMENT_SIZE)
			used += (size_t)snprintf(comment + used, COMMENT_SIZE - used, "%s%s=%s",
				used > 0 ? " " : "", keys[i], value);
	}
}

int
pcapng_write_packet(struct pcapng *pcapng, const json_t *packet)
{
	const json_t *text = json_object_get(packet, "frame");
	const json_t *wire = json_object_get(packet, "wire_length");
	const char *direction = json_string_value(json_object_get(packet, "direction"));
	const char *port = json_string_value(json_object_get(packet, "port"));
	char comment[COMMENT_SIZE];
	struct pcapng_frame frame = {
		.port = port,
		.length = (uint32_t)json_integer_value(wire),
		.comment = comment,
	};
	ssize_t captured;
	uint8_t *data;
	int error;

	if (port == NULL || direction == NULL || !json_is_string(text) || !json_is_integer(wire) ||
		json_integer_value(wire) < 0 || json_integer_value(wire) > UINT32_MAX ||
		time_parse(json_string_value(json_object_get(packet, "time")), &frame.time_ns) != 0)
		return -EINVAL;
	frame.direction = strcmp(direction, "in") == 0    ? PCAPNG_IN
			  : strcmp(direction, "out") == 0 ? PCAPNG_OUT
							  : PCAPNG_UNKNOWN;
	comment_make(comment, packet);
	if (comment[0] == '\0')
		frame.comment = NULL;
	data = malloc(json_string_length(text) / 4 * 3 + 1);
	if (data == NULL)
		return -ENOMEM;
	captured = base64_decode(data, json_string_value(text), json_string_length(text));
	frame.data = data;
	frame.captured = captured > 0 ? (uint32_t)captured : 0;
	error = captured < 0 ? (int)captured : pcapng_write(pcapng, &frame);
	free(data);
	return error;
}

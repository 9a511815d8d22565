/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks of a pcapng file. See pcapng.h.
 *
 * Every block is its type, its length, its body and its length again, padded to words; all of it in
 * the byte order of this machine, as the magic of the section header says. A block is put together
 * in full and then written at once, so that a reader who follows the file sees whole blocks.
 */
#include "app/pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SECTION 0x0a0d0d0au
#define BLOCK_INTERFACE 1u
#define BLOCK_PACKET 6u

#define SECTION_MAGIC 0x1a2b3c4du
#define LINKTYPE_ETHERNET 1u

#define OPTION_END 0u
#define OPTION_COMMENT 1u
#define OPTION_SECTION_APPLICATION 4u
#define OPTION_INTERFACE_NAME 2u
#define OPTION_INTERFACE_RESOLUTION 9u
#define OPTION_PACKET_FLAGS 2u
#define RESOLUTION_NS 9u /* 10^-9 s */

/* What Wireshark takes for a frame at most. */
#define FRAME_MAX (256u * 1024u)
#define NAME_MAX_BYTES 255u
#define COMMENT_MAX_BYTES 1023u
/* More ports than sluiced has; who writes more of them means something else. */
#define INTERFACES_MAX 4096u

struct pcapng {
	FILE *file;
	unsigned interface_count;
	char **interfaces; /* names of ports, by their number in the file */
	/* the block being put together */
	uint8_t *block;
	size_t used, room;
	int error;
};

static void
put(struct pcapng *pcapng, const void *data, size_t length)
{
	size_t padded = (length + 3) & ~(size_t)3;

	if (pcapng->error != 0 || padded == 0)
		return;
	if (pcapng->used + padded > pcapng->room) {
		size_t room = 2 * pcapng->room + padded;
		uint8_t *block = realloc(pcapng->block, room);

		if (block == NULL) {
			pcapng->error = -ENOMEM;
			return;
		}
		pcapng->block = block;
		pcapng->room = room;
	}
	memcpy(pcapng->block + pcapng->used, data, length);
	memset(pcapng->block + pcapng->used + length, 0, padded - length);
	pcapng->used += padded;
}

static void
put_word(struct pcapng *pcapng, uint32_t word)
{
	put(pcapng, &word, sizeof(word));
}

static void
put_option(struct pcapng *pcapng, unsigned code, const void *value, size_t length)
{
	const uint16_t head[2] = {(uint16_t)code, (uint16_t)length};

	put(pcapng, head, sizeof(head));
	put(pcapng, value, length);
}

static void
block_begin(struct pcapng *pcapng, uint32_t type)
{
	pcapng->used = 0;
	pcapng->error = 0;
	put_word(pcapng, type);
	put_word(pcapng, 0); /* its length, when that is known */
}

static int
block_end(struct pcapng *pcapng)
{
	uint32_t length = (uint32_t)(pcapng->used + sizeof(length));

	put_word(pcapng, length);
	if (pcapng->error != 0)
		return pcapng->error;
	memcpy(pcapng->block + sizeof(uint32_t), &length, sizeof(length));
	errno = 0;
	if (fwrite(pcapng->block, 1, pcapng->used, pcapng->file) != pcapng->used)
		return errno != 0 ? -errno : -EIO;
	return 0;
}

static int
section_write(struct pcapng *pcapng, const char *application)
{
	const uint16_t version[2] = {1, 0};
	const uint64_t unknown = UINT64_MAX;

	block_begin(pcapng, BLOCK_SECTION);
	put_word(pcapng, SECTION_MAGIC);
	put(pcapng, version, sizeof(version));
	put(pcapng, &unknown, sizeof(unknown)); /* how long the section is */
	put_option(pcapng, OPTION_SECTION_APPLICATION, application,
		strnlen(application, NAME_MAX_BYTES));
	put_option(pcapng, OPTION_END, NULL, 0);
	return block_end(pcapng);
}

static int
interface_write(struct pcapng *pcapng, const char *name)
{
	const uint16_t link[2] = {LINKTYPE_ETHERNET, 0};
	const uint8_t resolution = RESOLUTION_NS;

	block_begin(pcapng, BLOCK_INTERFACE);
	put(pcapng, link, sizeof(link));
	put_word(pcapng, 0); /* frames of any length */
	put_option(pcapng, OPTION_INTERFACE_NAME, name, strlen(name));
	put_option(pcapng, OPTION_INTERFACE_RESOLUTION, &resolution, sizeof(resolution));
	put_option(pcapng, OPTION_END, NULL, 0);
	return block_end(pcapng);
}

/* The number of a port's interface, which is described if it is new. @return -errno */
static int
interface_find(struct pcapng *pcapng, const char *name)
{
	char **interfaces;
	char *copy;
	int error;

	for (unsigned i = 0; i < pcapng->interface_count; i++)
		if (strcmp(pcapng->interfaces[i], name) == 0)
			return (int)i;
	if (pcapng->interface_count == INTERFACES_MAX)
		return -EINVAL;
	interfaces = reallocarray(
		pcapng->interfaces, pcapng->interface_count + 1, sizeof(pcapng->interfaces[0]));
	if (interfaces == NULL)
		return -ENOMEM;
	pcapng->interfaces = interfaces;
	copy = strdup(name);
	if (copy == NULL)
		return -ENOMEM;
	error = interface_write(pcapng, name);
	if (error != 0) {
		free(copy);
		return error;
	}
	interfaces[pcapng->interface_count] = copy;
	return (int)pcapng->interface_count++;
}

/* How much of a text is kept: no half characters. */
static size_t
text_length(const char *text, size_t longest)
{
	size_t length = strnlen(text, longest + 1);

	if (length <= longest)
		return length;
	length = longest;
	while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
		length--;
	return length;
}

int
pcapng_write(struct pcapng *pcapng, const struct pcapng_frame *frame)
{
	uint32_t direction = frame->direction; /* 1 inbound, 2 outbound, as in epb_flags */
	int interface;

	if (frame->captured > FRAME_MAX || frame->captured > frame->length ||
		frame->direction > PCAPNG_OUT ||
		strnlen(frame->port, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
		return -EINVAL;
	interface = interface_find(pcapng, frame->port);
	if (interface < 0)
		return interface;
	block_begin(pcapng, BLOCK_PACKET);
	put_word(pcapng, (uint32_t)interface);
	put_word(pcapng, (uint32_t)(frame->time_ns >> 32));
	put_word(pcapng, (uint32_t)frame->time_ns);
	put_word(pcapng, frame->captured);
	put_word(pcapng, frame->length);
	put(pcapng, frame->data, frame->captured);
	if (direction != PCAPNG_UNKNOWN)
		put_option(pcapng, OPTION_PACKET_FLAGS, &direction, sizeof(direction));
	if (frame->comment != NULL)
		put_option(pcapng, OPTION_COMMENT, frame->comment,
			text_length(frame->comment, COMMENT_MAX_BYTES));
	put_option(pcapng, OPTION_END, NULL, 0);
	return block_end(pcapng);
}

int
pcapng_open(FILE *file, const char *application, struct pcapng **out)
{
	struct pcapng *pcapng = calloc(1, sizeof(*pcapng));
	int error;

	if (pcapng == NULL)
		return -ENOMEM;
	pcapng->file = file;
	error = section_write(pcapng, application);
	if (error != 0) {
		pcapng_close(pcapng);
		return error;
	}
	*out = pcapng;
	return 0;
}

void
pcapng_close(struct pcapng *pcapng)
{
	if (pcapng == NULL)
		return;
	for (unsigned i = 0; i < pcapng->interface_count; i++)
		free(pcapng->interfaces[i]);
	free(pcapng->interfaces);
	free(pcapng->block);
	free(pcapng);
}

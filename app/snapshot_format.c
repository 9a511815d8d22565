/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Records to bytes and back. The layout of each record is said once, by the function that goes
 * through its fields, and serves for both: what is read cannot differ from what is written.
 */
#include "app/snapshot_format.h"

#include <netinet/in.h>

#include <rte_common.h>
#include <rte_ether.h>

#include "classifier/guard.h"

/* No text can begin so, and a transfer that takes it for text changes it. */
static const uint8_t magic[8] = {0x89, 's', 'l', 'u', 'i', 'c', 'e', '\n'};

/* Numbers. */

/* A record, how far it has been gone through, and which way. */
struct codec {
	uint8_t *bytes;
	size_t at;
	bool writing;
};

static inline void
codec_bytes(struct codec *codec, void *value, size_t size)
{
	if (codec->writing)
		memcpy(codec->bytes + codec->at, value, size);
	else
		memcpy(value, codec->bytes + codec->at, size);
	codec->at += size;
}

static inline void
codec_8(struct codec *codec, uint8_t *value)
{
	codec_bytes(codec, value, sizeof(*value));
}

static inline void
codec_16(struct codec *codec, uint16_t *value)
{
	uint16_t little = rte_cpu_to_le_16(*value);

	codec_bytes(codec, &little, sizeof(little));
	*value = rte_le_to_cpu_16(little);
}

static inline void
codec_32(struct codec *codec, uint32_t *value)
{
	uint32_t little = rte_cpu_to_le_32(*value);

	codec_bytes(codec, &little, sizeof(little));
	*value = rte_le_to_cpu_32(little);
}

static inline void
codec_64(struct codec *codec, uint64_t *value)
{
	uint64_t little = rte_cpu_to_le_64(*value);

	codec_bytes(codec, &little, sizeof(little));
	*value = rte_le_to_cpu_64(little);
}

/* What is not used yet: written as zero, and nothing else is taken. */
static inline bool
codec_nothing(struct codec *codec, size_t size)
{
	bool empty = true;

	for (size_t i = 0; i < size; i++) {
		uint8_t byte = 0;

		codec_8(codec, &byte);
		empty = empty && byte == 0;
	}
	return empty;
}

/* The header. */

/* The sizes of records, so that whoever looks at a file of another version can say more of it. */
struct sizes {
	uint32_t version;
	uint32_t header;
	uint16_t port, qube;
	uint32_t flow;
};

static const struct sizes sizes = {
	.version = SNAPSHOT_VERSION,
	.header = SNAPSHOT_HEADER_SIZE,
	.port = SNAPSHOT_PORT_SIZE,
	.qube = SNAPSHOT_QUBE_SIZE,
	.flow = SNAPSHOT_FLOW_SIZE,
};

static void
header_fields(
	struct codec codec, uint8_t *name, struct sizes *found, struct snapshot_header *header)
{
	codec_bytes(&codec, name, sizeof(magic));
	codec_32(&codec, &found->version);
	codec_32(&codec, &found->header);
	codec_64(&codec, &header->length);
	codec_64(&codec, &header->checksum);
	codec_64(&codec, &header->written.wall_ms);
	codec_64(&codec, &header->written.boot_ms);
	codec_bytes(&codec, header->written.boot_id, sizeof(header->written.boot_id));
	codec_32(&codec, &found->flow);
	codec_16(&codec, &found->port);
	codec_16(&codec, &found->qube);
	codec_32(&codec, &header->flow_count);
	codec_16(&codec, &header->port_count);
	codec_16(&codec, &header->qube_count);
}

void
snapshot_header_write(uint8_t bytes[SNAPSHOT_HEADER_SIZE], const struct snapshot_header *header)
{
	struct snapshot_header copy = *header;
	struct sizes ours = sizes;
	uint8_t name[sizeof(magic)];

	memcpy(name, magic, sizeof(magic));
	header_fields((struct codec){.bytes = bytes, .writing = true}, name, &ours, &copy);
}

const char *
snapshot_header_read(
	const uint8_t bytes[SNAPSHOT_HEADER_SIZE], uint64_t length, struct snapshot_header *header)
{
	struct sizes found = {0};
	uint8_t name[sizeof(magic)];

	*header = (struct snapshot_header){0};
	header_fields((struct codec){.bytes = (uint8_t *)(uintptr_t)bytes}, name, &found, header);
	if (memcmp(name, magic, sizeof(magic)) != 0)
		return "it does not begin like a snapshot";
	if (found.version != SNAPSHOT_VERSION)
		return "it was written by another version of sluiced";
	if (memcmp(&found, &sizes, sizeof(sizes)) != 0)
		return "its records have another size";
	if (header->port_count > PORTS_MAX || header->qube_count > QUBES_MAX)
		return "it has more ports or qubes than there can be";
	if (header->length != length ||
		length != SNAPSHOT_HEADER_SIZE + (uint64_t)header->port_count * SNAPSHOT_PORT_SIZE +
				  (uint64_t)header->qube_count * SNAPSHOT_QUBE_SIZE +
				  (uint64_t)header->flow_count * SNAPSHOT_FLOW_SIZE)
		return "it is longer or shorter than it says";
	return NULL;
}

/* Names, ports and qubes. */

/* Printable, without blanks, and nothing behind its end. */
static bool
name_valid(const char name[NAME_SIZE])
{
	size_t length = strnlen(name, NAME_SIZE);

	if (length == 0 || length == NAME_SIZE)
		return false;
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] > '~')
			return false;
	for (size_t i = length; i < NAME_SIZE; i++)
		if (name[i] != '\0')
			return false;
	return true;
}

static bool
port_fields(struct codec codec, struct snapshot_port *port)
{
	codec_bytes(&codec, port->name, sizeof(port->name));
	codec_8(&codec, &port->role);
	if (!codec_nothing(&codec, 1))
		return false;
	codec_16(&codec, &port->qube);
	codec_bytes(&codec, port->mac, sizeof(port->mac));
	return codec_nothing(&codec, 6);
}

/* None, or one that a station may have. */
static bool
mac_valid(const uint8_t mac[6])
{
	struct rte_ether_addr address;

	memcpy(&address, mac, sizeof(address));
	return rte_is_zero_ether_addr(&address) || rte_is_valid_assigned_ether_addr(&address);
}

void
snapshot_port_write(uint8_t bytes[SNAPSHOT_PORT_SIZE], const struct snapshot_port *port)
{
	struct snapshot_port copy = *port;

	if (copy.qube == QUBE_NONE || !mac_valid(copy.mac))
		memset(copy.mac, 0, sizeof(copy.mac));
	port_fields((struct codec){.bytes = bytes, .writing = true}, &copy);
}

const char *
snapshot_port_read(const uint8_t bytes[SNAPSHOT_PORT_SIZE], const struct snapshot_header *header,
	struct snapshot_port *port)
{
	static const uint8_t none[sizeof(port->mac)];

	if (!port_fields((struct codec){.bytes = (uint8_t *)(uintptr_t)bytes}, port))
		return "a port has something where nothing may be";
	if (!name_valid(port->name))
		return "a port has no valid name";
	if (port->role >= ROLES)
		return "a port has an unknown role";
	if (port->qube != QUBE_NONE &&
		(port->role == ROLE_UPLINK || port->qube >= header->qube_count))
		return "a port is that of a qube which is not there";
	if (!mac_valid(port->mac) ||
		(port->qube == QUBE_NONE && memcmp(port->mac, none, sizeof(none)) != 0))
		return "a port has a MAC that no qube can have";
	return NULL;
}

void
snapshot_qube_write(uint8_t bytes[SNAPSHOT_QUBE_SIZE], const char name[NAME_SIZE])
{
	memcpy(bytes, name, NAME_SIZE);
}

const char *
snapshot_qube_read(const uint8_t bytes[SNAPSHOT_QUBE_SIZE], char name[NAME_SIZE])
{
	_Static_assert(SNAPSHOT_QUBE_SIZE == NAME_SIZE, "a qube is its name");
	memcpy(name, bytes, NAME_SIZE);
	return name_valid(name) ? NULL : "a qube has no valid name";
}

/* Flows. */

static void
tuple_fields(struct codec *codec, struct tuple *tuple)
{
	codec_bytes(codec, tuple->source.v6, sizeof(tuple->source.v6));
	codec_bytes(codec, tuple->destination.v6, sizeof(tuple->destination.v6));
	codec_bytes(codec, &tuple->source_port, sizeof(tuple->source_port));
	codec_bytes(codec, &tuple->destination_port, sizeof(tuple->destination_port));
}

/* Scale and flags share a byte. @return false when it has bits of neither */
static bool
end_fields(struct codec *codec, struct tcp_end *end)
{
	uint32_t max_window = end->max_window;
	uint8_t rest = (uint8_t)(end->scale | end->flags << 4);

	codec_32(codec, &end->end);
	codec_32(codec, &end->max_end);
	codec_32(codec, &end->max_ack);
	codec_32(codec, &max_window);
	codec_8(codec, &rest);
	end->max_window = max_window & ((1U << 26) - 1);
	end->scale = rest & 15U;
	end->flags = rest >> 4 & 3U;
	return end->max_window == max_window && rest >> 6 == 0;
}

static bool
flow_fields(struct codec codec, struct snapshot_flow *flow)
{
	bool valid;

	codec_8(&codec, &flow->family);
	codec_8(&codec, &flow->protocol);
	codec_8(&codec, &flow->state);
	codec_8(&codec, &flow->flags);
	codec_32(&codec, &flow->remaining_ms);
	codec_16(&codec, &flow->port[DIRECTION_ORIGINAL]);
	codec_16(&codec, &flow->port[DIRECTION_REPLY]);
	codec_16(&codec, &flow->qube);
	codec_16(&codec, &flow->rule);
	tuple_fields(&codec, &flow->tuple[DIRECTION_ORIGINAL]);
	tuple_fields(&codec, &flow->tuple[DIRECTION_REPLY]);
	valid = end_fields(&codec, &flow->tcp[DIRECTION_ORIGINAL]);
	valid = end_fields(&codec, &flow->tcp[DIRECTION_REPLY]) && valid;
	codec_32(&codec, &flow->syn_end);
	codec_8(&codec, &flow->syn_scale);
	return codec_nothing(&codec, 1) && valid;
}
_Static_assert(SNAPSHOT_FLOW_SIZE == 4 + 4 + 4 * 2 + 2 * 36 + 2 * 17 + 4 + 1 + 1, "of its fields");

static bool
address_valid(enum family family, const union address *address)
{
	union address v4 = address_v4(address->v4);

	if (family == FAMILY_IPV4 && !address_equal(address, &v4))
		return false;
	return !address_is_martian(family, address);
}

/* Ports where the protocol has some: of an ICMP query only the end that asks. */
static bool
ports_valid(const struct snapshot_flow *flow)
{
	const struct tuple *original = &flow->tuple[DIRECTION_ORIGINAL];
	const struct tuple *reply = &flow->tuple[DIRECTION_REPLY];

	switch (flow->protocol) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return original->destination_port == 0 && reply->source_port == 0;
	default:
		return (original->source_port | original->destination_port | reply->source_port |
			       reply->destination_port) == 0;
	}
}

static bool
tcp_valid(const struct snapshot_flow *flow)
{
	static const struct tcp_end nothing[2];

	if (flow->protocol != IPPROTO_TCP)
		return flow->syn_end == 0 && flow->syn_scale == 0 &&
		       memcmp(flow->tcp, nothing, sizeof(nothing)) == 0;
	return flow->syn_scale <= 15;
}

/* Only these have external ports that are shared: by all destinations, and by what comes in. */
static bool
flags_valid(const struct snapshot_flow *flow)
{
	bool is_query = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;

	if ((flow->flags & ~SNAPSHOT_FLAGS) != 0)
		return false;
	return (flow->flags & FLOW_BINDING) == 0 || flow->protocol == IPPROTO_UDP ||
	       (is_query && (flow->flags & FLOW_INBOUND) == 0);
}

static bool
state_valid(const struct snapshot_flow *flow)
{
	switch (flow->protocol) {
	case IPPROTO_TCP:
		return flow->state > TCP_STATE_NONE && flow->state < TCP_STATE_COUNT;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return true; /* the type of the query */
	default:
		return flow->state == 0;
	}
}

/* What can be said of a flow without knowing the policy. */
static const char *
flow_check(const struct snapshot_flow *flow, const struct snapshot_header *header)
{
	if (flow->family >= FAMILIES ||
		flow->protocol == (flow->family == FAMILY_IPV4 ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return "a flow is of no known family and protocol";
	if (!state_valid(flow))
		return "a flow is in an unknown state";
	if (!flags_valid(flow))
		return "a flow has unknown flags";
	/* Times are compared modulo 2^32: more than half of that is the past. */
	if (flow->remaining_ms == 0 || flow->remaining_ms > INT32_MAX)
		return "a flow has no time left, or too much";
	if (flow->port[0] >= header->port_count || flow->port[1] >= header->port_count ||
		flow->qube >= header->qube_count)
		return "a flow is that of a port or qube which is not there";
	for (unsigned i = 0; i < 2; i++)
		if (!address_valid(flow->family, &flow->tuple[i].source) ||
			!address_valid(flow->family, &flow->tuple[i].destination))
			return "a flow has an address that nobody can have";
	if (!ports_valid(flow))
		return "a flow has ports that its protocol has not";
	if (!tcp_valid(flow))
		return "a flow has windows that cannot be";
	return NULL;
}

bool
snapshot_flow_write(uint8_t bytes[SNAPSHOT_FLOW_SIZE], const struct snapshot_flow *flow,
	const struct snapshot_header *header)
{
	struct snapshot_flow copy = *flow;

	if (flow_check(flow, header) != NULL)
		return false;
	return flow_fields((struct codec){.bytes = bytes, .writing = true}, &copy);
}

const char *
snapshot_flow_read(const uint8_t bytes[SNAPSHOT_FLOW_SIZE], const struct snapshot_header *header,
	struct snapshot_flow *flow)
{
	memset(flow, 0, sizeof(*flow));
	if (!flow_fields((struct codec){.bytes = (uint8_t *)(uintptr_t)bytes}, flow))
		return "a flow has something where nothing may be";
	for (unsigned i = 0; i < 2; i++) {
		flow->tuple[i].family = flow->family;
		flow->tuple[i].protocol = flow->protocol;
	}
	return flow_check(flow, header);
}

/*
 * The checksum: CRC-64 with the polynomial of ECMA-182, eight bytes at a time. Two 32-bit ones of
 * one polynomial with different beginnings would not do: they miss the same changes.
 */

#define POLYNOMIAL UINT64_C(0xc96c5795d7870f42) /* reflected */
#define SLICES 8

static uint64_t slices[SLICES][256];

static void
slices_fill(void)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		uint64_t sum = byte;

		for (unsigned bit = 0; bit < 8; bit++)
			sum = sum >> 1 ^ ((sum & 1) != 0 ? POLYNOMIAL : 0);
		slices[0][byte] = sum;
	}
	for (unsigned slice = 1; slice < SLICES; slice++)
		for (unsigned byte = 0; byte < 256; byte++) {
			uint64_t before = slices[slice - 1][byte];

			slices[slice][byte] = before >> 8 ^ slices[0][before & 255];
		}
}

uint64_t
snapshot_checksum(uint64_t checksum, const uint8_t *bytes, size_t length)
{
	uint64_t sum = ~checksum;

	if (slices[0][1] == 0)
		slices_fill();
	for (; length >= SLICES; bytes += SLICES, length -= SLICES) {
		uint64_t word;

		memcpy(&word, bytes, sizeof(word));
		word = rte_le_to_cpu_64(word) ^ sum;
		sum = 0;
		for (unsigned i = 0; i < SLICES; i++)
			sum ^= slices[SLICES - 1 - i][word >> (8 * i) & 255];
	}
	for (; length > 0; bytes++, length--)
		sum = sum >> 8 ^ slices[0][(sum ^ *bytes) & 255];
	return ~sum;
}

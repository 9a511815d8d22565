/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of a flow snapshot.
 *
 *	header        80 bytes
 *	port, ...     48 bytes each: name, role, qube, the MAC that was learned
 *	qube, ...     32 bytes each: name
 *	flow, ...    128 bytes each; they name ports and qubes by their place in the two lists
 *
 * Numbers are little-endian, addresses, ports and MACs as they are on the wire, and nothing depends
 * on how a compiler lays out a struct. A change of any of it is another version, and no version
 * reads another's: what it costs is the flows of one upgrade.
 *
 * The checksum (CRC-64, that of xz) is there for damage: every change within 64 bits is found, any
 * other but for one in 2^64. It is no signature. Whoever can write to the state directory can forge
 * a snapshot, which is why that directory and this file are root's alone. All the same nothing is
 * believed because the checksum is right: whatever is read is in range or refused, so that a
 *mistake of the program that wrote it is not one of the program that reads it.
 */
#pragma once

#include "classifier/policy.h"
#include "nat/tcp.h"

#define SNAPSHOT_VERSION 1
#define SNAPSHOT_HEADER_SIZE 80
#define SNAPSHOT_PORT_SIZE 48
#define SNAPSHOT_QUBE_SIZE 32
#define SNAPSHOT_FLOW_SIZE 128
/* Where the checksum stands in the header: it counts as zero there. */
#define SNAPSHOT_CHECKSUM_OFFSET 24

/* What time it is, by two clocks. */
struct snapshot_clock {
	uint64_t wall_ms;    /* since 1970; may be set, also backwards */
	uint64_t boot_ms;    /* since this machine was started, sleep included */
	uint8_t boot_id[16]; /* which start that was; all zero: unknown */
};

struct snapshot_header {
	uint64_t length; /* of the whole file, bytes */
	uint64_t checksum;
	struct snapshot_clock written;
	uint32_t flow_count;
	uint16_t port_count;
	uint16_t qube_count;
};

struct snapshot_port {
	char name[NAME_SIZE];
	uint8_t role;   /* enum role */
	uint16_t qube;  /* ROLE_QUBE: place in the list, QUBE_NONE if it is nobody's; else QUBE_NONE
			 */
	uint8_t mac[6]; /* of its qube, if it was learned; else zero */
};

struct snapshot_flow {
	uint8_t family;
	uint8_t protocol;
	uint8_t state;
	uint8_t flags;         /* of enum flow_flag, those in SNAPSHOT_FLAGS */
	uint32_t remaining_ms; /* when the snapshot was written */
	struct tuple tuple[2]; /* original and reply */
	uint16_t port[2];      /* where packets of that direction leave: place in the list */
	uint16_t qube;         /* place in the list */
	uint16_t rule;
	uint32_t syn_end;
	uint8_t syn_scale;
	struct tcp_end tcp[2];
};

/*
 * The flags that say something of the flow itself, and not of what it is counted in. That it holds
 * a binding is one: what came in by a filter does, what came in by a forward does not, and which of
 * them it was cannot be told from a configuration that has changed since.
 */
#define SNAPSHOT_FLAGS (FLOW_REPLIED | FLOW_INBOUND | FLOW_BINDING)

void snapshot_header_write(
	uint8_t bytes[SNAPSHOT_HEADER_SIZE], const struct snapshot_header *header);
/** Write a port. A MAC that snapshot_port_read would not take is left out. */
void snapshot_port_write(uint8_t bytes[SNAPSHOT_PORT_SIZE], const struct snapshot_port *port);
void snapshot_qube_write(uint8_t bytes[SNAPSHOT_QUBE_SIZE], const char name[NAME_SIZE]);

/**
 * Write a flow.
 * @return false when snapshot_flow_read would not take it back: then it must not be in the file
 */
bool snapshot_flow_write(uint8_t bytes[SNAPSHOT_FLOW_SIZE], const struct snapshot_flow *flow,
	const struct snapshot_header *header);

/*
 * Reading. Each returns NULL, or what is wrong, in words that fit behind "snapshot is damaged: ".
 */

/** @param length of the file, bytes */
const char *snapshot_header_read(
	const uint8_t bytes[SNAPSHOT_HEADER_SIZE], uint64_t length, struct snapshot_header *header);
const char *snapshot_port_read(const uint8_t bytes[SNAPSHOT_PORT_SIZE],
	const struct snapshot_header *header, struct snapshot_port *port);
const char *snapshot_qube_read(const uint8_t bytes[SNAPSHOT_QUBE_SIZE], char name[NAME_SIZE]);
const char *snapshot_flow_read(const uint8_t bytes[SNAPSHOT_FLOW_SIZE],
	const struct snapshot_header *header, struct snapshot_flow *flow);

/**
 * Go on with a checksum that begins with zero: first over everything behind the header, then over
 * the header with zeros in place of the checksum. So the header can be written last.
 */
uint64_t snapshot_checksum(uint64_t checksum, const uint8_t *bytes, size_t length);

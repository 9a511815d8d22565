/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Writing pcapng files: frames of several ports, with the way they went and what was said of them.
 *
 * Needs neither DPDK nor root, so that sluicectl can write what sluiced has sent it:
 *
 *	struct pcapng *pcapng = NULL;
 *
 *	error = pcapng_open(file, "sluicectl", &pcapng);
 *	error = pcapng_write(pcapng, &frame);       each frame as it comes; for a PACKET of the
 *	error = pcapng_write_packet(pcapng, packet);   control socket there is app/pcapng_packet.h
 *	pcapng_close(pcapng);                       the file stays open: flush and close it
 *
 * The format is that of draft-ietf-opsawg-pcapng: one section; an interface per port, described
 * when the first frame of that port comes; times in nanoseconds.
 */
#pragma once

#include <stdint.h>
#include <stdio.h>

struct pcapng;

enum pcapng_direction { PCAPNG_UNKNOWN, PCAPNG_IN, PCAPNG_OUT };

struct pcapng_frame {
	const char *port;          /* its name, at most 255 bytes */
	uint64_t time_ns;          /* since the epoch */
	const void *data;          /* from the Ethernet header on */
	uint32_t captured, length; /* bytes: in @p data, and on the wire */
	enum pcapng_direction direction;
	const char *comment; /* UTF-8, or NULL; at most 1,023 bytes of it are kept */
};

/**
 * Begin a capture: writes the section header.
 * @param file the caller's; it must not be closed before pcapng_close
 * @param application who writes, for the header
 * @return 0 or -errno
 */
int pcapng_open(FILE *file, const char *application, struct pcapng **out);

/**
 * Write a frame.
 * @return 0; -EINVAL if it is not one: nothing was written; -errno of the file: it is damaged
 */
int pcapng_write(struct pcapng *pcapng, const struct pcapng_frame *frame);

/** Free the writer. NULL is fine. */
void pcapng_close(struct pcapng *pcapng);

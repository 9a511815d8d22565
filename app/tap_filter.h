/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Filters of taps: classic BPF over Ethernet frames, as libpcap compiles tcpdump's expressions.
 *
 * Who asks compiles, so that names are looked up there; what arrives here is hostile. It is checked
 * and run by libpcap, with forward jumps only, so a program takes no longer than it is, and
 * TAP_FILTER_MAX bounds what it may cost the data path. What reads beyond a frame does not match
 * it. Of a frame in several pieces the first TAP_FILTER_BYTES can be looked at.
 *
 * librte_bpf of DPDK 22.11 is not fit for this: on frames of several pieces its machine code
 * crashes, because it calls out with a misaligned stack, and its interpreter reads wrong bytes; and
 * its check refuses programs that libpcap compiles and runs.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h> /* for pcap/bpf.h, which forgets it */

#include <pcap/bpf.h>

#include <rte_mbuf.h>

/* Instructions of a program: about a nanosecond each. */
#define TAP_FILTER_MAX 256
#define TAP_FILTER_BYTES 2048

struct tap_filter {
	unsigned count; /* 0: matches everything */
	struct bpf_insn instructions[TAP_FILTER_MAX + BPF_MEMWORDS];
};

/** @return false when it is no sound program, or a longer one; then @p filter is unchanged */
bool tap_filter_set(struct tap_filter *filter, const struct bpf_insn *instructions, unsigned count);

/** Whether a frame matches, whatever it is made of. Data path. */
bool tap_filter_matches(const struct tap_filter *filter, const struct rte_mbuf *mbuf);

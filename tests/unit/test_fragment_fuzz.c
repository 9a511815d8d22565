/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reassembly and a second opinion on it: random fragments by the million, and the end of each.
 *
 *	FUZZ_FRAGMENTS=1000000 test_fragment_fuzz
 */
#include "tests/unit/fragments.h"
#include "tests/unit/unit.h"

#define NAMES 24
#define ORACLE_DATA 66048

/*
 * Reassembly as one would do it who has time: all parts in a heap, looked through anew for each
 * question.
 */
static struct oracle {
	struct whole whole; /* headers; the data are those of its parts */
	bool open;
	enum reason ended;
	uint32_t deadline_ms;
	unsigned count;
	struct {
		struct step step;
		uint32_t serial;
		uint32_t ip_length;
		uint32_t head;
		unsigned ecn;
		bool df;
		uint8_t *data;
	} part[FRAGMENTS_PER_DATAGRAM];
} oracles[NAMES];

static uint8_t *fates_wanted;
static uint64_t oracle_waiting;

static void
oracle_end(struct oracle *oracle, unsigned what)
{
	for (unsigned i = 0; i < oracle->count; i++) {
		fates_wanted[oracle->part[i].serial] = (uint8_t)what;
		free(oracle->part[i].data);
	}
	oracle_waiting -= oracle->count;
	oracle->count = 0;
	oracle->open = false;
}

static void
oracle_spoil(struct oracle *oracle, enum reason reason)
{
	oracle_end(oracle, (unsigned)FATE_DROPPED + reason);
	oracle->open = true;
	oracle->ended = reason;
}

/* What should happen to a part that has been added tentatively as the last one. */
static enum reason
oracle_judge(const struct oracle *oracle, const struct step *step, uint32_t head, unsigned ecn,
	bool *spoils)
{
	uint32_t last = step->offset + step->length;
	unsigned seen = 1u << ecn;
	uint32_t size = last;

	*spoils = false;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *other = &oracle->part[i].step;

		if (other->offset == step->offset && other->length == step->length &&
			other->more == step->more)
			return REASON_FRAGMENT_OVERLAP;
	}
	*spoils = true;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *other = &oracle->part[i].step;
		uint32_t other_last = other->offset + other->length;

		if (step->offset < other_last && other->offset < last)
			return REASON_FRAGMENT_OVERLAP;
		if (!other->more && (!step->more || last > other_last))
			return REASON_FRAGMENT_OVERLAP;
		if (!step->more && other_last > last)
			return REASON_FRAGMENT_OVERLAP;
		if (other->offset == 0)
			head = oracle->part[i].head;
		size = RTE_MAX(size, other_last);
		seen |= 1u << oracle->part[i].ecn;
	}
	if (oracle->whole.family == FAMILY_IPV4) {
		bool first = step->offset == 0;

		for (unsigned i = 0; i < oracle->count; i++)
			first |= oracle->part[i].step.offset == 0;
		size += first ? head - ETHER : 20;
	} else {
		bool first = step->offset == 0;

		for (unsigned i = 0; i < oracle->count; i++)
			first |= oracle->part[i].step.offset == 0;
		size += first ? head - ETHER - 40 : 0;
	}
	if (size > 65535 || (seen & 9) == 9)
		return REASON_FRAGMENT_OVERLAP;
	if (oracle->count == FRAGMENTS_PER_DATAGRAM)
		return REASON_FRAGMENT_LIMIT;
	*spoils = false;
	return REASON_NONE;
}

/* @return whether every byte is there, and which packet they make, in the oracle's own bytes */
static bool
oracle_whole(struct oracle *oracle, uint32_t *fragment_size)
{
	static uint8_t there[ORACLE_DATA];
	uint8_t *ip = oracle->whole.bytes + ETHER;
	uint32_t data = 0;
	unsigned ecn = 0;
	bool df = false;

	for (unsigned i = 0; i < oracle->count; i++)
		if (!oracle->part[i].step.more)
			data = oracle->part[i].step.offset + oracle->part[i].step.length;
	if (data == 0)
		return false;
	memset(there, 0, data);
	for (unsigned i = 0; i < oracle->count; i++)
		memset(there + oracle->part[i].step.offset, 1, oracle->part[i].step.length);
	for (uint32_t at = 0; at < data; at++)
		if (there[at] == 0)
			return false;
	*fragment_size = 0;
	for (unsigned i = 0; i < oracle->count; i++) {
		const struct step *step = &oracle->part[i].step;

		memcpy(oracle->whole.bytes + oracle->whole.head + step->offset,
			oracle->part[i].data, step->length);
		*fragment_size = RTE_MAX(*fragment_size, oracle->part[i].ip_length);
		df |= oracle->part[i].df;
		if (oracle->part[i].ecn == 3 || (step->offset == 0 && ecn != 3))
			ecn = oracle->part[i].ecn;
	}
	oracle->whole.length = oracle->whole.head + data;
	if (oracle->whole.family == FAMILY_IPV4) {
		ip[1] = (uint8_t)((ip[1] & 0xfc) | ecn);
		ip[6] = df ? 0x40 : 0;
		put16(ip + 2, oracle->whole.length - ETHER);
	} else {
		ip[1] = (uint8_t)((ip[1] & 0xcf) | ecn << 4);
		put16(ip + 4, oracle->whole.length - ETHER - 40);
	}
	return true;
}

/* A step that fits, often; or any. */
static struct step
random_step(const struct oracle *oracle)
{
	static const uint32_t grids[] = {64, 128, 512, 1480};
	uint32_t grid = grids[oracle->whole.id % 4];
	uint32_t parts = 2 + oracle->whole.id % 5;
	uint32_t part = (uint32_t)rand() % parts;
	struct step step = {part * grid, grid, part + 1 < parts};

	if (!step.more)
		step.length -= oracle->whole.id % 8;
	switch (rand() % 500) {
	case 0: /* anywhere */
		step.offset = (uint32_t)rand() % 8192 * 8;
		break;
	case 1:
		step.offset = (uint32_t)rand() % 64 * 8;
		break;
	case 2:
		step.length = 8 + (uint32_t)rand() % 64 * 8;
		break;
	case 3:
		step.more = !step.more;
		step.length = RTE_ALIGN_CEIL(step.length, 8);
		break;
	case 4: /* the edge of all */
		step.offset = 65528 - (uint32_t)rand() % 4 * 8;
		step.length = 1 + (uint32_t)rand() % 32;
		step.more = false;
		break;
	}
	if (step.offset == 0 && !step.more) { /* no fragment */
		step.more = true;
		step.length = RTE_ALIGN_CEIL(step.length, 8);
	}
	return step;
}

static void
fuzz_step(void)
{
	struct oracle *oracle = &oracles[rand() % NAMES];
	struct step step = random_step(oracle);
	uint32_t own = serial;
	uint32_t fragment_size = 0;
	struct rte_mbuf *mbuf;
	enum reason reason;
	uint8_t *data;
	unsigned ecn = rand() % 2000 == 0 ? 0 : rand() % 40 == 0 ? 3 : 2;
	bool df = rand() % 16 == 0;
	bool spoils = false;

	/* headers of this fragment; those of the first are the datagram's */
	if (oracle->whole.family == FAMILY_IPV4) {
		oracle->whole.bytes[ETHER + 1] = (uint8_t)(0x20 | ecn);
		oracle->whole.bytes[ETHER + 6] = df ? 0x40 : 0;
	} else {
		oracle->whole.bytes[ETHER + 1] = (uint8_t)(ecn << 4 | 3);
		df = false;
	}
	part_slice(&oracle->whole, step.offset, step.length, step.more);
	for (uint32_t i = part_length - step.length; i < part_length; i++)
		part_bytes[i] = (uint8_t)(rand() >> 5);
	mbuf = part_parsed(oracle->whole.port, (enum form)(rand() % FORMS));
	if (mbuf == NULL) { /* not a multiple of eight, and more to come */
		CU_ASSERT_EQUAL(refused, REASON_FRAGMENT);
		return;
	}

	if (oracle->open && (int32_t)(now_ms - oracle->deadline_ms) >= 0)
		oracle_end(oracle, DROPPED(FRAGMENT_TIMEOUT));
	if (!oracle->open) {
		oracle->open = true;
		oracle->ended = REASON_NONE;
		oracle->deadline_ms = now_ms + TIMEOUT_MS;
	}
	reason = oracle->ended;
	if (reason == REASON_NONE)
		reason = oracle_judge(oracle, &step, oracle->whole.head, ecn, &spoils);
	if (spoils)
		oracle_spoil(oracle, reason);
	if (reason == REASON_NONE) {
		data = malloc(step.length);
		if (data == NULL)
			abort();
		memcpy(data, part_bytes + part_length - step.length, step.length);
		oracle->part[oracle->count].step = step;
		oracle->part[oracle->count].serial = own;
		oracle->part[oracle->count].ip_length = part_length - ETHER;
		oracle->part[oracle->count].head = oracle->whole.head;
		oracle->part[oracle->count].ecn = ecn;
		oracle->part[oracle->count].df = df;
		oracle->part[oracle->count].data = data;
		oracle->count++;
		oracle_waiting++;
		fates_wanted[own] = FATE_GIVEN;
	} else {
		fates_wanted[own] = (uint8_t)(FATE_DROPPED + reason);
	}
	mbuf = part_take(mbuf);
	if (reason == REASON_NONE && oracle_whole(oracle, &fragment_size)) {
		expect_whole(mbuf, &oracle->whole, fragment_size);
		oracle_end(oracle, FATE_JOINED);
		fates_wanted[own] = FATE_WHOLE;
		oracle->whole.id += NAMES; /* the name is used once only */
	} else {
		CU_ASSERT_PTR_NULL(mbuf);
		rte_pktmbuf_free(mbuf);
	}
}

/*
 * RFC 5722, RFC 8200 section 4.5, by the million: the table and the slow one agree on the end of
 * every single fragment and on every byte of what comes together.
 */
static void
test_fuzz(void)
{
	const char *steps_text = getenv("FUZZ_FRAGMENTS");
	uint32_t steps = steps_text != NULL ? (uint32_t)atoi(steps_text) : 1000000;
	uint32_t first = serial;
	unsigned wholes = 0;

	fragments_begin(NAMES);
	now_ms = UINT32_MAX - 1000000;
	srand(7);
	for (unsigned i = 0; i < NAMES; i++) {
		whole_build(&oracles[i].whole, i % 2 == 0 ? FAMILY_IPV4 : FAMILY_IPV6, 47, 0,
			i % 3 == 0 ? 8 : 0);
		oracles[i].whole.id = i;
		oracles[i].whole.port = (uint16_t)(i / 12);
	}
	for (uint32_t i = 0; i < steps; i++) {
		fuzz_step();
		now_ms += (uint32_t)rand() % 60;
		if (rand() % 500 == 0) {
			for (unsigned name = 0; name < NAMES; name++)
				if (oracles[name].open &&
					(int32_t)(now_ms - oracles[name].deadline_ms) >= 0)
					oracle_end(&oracles[name], DROPPED(FRAGMENT_TIMEOUT));
			(void)fragment_expire(table, now_ms, UINT32_MAX);
		}
		if (fragment_count(table) != oracle_waiting) {
			CU_FAIL("not as many wait as should");
			break;
		}
	}
	for (unsigned i = 0; i < NAMES; i++)
		oracle_end(&oracles[i], FATE_GIVEN);
	for (uint32_t i = first; i < serial; i++) {
		wholes += fates[i] == FATE_WHOLE;
		if (fates[i] != fates_wanted[i]) {
			CU_FAIL("a fragment has not ended as it should");
			break;
		}
	}
	/* what is tested does happen */
	CU_ASSERT(wholes > steps / 20);
	fragments_end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"RFC 5722: a million random fragments", test_fuzz},
	};

	fragments_setup();
	fates_wanted = calloc(FATES_MAX, 1);
	if (fates_wanted == NULL)
		return 1;
	return UNIT_RUN("fragment fuzz", tests);
}

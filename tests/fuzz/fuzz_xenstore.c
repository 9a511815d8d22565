/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Vifs that no toolstack wrote: values that are good, nearly good, or nothing of the kind, of any
 * length. What must hold all the same:
 *
 * - a vif without an error has a unicast MAC and one or two addresses that a qube can have, and is
 *   read as the same a second time
 * - one with an error has nothing but its number, its state, and words that are plain ASCII
 * - its interface is vif<domid>.<devid>, whatever the values say
 *
 *	FUZZ_VIFS=300000 FUZZ_SEED=1 fuzz_xenstore
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/value.h"
#include "conf/xenstore.h"

#define VIFS_DEFAULT 300000
#define VALUE_MOST 256

static uint64_t state;

static uint32_t
random_below(uint32_t limit)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)((state >> 33) % limit);
}

/* Of each key, values that pass. */
static const char *const good[XENSTORE_KEY_COUNT][3] = {
	[XENSTORE_KEY_STATE] = {"2", "4", "6"},
	[XENSTORE_KEY_ONLINE] = {"1", "0", "1"},
	[XENSTORE_KEY_FRONTEND_ID] = {"7", "7", "7"},
	[XENSTORE_KEY_FRONTEND] = {"/local/domain/7/device/vif/3", "/", "/x"},
	[XENSTORE_KEY_TYPE] = {"vif", "vif_ioemu", "vif"},
	[XENSTORE_KEY_HANDLE] = {"3", "3", "3"},
	[XENSTORE_KEY_VIFNAME] = {"vif7.3", "vif7.3", "vif7.3"},
	[XENSTORE_KEY_MAC] = {"00:16:3e:5e:6c:00", "02:00:00:00:00:01", "aA:bB:cC:dD:eE:fF"},
	[XENSTORE_KEY_IP] = {"10.137.0.16", "10.137.0.16 fd09::1", "fd09:24ef:4179::a89:10"},
	[XENSTORE_KEY_HOTPLUG_STATUS] = {"connected", "error", ""},
};

static size_t
value_make(enum xenstore_key key, char *value)
{
	static const char likely[] = "0123456789abcdef:. /vif-\n\0\xff%s";
	size_t length;

	snprintf(value, VALUE_MOST, "%s", good[key][random_below(3)]);
	length = strlen(value);
	switch (random_below(20)) {
	case 0: /* one byte is another */
		if (length > 0)
			value[random_below((uint32_t)length)] =
				likely[random_below(sizeof(likely))];
		break;
	case 1: /* shorter */
		length = random_below((uint32_t)length + 1);
		break;
	case 2: /* longer */
		while (length < VALUE_MOST && random_below(32) != 0)
			value[length++] = likely[random_below(sizeof(likely))];
		break;
	case 3: /* anything */
		for (length = 0; length < VALUE_MOST && random_below(24) != 0; length++)
			value[length] = (char)random_below(256);
		break;
	case 4: /* that of another key */
		snprintf(value, VALUE_MOST, "%s", good[random_below(XENSTORE_KEY_COUNT)][0]);
		length = strlen(value);
		break;
	default:
		break;
	}
	return length;
}

static void __attribute__((noreturn))
broken(const char *what, uint64_t number, const struct xenstore_vif *vif)
{
	fprintf(stderr, "fuzz_xenstore: vif %" PRIu64 ": %s; error is \"%s\"\n", number, what,
		vif->error);
	abort();
}

static void
check(const struct xenstore_vif *vif, uint64_t number)
{
	static const struct xenstore_vif nothing;
	char reason[REASON_SIZE], text[ADDRESS_TEXT_SIZE];
	union address address;

	if (vif->domid != 7 || vif->devid != 3)
		broken("it is another vif", number, vif);
	if (vif->error[0] != '\0') {
		for (const char *c = vif->error; *c != '\0'; c++)
			if (!isprint((unsigned char)*c))
				broken("its error is not plain text", number, vif);
		if (memcmp(vif->mac, nothing.mac, sizeof(vif->mac)) != 0 ||
			memcmp(vif->address, nothing.address, sizeof(vif->address)) != 0 ||
			vif->has[FAMILY_IPV4] || vif->has[FAMILY_IPV6] || vif->frontend[0] != '\0')
			broken("it has an error and values", number, vif);
		return;
	}
	if (vif->mac[0] & 1 || memcmp(vif->mac, nothing.mac, sizeof(vif->mac)) == 0)
		broken("its MAC is no station's", number, vif);
	if (!vif->has[FAMILY_IPV4] && !vif->has[FAMILY_IPV6])
		broken("it has no address", number, vif);
	for (unsigned family = 0; family < FAMILIES; family++)
		if (vif->has[family] && !value_qube_address(family,
						address_format(text, family, &vif->address[family]),
						&address, reason))
			broken("its address is no qube's", number, vif);
	if (vif->state < XENBUS_INITIALISING || vif->state > XENBUS_RECONFIGURED)
		broken("it has no state", number, vif);
}

int
main(void)
{
	const char *vifs = getenv("FUZZ_VIFS"), *seed = getenv("FUZZ_SEED");
	uint64_t most = vifs != NULL ? strtoull(vifs, NULL, 10) : VIFS_DEFAULT;
	uint64_t taken = 0;

	state = seed != NULL ? strtoull(seed, NULL, 10) : 1;
	for (uint64_t number = 0; number < most; number++) {
		struct xenstore_value values[XENSTORE_KEY_COUNT] = {0};
		struct xenstore_vif vif, again;

		for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++) {
			char value[VALUE_MOST];
			char *exact;

			if (random_below(40) == 0)
				continue;
			values[key].length = value_make(key, value);
			/* so that whoever reads further is caught */
			exact = malloc(values[key].length + 1);
			if (exact == NULL)
				exit(EXIT_FAILURE);
			memcpy(exact, value, values[key].length);
			exact[values[key].length] = '\0';
			values[key].text = exact;
		}
		xenstore_vif_parse(7, 3, values, &vif);
		check(&vif, number);
		xenstore_vif_parse(7, 3, values, &again);
		if (!xenstore_vif_same(&vif, &again))
			broken("it is not the same when read again", number, &vif);
		taken += vif.error[0] == '\0';
		for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++)
			free((char *)values[key].text);
	}
	printf("%" PRIu64 " vifs, %" PRIu64 " of them good\n", most, taken);
	return taken > most / 100 && taken < most ? EXIT_SUCCESS : EXIT_FAILURE;
}

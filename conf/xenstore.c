/* SPDX-License-Identifier: BSD-3-Clause */
#include "conf/xenstore.h"

#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/value.h"

const struct xenstore_key_info xenstore_keys[XENSTORE_KEY_COUNT] = {
#define XENSTORE_KEY_ROW(identifier, name, longest, needed) {name, longest, needed},
	XENSTORE_KEYS(XENSTORE_KEY_ROW)
#undef XENSTORE_KEY_ROW
};

/* Every value fits, with a NUL. */
#define VALUE_SIZE 128
#define XENSTORE_KEY_FITS(identifier, name, longest, needed) \
	_Static_assert((longest) < VALUE_SIZE, "a value must fit");
XENSTORE_KEYS(XENSTORE_KEY_FITS)
#undef XENSTORE_KEY_FITS

bool
xenstore_number_parse(const char *name, unsigned most, unsigned *number)
{
	char reason[REASON_SIZE];
	uint64_t value;

	if ((name[0] == '0' && name[1] != '\0') || !value_decimal(name, 0, most, &value, reason))
		return false;
	*number = (unsigned)value;
	return true;
}

/* One part of a path up to a slash or the end. */
static bool
part_parse(const char **path, unsigned most, unsigned *number)
{
	size_t length = strcspn(*path, "/");
	char part[8];

	if (length >= sizeof(part))
		return false;
	memcpy(part, *path, length);
	part[length] = '\0';
	*path += length;
	return xenstore_number_parse(part, most, number);
}

bool
xenstore_path_parse(const char *path, unsigned *domid, unsigned *devid)
{
	if (strncmp(path, XENSTORE_VIFS "/", strlen(XENSTORE_VIFS "/")) != 0)
		return false;
	path += strlen(XENSTORE_VIFS "/");
	if (!part_parse(&path, XENSTORE_DOMID_MAX, domid) || *path != '/')
		return false;
	path++;
	return part_parse(&path, XENSTORE_DEVID_MAX, devid);
}

void
xenstore_path_format(char path[XENSTORE_PATH_SIZE], unsigned domid, unsigned devid, const char *key)
{
	snprintf(path, XENSTORE_PATH_SIZE, XENSTORE_VIFS "/%u/%u%s%s", domid, devid,
		key != NULL ? "/" : "", key != NULL ? key : "");
}

void
xenstore_ifname_format(char ifname[16], unsigned domid, unsigned devid)
{
	snprintf(ifname, 16, "vif%hu.%hu", (unsigned short)domid, (unsigned short)devid);
}

bool
xenbus_state_is_up(enum xenbus_state state)
{
	return state == XENBUS_INIT_WAIT || state == XENBUS_INITIALISED ||
	       state == XENBUS_CONNECTED || state == XENBUS_RECONFIGURING ||
	       state == XENBUS_RECONFIGURED;
}

/* Values of the keys, each parser for one of them. */

static bool
state_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	if (text[0] < '1' || text[0] > '8')
		return value_wrong(reason, "is no state of XenBus; allowed: 1 to 8");
	vif->state = (enum xenbus_state)(text[0] - '0');
	return true;
}

static bool
online_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	if (text[0] != '0' && text[0] != '1')
		return value_wrong(reason, "is neither 0 nor 1");
	vif->online = text[0] == '1';
	return true;
}

static bool
frontend_id_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	unsigned number;

	if (!xenstore_number_parse(text, XENSTORE_DOMID_MAX, &number) || number != vif->domid)
		return value_wrong(
			reason, "is not the domain whose vif this is, which is %u", vif->domid);
	return true;
}

static bool
frontend_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	if (text[0] != '/')
		return value_wrong(reason, "is no absolute path");
	snprintf(vif->frontend, sizeof(vif->frontend), "%s", text);
	return true;
}

static bool
type_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	vif->ioemu = strcmp(text, "vif_ioemu") == 0;
	if (!vif->ioemu && strcmp(text, "vif") != 0)
		return value_wrong(reason, "is not known; allowed: vif or vif_ioemu");
	return true;
}

static bool
handle_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	unsigned number;

	if (!xenstore_number_parse(text, XENSTORE_DEVID_MAX, &number) || number != vif->devid)
		return value_wrong(reason, "is not the number of the vif, which is %u", vif->devid);
	return true;
}

static bool
vifname_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	char ifname[16];

	xenstore_ifname_format(ifname, vif->domid, vif->devid);
	if (strcmp(text, ifname) != 0)
		return value_wrong(reason, "is another name than that of the vif: %s", ifname);
	return true;
}

static bool
mac_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	return value_mac(text, vif->mac, reason);
}

/* An address of each family at most, IPv4 before IPv6. */
static bool
ip_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	char inner[REASON_SIZE], one[VALUE_SIZE];

	for (text += strspn(text, " "); *text != '\0'; text += strspn(text, " ")) {
		size_t length = strcspn(text, " ");
		enum family family;

		memcpy(one, text, length);
		one[length] = '\0';
		text += length;
		family = strchr(one, ':') != NULL ? FAMILY_IPV6 : FAMILY_IPV4;
		if (vif->has[family] || vif->has[FAMILY_IPV6])
			return value_wrong(
				reason, "is no list of at most one IPv4 and then one IPv6 address");
		if (!value_qube_address(family, one, &vif->address[family], inner))
			return value_wrong(reason, "is wrong: \"%.48s\" %.64s", one, inner);
		vif->has[family] = true;
	}
	if (!vif->has[FAMILY_IPV4] && !vif->has[FAMILY_IPV6])
		return value_wrong(reason, "holds no address");
	return true;
}

static bool
hotplug_status_parse(struct xenstore_vif *vif, const char *text, char *reason)
{
	(void)reason;
	vif->hotplug = strcmp(text, "connected") == 0 ? HOTPLUG_CONNECTED : HOTPLUG_OTHER;
	return true;
}

static bool (*const parsers[XENSTORE_KEY_COUNT])(
	struct xenstore_vif *vif, const char *text, char *reason) = {
	[XENSTORE_KEY_STATE] = state_parse,
	[XENSTORE_KEY_ONLINE] = online_parse,
	[XENSTORE_KEY_FRONTEND_ID] = frontend_id_parse,
	[XENSTORE_KEY_FRONTEND] = frontend_parse,
	[XENSTORE_KEY_TYPE] = type_parse,
	[XENSTORE_KEY_HANDLE] = handle_parse,
	[XENSTORE_KEY_VIFNAME] = vifname_parse,
	[XENSTORE_KEY_MAC] = mac_parse,
	[XENSTORE_KEY_IP] = ip_parse,
	[XENSTORE_KEY_HOTPLUG_STATUS] = hotplug_status_parse,
};

static bool
value_parse(struct xenstore_vif *vif, enum xenstore_key key, const struct xenstore_value *value,
	char *reason)
{
	char text[VALUE_SIZE];

	if (value->text == NULL)
		return !xenstore_keys[key].needed || value_wrong(reason, "is missing");
	if (value->length > xenstore_keys[key].longest)
		return value_wrong(reason, "is longer than %zu bytes", xenstore_keys[key].longest);
	memcpy(text, value->text, value->length);
	text[value->length] = '\0';
	if (strlen(text) != value->length)
		return value_wrong(reason, "holds a zero byte");
	return parsers[key](vif, text, reason);
}

void
xenstore_vif_parse(unsigned domid, unsigned devid,
	const struct xenstore_value values[XENSTORE_KEY_COUNT], struct xenstore_vif *vif)
{
	const struct xenstore_vif empty = {
		.domid = (uint16_t)domid, .devid = (uint16_t)devid, .online = true};
	char error[sizeof(vif->error)] = "";
	char reason[REASON_SIZE];

	*vif = empty;
	for (unsigned key = 0; key < XENSTORE_KEY_COUNT; key++) {
		if (value_parse(vif, key, &values[key], reason) || error[0] != '\0')
			continue;
		if (values[key].text == NULL)
			snprintf(error, sizeof(error), "%s: %s", xenstore_keys[key].name, reason);
		else
			snprintf(error, sizeof(error), "%s: \"%.*s\" %s", xenstore_keys[key].name,
				(int)strnlen(
					values[key].text, RTE_MIN(values[key].length, (size_t)48)),
				values[key].text, reason);
	}
	if (error[0] == '\0')
		return;
	for (char *c = error; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
	*vif = (struct xenstore_vif){
		.domid = vif->domid,
		.devid = vif->devid,
		.state = vif->state,
		.online = vif->online,
		.hotplug = vif->hotplug,
	};
	memcpy(vif->error, error, sizeof(error));
}

bool
xenstore_vif_same(const struct xenstore_vif *a, const struct xenstore_vif *b)
{
	for (unsigned family = 0; family < FAMILIES; family++)
		if (a->has[family] != b->has[family] ||
			!address_equal(&a->address[family], &b->address[family]))
			return false;
	return a->domid == b->domid && a->devid == b->devid && a->ioemu == b->ioemu &&
	       memcmp(a->mac, b->mac, sizeof(a->mac)) == 0 &&
	       strcmp(a->frontend, b->frontend) == 0 && strcmp(a->error, b->error) == 0;
}

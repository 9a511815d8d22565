/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What xenstore says about a vif: which values are read of backend/vif/DOMID/DEVID/, and what they
 * must look like. Text in, struct out; whoever speaks to xenstored is app/xenstore_client.h.
 *
 * dom0 writes these values, all in one transaction, and the kernel's netback changes `state`. They
 * are taken for hostile all the same: each has a longest length, and what is wrong with one is said
 * in words that name the key. The interface has the name that netback gives it, vif<domid>.<devid>:
 * no value can make sluice take another one. That also leaves out `vif5.0-emu`, the emulated twin
 * that a `vif_ioemu` has where its device model runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "classifier/address.h"

/* Relative paths are those of the domain that asks. */
#define XENSTORE_VIFS "backend/vif"

/* Greatest domid of a guest in Qubes; devid fits the name of an interface. */
#define XENSTORE_DOMID_MAX 32752u
#define XENSTORE_DEVID_MAX UINT16_MAX

/* "backend/vif/32752.65535/hotplug-status" and the like, with its NUL. */
#define XENSTORE_PATH_SIZE 64

#define XENSTORE_FRONTEND_SIZE 128

/*
 * What is read. Each row is KEY(identifier, "name", longest value in bytes, needed).
 * Where several are wrong, the first one in this order is named.
 */
/* clang-format off */
#define XENSTORE_KEYS(KEY) \
	KEY(STATE,		"state",	   1, true) \
	KEY(ONLINE,		"online",	   1, false) \
	KEY(FRONTEND_ID,	"frontend-id",	   5, true) \
	KEY(FRONTEND,		"frontend",	 127, true) \
	KEY(TYPE,		"type",		   9, false) \
	KEY(HANDLE,		"handle",	   5, false) \
	KEY(VIFNAME,		"vifname",	  15, false) \
	KEY(MAC,		"mac",		  17, true) \
	KEY(IP,			"ip",		  61, true) \
	KEY(HOTPLUG_STATUS,	"hotplug-status", 127, false)
/* clang-format on */

enum xenstore_key {
#define XENSTORE_KEY_ENUM(identifier, ...) XENSTORE_KEY_##identifier,
	XENSTORE_KEYS(XENSTORE_KEY_ENUM)
#undef XENSTORE_KEY_ENUM
		XENSTORE_KEY_COUNT
};

struct xenstore_key_info {
	const char *name;
	size_t longest;
	bool needed;
};
extern const struct xenstore_key_info xenstore_keys[XENSTORE_KEY_COUNT];

/* A value as it came. */
struct xenstore_value {
	const char *text; /* NULL: the key is not there */
	size_t length;
};

/* XenbusState. */
enum xenbus_state {
	XENBUS_UNKNOWN,
	XENBUS_INITIALISING,
	XENBUS_INIT_WAIT,
	XENBUS_INITIALISED,
	XENBUS_CONNECTED,
	XENBUS_CLOSING,
	XENBUS_CLOSED,
	XENBUS_RECONFIGURING,
	XENBUS_RECONFIGURED,
};

enum hotplug_status { HOTPLUG_NONE, HOTPLUG_CONNECTED, HOTPLUG_OTHER };

struct xenstore_vif {
	uint16_t domid, devid;
	enum xenbus_state state;
	bool online; /* the toolstack wants it to be there; also when it does not say */
	enum hotplug_status hotplug;
	/* the rest is nothing but zeroes while `error` says something */
	bool ioemu; /* it has an emulated twin somewhere */
	bool has[FAMILIES];
	union address address[FAMILIES];
	uint8_t mac[6];
	char frontend[XENSTORE_FRONTEND_SIZE];
	char error[256]; /* KEY: what is wrong; empty: nothing */
};

/**
 * Make a vif of the values of its keys. Those of `state` and `online` count even if others are
 * wrong.
 * @param values indexed by enum xenstore_key
 */
void xenstore_vif_parse(unsigned domid, unsigned devid,
	const struct xenstore_value values[XENSTORE_KEY_COUNT], struct xenstore_vif *vif);

/** Tell whether two are one and the same: whatever names, addresses or connects it is unchanged. */
bool xenstore_vif_same(const struct xenstore_vif *a, const struct xenstore_vif *b);

/** Tell whether a backend is to be served in this state. */
bool xenbus_state_is_up(enum xenbus_state state);

/**
 * Parse the name of a directory that is a number: digits only, none that lead.
 * @return false when it is none of ours
 */
bool xenstore_number_parse(const char *name, unsigned most, unsigned *number);

/**
 * Say which vif a path below backend/vif belongs to.
 * @param path relative, as a watch gives it
 * @return false when it says nothing about a single one: all may have changed
 */
bool xenstore_path_parse(const char *path, unsigned *domid, unsigned *devid);

/** Write the path of a vif, or of a key of it, into @p path. @param key NULL: of the vif itself */
void xenstore_path_format(
	char path[XENSTORE_PATH_SIZE], unsigned domid, unsigned devid, const char *key);

/** The name of a vif's interface. */
void xenstore_ifname_format(char ifname[16], unsigned domid, unsigned devid);

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluice.conf: read, checked completely, and turned into a struct conf before anything starts.
 *
 * A running sluiced reads it again on SIGHUP. What it cannot change then is told by
 * conf_reload_check, the rest becomes the next policy snapshot.
 *
 * It may be several files, one after the other: `include` names the others. Sections may be
 * continued in another file; a key stands once in all of them.
 *
 * Every error is written through `report` as one line `FILE:LINE: KEY: what is wrong, what is
 * allowed`; all errors of a file are reported (up to 100), not only the first. What concerns a
 * whole section names the line of its header, what concerns the whole file its last line.
 *
 * A bad rules file is not an error of the configuration: the qube it belongs to gets state
 * RULES_BAD and the reason, and one line is reported that says so. `sluiced` starts with that qube
 * refused; `sluiced --check`, asked for validation, must look at the states and fail.
 */
#pragma once

#include <sys/types.h>

#include "classifier/policy.h"
#include "nat/timeout.h"

/* One line of text about something wrong or worth knowing, without a newline. */
typedef void (*report_fn)(void *context, const char *line);

struct report {
	report_fn line;
	void *context;
};

/** Format a line and hand it to @p report. */
void report_line(const struct report *report, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** Replace the control characters of @p text, which may quote anything, by `?`. */
void text_sanitise(char *text);

/* [sluice] */
#define WORKERS_MAX 64
#define WORKERS_AUTOMATIC_MAX 4
#define FLOWS_MIN 1024u /* per worker */
#define FLOWS_MAX 16777216u
#define FLOWS_DEFAULT 262144u
#define PORTS_DEFAULT 64u
#define SOCKET_PATH_DEFAULT "/run/sluice/control.sock"
#define STATE_DIR_DEFAULT "/var/lib/sluice"

/* Longest rule string in bytes: what QubesDB itself can hold. */
#define RULE_TEXT_MAX 3071u

enum device { DEVICE_KERNEL, DEVICE_PCI, DEVICE_DPDK, DEVICE_TAP };

/* What workers without work do: see app/idle.h. */
enum idle_mode {
	IDLE_ADAPTIVE, /* look, then sleep */
	IDLE_SPIN,     /* look all the time */
};

/* What becomes of system calls that sluiced does not need: see app/syscall_filter.h. */
enum seccomp_mode {
	SECCOMP_KILL,
	SECCOMP_LOG,
	SECCOMP_OFF,
};

/* Their values in the file; of a device, what stands before the colon. */
extern const char *const device_kinds[], *const idle_modes[], *const seccomp_modes[];

/* Where the addresses, gateways and resolvers of the uplink come from; of the host's interface. */
enum settings { SETTINGS_FILE, SETTINGS_QUBESDB, SETTINGS_HOST, SETTINGS_UPLINK };

struct conf_port {
	char name[NAME_SIZE];
	enum device device;
	char *argument; /* behind the colon: IFNAME, PCI address, DPDK vdev arguments */
	enum role role;
	char qube[NAME_SIZE]; /* all but ROLE_UPLINK; of ROLE_HOST a qube without addresses */
	bool has[FAMILIES];   /* ROLE_UPLINK: address, address6 */
	union address address[FAMILIES];
	struct prefix link[FAMILIES];
	bool has_gateway[FAMILIES];
	union address gateway[FAMILIES];
	unsigned resolver_count;
	rte_be32_t resolver[RESOLVERS_MAX];
	enum settings settings; /* ROLE_UPLINK; ROLE_HOST: SETTINGS_UPLINK or as others have them */
	/* SETTINGS_HOST: where resolvers are found, "": the usual places; SETTINGS_UPLINK: where
	   they are written to, "": nowhere */
	char resolv_conf[256];
	enum mss_clamp mss_clamp;
	uint16_t mss;  /* MSS_CLAMP_FIXED: bytes */
	unsigned line; /* of its section header */
};

/* What a conf_qube owns of its rules. */
enum rules_storage {
	STORAGE_OWNED,    /* all */
	STORAGE_SHALLOW,  /* the array, not what its rules point at */
	STORAGE_BORROWED, /* nothing */
};

struct live_tree; /* conf/live.h */

struct conf_qube {
	char name[NAME_SIZE];
	bool has[FAMILIES];
	union address address[FAMILIES];
	bool has_mac;
	uint8_t mac[6];
	bool host;        /* our own kernel: its addresses are the uplink's */
	bool accepts_all; /* nobody wrote rules for it, so it may send anything */
	char *rules_path; /* as to be opened: relative paths are resolved against the conf file */
	enum rules_state state; /* RULES_NONE without a `rules` key */
	struct ruleset ruleset; /* RULES_VALID */
	char *rules_error;      /* RULES_BAD: FILE:LINE: reason */
	enum rules_storage storage;
	struct live_tree *tree[FAMILIES]; /* where rules came from, if it was QubesDB; references */
	bool has_visible; /* it takes `visible` for its own IPv4 address, and may have a gateway */
	rte_be32_t visible, visible_gateway;
	enum filter filter;
	struct limits limits; /* its own, those of [limits] where it has none */
	unsigned line;
};

/* Section 6 of Qubes' forward rules: `srcports` is where we listen, `dstports` what is behind. */
struct conf_forward {
	char name[NAME_SIZE];
	enum forward_side side;
	uint8_t protocol;                   /* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t first, last;               /* ports it listens on, host order, inclusive */
	uint16_t target_first, target_last; /* ports of the qube: as many, or one for all */
	bool has_source;                    /* else anyone */
	enum family source_family;
	struct prefix source;
	char qube[NAME_SIZE]; /* the target */
	uint64_t expire_s;    /* unix time at which it ends; 0 = never */
	char *comment;        /* NULL without one */
	unsigned line;
};

struct conf_allow {
	char name[NAME_SIZE];
	char from[NAME_SIZE], to[NAME_SIZE]; /* qubes */
	uint8_t protocol;     /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP (both families), 0 = all */
	uint16_t first, last; /* destination ports, host order; 0 and 65535 without `dstports` */
	unsigned line;
};

/* Whose members may use the control socket. */
struct conf_group {
	bool set;
	gid_t id;
};

struct section;    /* conf/loader.h */
struct conf_files; /* conf/include.h */

struct conf {
	char *path;    /* the file, for messages */
	char *include; /* pattern of files that are read after it; NULL without one */
	/* All files. Lines, here and in what follows, are counted through them: see conf_place. */
	struct conf_files *files;
	unsigned workers;
	bool workers_automatic; /* nobody said how many */
	unsigned flows;         /* per worker */
	unsigned ports_max;     /* open at once */
	enum idle_mode idle;
	enum seccomp_mode seccomp;
	char *socket_path;
	char *state_dir;
	struct conf_group group, look_group; /* may change things; may look */
	bool telemetry;                      /* DPDK's socket beside ours */
	char *qubesdb_path;                  /* NULL: QubesDB is not asked */
	bool qubesdb_forwards;               /* the draft tree of forward rules counts */
	bool xenstore;                       /* vifs come and go */
	bool log_refusals;
	bool has_gateway[FAMILIES];
	union address gateway[FAMILIES];
	unsigned virtual_dns_count;
	rte_be32_t virtual_dns[VIRTUAL_DNS_MAX];
	struct timeout_values timeouts;
	unsigned port_count;
	struct conf_port *ports;
	struct limits limits; /* of qubes that have none of their own */
	unsigned qube_count;
	struct conf_qube *qubes;
	unsigned forward_count;
	struct conf_forward *forwards;
	unsigned allow_count;
	struct conf_allow *allows;
	/* where everything stood, for messages about it */
	unsigned section_count;
	struct section *sections;
	unsigned line_count; /* of the first file */
};

/**
 * Read and check a configuration file and the rules files it names.
 * @return 0 with @p out filled (free with conf_free), -EINVAL when the file has errors (all of
 *	them reported), -errno when it cannot be read (reported, without a line number)
 */
int conf_load(const char *path, const struct report *report, struct conf **out);
void conf_free(struct conf *conf);

/* FILE:LINE, with its NUL; of a path that is longer, the beginning. */
#define PLACE_SIZE 512

/**
 * Where a line stands: FILE:LINE.
 * @param line as members called `line` have it; 0 is the whole file
 */
const char *conf_place(const struct conf *conf, unsigned line, char text[PLACE_SIZE]);

/** The same of a second line, for a message about the first: "line 3" in the same file. */
const char *conf_other_place(
	const struct conf *conf, unsigned line, unsigned other, char text[PLACE_SIZE]);

/** The qube of that name; NULL if there is none. */
const struct conf_qube *conf_qube_find(const struct conf *conf, const char *name);

/**
 * Tell whether a running sluiced can go on with another configuration.
 *
 * It cannot change what was built when it started, which is said in [sluice]. Every difference is
 * reported as a line that says where it stands in @p wanted.
 * @return 0, or -EBUSY when there are such differences
 */
int conf_reload_check(
	const struct conf *running, const struct conf *wanted, const struct report *report);

/**
 * Parse the text of a rules file: `policy=` and one rule per line.
 * @param path for messages
 * @param error out, on failure: an allocated line `PATH:LINE: KEY: reason`
 * @return 0, or -EINVAL
 */
int rules_parse(const char *path, const char *text, struct ruleset *ruleset, char **error);

/* Which tree a rule string comes from: QubesDB keeps one per family, a file holds both. */
enum rule_tree { RULE_TREE_IPV4, RULE_TREE_IPV6, RULE_TREE_BOTH };

/**
 * Parse one Qubes rule string, strictly (single spaces, no duplicates, no unknown keys).
 * @param error out, on failure: the reason `KEY: what is wrong`
 * @return 0 with @p rule filled (its `name` owned by the caller), or -EINVAL
 */
int qubes_rule_parse(
	const char *text, enum rule_tree tree, struct rule *rule, char *error, size_t error_size);

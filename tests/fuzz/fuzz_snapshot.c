/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Snapshots that nobody wrote, read into a data plane, and what must hold all the same.
 *
 * Each file is made of flows that are good or nearly so, put together at random out of the
 * addresses, ports and qubes of the test plane and of others; then it is damaged, and most of the
 * times its checksum, length and counts are put right again, since all others end at the door.
 * After each file:
 *
 * - it is gone, or it has been set aside and nothing of it is in use
 * - as many flows live as were reported
 * - each of them has ports and a qube that exist, a state that exists, no flags but its own, and
 *   time left; both its tuples lead to it at the worker that packets are steered to; nothing goes
 *   out of the uplink under another address than ours (IPv6: or the qube's own), and nothing comes
 *   in from there but to us
 * - accounts, external ports and permissions are those of the flows that live, within the limits
 * - packets of both directions pass through the pipeline without a fault
 * - written again, all of it is taken again
 * - and when time has passed, all of it is gone, and nothing is held any more
 *
 *	FUZZ_FILES=100000 FUZZ_SEED=1 FUZZ_SECONDS=10 fuzz_snapshot
 *
 * Ends after so many files or seconds, whichever comes first. A failure names seed and file. Built
 * with -DLIBFUZZER it is a target for libFuzzer, whose input is what is behind a header.
 */
#include "tests/unit/audit.h"
#include "tests/unit/restart.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <time.h>

#include "app/snapshot_format.h"
#include "nat/steer.h"

#define FILES_DEFAULT 100000
#define SECONDS_DEFAULT 10
#define WORKERS 2
#define FLOWS_MOST 24
#define FILE_MOST 8192

static struct plane *plane;
static uint64_t seed;
static uint32_t file_number;
static uint8_t file[FILE_MOST];
static size_t file_length;
static uint64_t files_taken, flows_taken;

static void __attribute__((noreturn, format(printf, 1, 2))) broken(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "fuzz_snapshot: seed %" PRIu64 ", file %u: ", seed, file_number);
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n%s", said);
	va_end(arguments);
	abort();
}

/* --- what must hold --- */

static bool
is_qube_port(uint16_t port)
{
	return policy_of(plane)->ports[port].role == ROLE_QUBE;
}

static const struct qube *
qube_behind(uint16_t port)
{
	return &policy_of(plane)->qubes[policy_of(plane)->ports[port].qube];
}

static void
check_tuples(struct flow *flow)
{
	const struct policy_port *uplink = &policy_of(plane)->ports[PLANE_UPLINK];
	struct tuple original, reply;
	enum family family;

	flow_tuple(flow, DIRECTION_ORIGINAL, &original);
	flow_tuple(flow, DIRECTION_REPLY, &reply);
	family = original.family;
	if (is_qube_port(flow->way[1].port) &&
		!address_equal(&original.source, &qube_behind(flow->way[1].port)->address[family]))
		broken("it comes from a qube that does not have this address");
	if (is_qube_port(flow->way[0].port) &&
		!address_equal(&reply.source, &qube_behind(flow->way[0].port)->address[family]))
		broken("it leads to a qube that does not have this address");
	if (!is_qube_port(flow->way[0].port) &&
		!address_equal(&reply.destination, &uplink->address[family]))
		broken("it goes out under an address that is not ours");
	if (!is_qube_port(flow->way[1].port) &&
		!address_equal(&original.destination, &uplink->address[family]))
		broken("it comes in, and not to us");
	if (!is_qube_port(flow->way[0].port) && !is_qube_port(flow->way[1].port))
		broken("it only passes by");
}

static void
check_flow(void *context, struct flow *flow)
{
	struct worker *worker = context;
	const struct policy *policy = policy_of(plane);
	const struct dataplane *dataplane = plane->dataplane;
	uint32_t left_ms = flow->deadline_ms - plane->now_ms;
	bool forward_gone;
	uint16_t qube;

	if ((flow->flags & FLOW_PERMISSION) != 0)
		return;
	/* Packets that come in for it are now those of a filter, or of nobody. */
	forward_gone = flow->protocol == IPPROTO_UDP &&
		       (flow->flags & (FLOW_INBOUND | FLOW_BINDING)) == FLOW_INBOUND;
	if (flow->way[0].port >= policy->port_count || flow->way[1].port >= policy->port_count ||
		flow->qube >= policy->qube_count)
		broken("port or qube do not exist");
	if (flow->generation != 0)
		broken("generation %u", flow->generation);
	if (flow->protocol == IPPROTO_TCP &&
		(flow->state == TCP_STATE_NONE || flow->state >= TCP_STATE_COUNT))
		broken("state %u", flow->state);
	if ((flow->flags & FLOW_REFUSED) != 0)
		broken("flags %x", flow->flags);
	if (left_ms == 0 || left_ms > INT32_MAX)
		broken("%u ms left", left_ms);
	if (flow->rule != RULE_POLICY && flow->rule != RULE_NONE &&
		flow->rule >= policy->qubes[flow->qube].rules->ruleset.count)
		broken("rule %u", flow->rule);
	qube = policy->ports[flow->way[1].port].qube;
	for (unsigned i = 0; i < 2; i++) {
		enum direction direction;
		struct tuple tuple;

		flow_tuple(flow, i, &tuple);
		if (flow_lookup(worker->flows, &tuple, flow_hash(&dataplane->secret, &tuple),
			    &direction) != flow ||
			direction != i)
			broken("a tuple does not lead to its flow");
		if (i == DIRECTION_ORIGINAL && !forward_gone &&
			steer_tuple(policy, &dataplane->secret, dataplane->bindings, &tuple, qube,
				dataplane->worker_count) != worker->index)
			broken("another worker gets its packets: protocol %u, flags %x, %u > %u, "
			       "%u > %u",
				flow->protocol, flow->flags, rte_be_to_cpu_16(flow->port[0][0]),
				rte_be_to_cpu_16(flow->port[0][1]),
				rte_be_to_cpu_16(flow->port[1][0]),
				rte_be_to_cpu_16(flow->port[1][1]));
	}
	check_tuples(flow);
}

/* --- what is done with it --- */

static struct flow some[8];
static unsigned some_count;

static void
flow_note(void *context, struct flow *flow)
{
	(void)context;
	if (some_count < RTE_DIM(some) && (flow->flags & FLOW_PERMISSION) == 0)
		some[some_count++] = *flow;
}

/* A packet of one direction, as it arrives. */
static void
send_packet(const struct flow *flow, enum direction direction)
{
	static struct frame frame;
	uint16_t port = flow->way[!direction].port;
	bool icmp = flow->protocol == IPPROTO_ICMP || flow->protocol == IPPROTO_ICMPV6;
	char source[ADDRESS_TEXT_SIZE], destination[ADDRESS_TEXT_SIZE];
	struct frame_spec spec = {
		.destination_mac = is_qube_port(port) ? plane_vif_mac : plane_uplink_mac,
		.source_mac = is_qube_port(port) ? plane_qube_mac : plane_router_mac,
		.source = source,
		.destination = destination,
		.protocol = flow->protocol,
		.tcp_flags = 0x10,
		.payload = 9,
	};
	struct tuple tuple;

	flow_tuple(flow, direction, &tuple);
	address_format(source, tuple.family, &tuple.source);
	address_format(destination, tuple.family, &tuple.destination);
	spec.source_port =
		rte_be_to_cpu_16(tuple.source_port | (icmp ? tuple.destination_port : 0));
	spec.destination_port = rte_be_to_cpu_16(tuple.destination_port);
	if (icmp)
		spec.type = (uint8_t)(flow->protocol == IPPROTO_ICMP
					      ? (direction == DIRECTION_ORIGINAL ? 8 : 0)
					      : (direction == DIRECTION_ORIGINAL ? 128 : 129));
	frame_build(&frame, &spec);
	plane_send(plane, port, &frame);
}

static void
each_worker(void (*visit)(void *context, struct flow *flow))
{
	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		flow_walk(plane->dataplane->workers[i]->flows, visit, plane->dataplane->workers[i]);
}

static void
expect_balance(const char *text)
{
	if (text != NULL)
		broken("%s", text);
}

static unsigned conversations;

static void
flow_number(void *context, struct flow *flow)
{
	(void)context;
	conversations += (flow->flags & FLOW_PERMISSION) == 0;
}

/* How many flows live, without the permissions that some of them need. */
static unsigned
flows_living(void)
{
	conversations = 0;
	each_worker(flow_number);
	return conversations;
}

/* Longer than any flow can have. */
static void
let_all_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		plane->now_ms += UINT32_C(0x60000000);
		plane_service(plane);
	}
	plane_wait(plane, 5000);
	plane_forget(plane);
	plane_resolve(plane);
	if (flows_count(plane) != 0)
		broken("%u flows never end", flows_count(plane));
	expect_balance(plane_audit_empty(plane));
}

/* Read what is in `file`, and see. */
static void
file_try(bool passes_on)
{
	unsigned count, reported = 0;
	int result;

	file_store(file, file_length);
	result = plane_read(plane);
	count = flows_living();
	expect_balance(plane_audit(plane));
	if (exists(path))
		broken("the file is still there");
	if (result == -EBADMSG) {
		if (count != 0)
			broken("a file that is refused is used");
		if (unlink(damaged_path) != 0)
			broken("a file that is refused is not set aside");
		return;
	}
	if (result != 0)
		broken("read: %d", result);
	if (exists(damaged_path))
		broken("a file that is used is set aside");
	if (sscanf(said, "snapshot: %u flows taken up", &reported) != 1 || reported != count)
		broken("%u flows, not as reported", count);
	files_taken++;
	flows_taken += count;
	each_worker(check_flow);
	if (passes_on) {
		if (plane_write(plane) != 0 ||
			sscanf(said, "snapshot: %u flows written", &reported) != 1 ||
			reported != count)
			broken("%u flows, not all of them written again", count);
		let_all_end();
		if (plane_read(plane) != 0 || flows_living() != count)
			broken("%u flows, of %u again", flows_living(), count);
		each_worker(check_flow);
	}
	some_count = 0;
	each_worker(flow_note);
	for (unsigned i = 0; i < some_count; i++) {
		send_packet(&some[i], DIRECTION_REPLY);
		send_packet(&some[i], DIRECTION_ORIGINAL);
		plane_forget(plane);
	}
	expect_balance(plane_audit(plane));
	let_all_end();
}

static void
open_plane(void)
{
	if (restart_paths() != 0)
		exit(1);
	unit_eal();
	plane = plane_ready(&(struct plane_options){
		.workers = WORKERS,
		.rules = "policy=drop\naction=accept\n",
		.work = "filter = address\nports = 3\nhalf-open = 2\n",
		.personal = "filter = none\n",
		.more = "[forward one]\nforwardtype = external\nproto = udp\n"
			"srcports = 40001\ndstports = 443\nqube = work\n"
			"[forward two]\nforwardtype = internal\nproto = udp\n"
			"srcports = 443\nqube = personal\n",
	});
}

static void
close_plane(void)
{
	unsigned lost = plane_free(plane);

	restart_clean();
	if (lost != 0)
		broken("%u mbufs were lost", lost);
}

/* --- files --- */

static void
file_header(unsigned ports, unsigned qubes, unsigned flows)
{
	struct snapshot_header header = {
		.length = file_length,
		.flow_count = flows,
		.port_count = (uint16_t)ports,
		.qube_count = (uint16_t)qubes,
		.written = {.wall_ms = (uint64_t)time(NULL) * 1000},
	};

	snapshot_header_write(file, &header);
}

#ifdef LIBFUZZER

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	open_plane();
	atexit(close_plane);
	return 0;
}

/* How many ports and qubes, and then the file behind its header; as many flows as there are. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned ports, qubes;
	size_t names;

	if (size < 1 || size > FILE_MOST - HEADER)
		return 0;
	ports = data[0] & 7;
	qubes = data[0] >> 3 & 7;
	names = ports * SNAPSHOT_PORT_SIZE + qubes * SNAPSHOT_QUBE_SIZE;
	file_length = HEADER + size - 1;
	memcpy(file + HEADER, data + 1, size - 1);
	file_header(ports, qubes, size - 1 < names ? 0 : (unsigned)((size - 1 - names) / RECORD));
	file_sign(file, file_length);
	file_try(false);
	file_number++;
	return 0;
}

#else

static uint64_t random_state;

static uint32_t
draw(uint32_t range)
{
	uint64_t word = random_state += UINT64_C(0x9e3779b97f4a7c15);

	word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((word >> 32) % range);
}

#define PORTS 5 /* in the file: the plane's, and two that it does not have */
#define QUBES 3

static void
names_write(void)
{
	static const struct snapshot_port ports[PORTS] = {
		{.name = "uplink", .role = ROLE_UPLINK, .qube = QUBE_NONE},
		{.name = "work", .role = ROLE_QUBE, .qube = 1, .mac = {2, 2, 2, 2, 2, 2}},
		{.name = "personal", .role = ROLE_QUBE, .qube = 0},
		{.name = "uplink2", .role = ROLE_UPLINK, .qube = QUBE_NONE},
		{.name = "vault", .role = ROLE_QUBE, .qube = 2},
	};
	static const char qubes[QUBES][NAME_SIZE] = {"personal", "work", "vault"};

	for (unsigned i = 0; i < PORTS; i++)
		snapshot_port_write(file + HEADER + i * SNAPSHOT_PORT_SIZE, &ports[i]);
	for (unsigned i = 0; i < QUBES; i++)
		snapshot_qube_write(
			file + HEADER + PORTS * SNAPSHOT_PORT_SIZE + i * SNAPSHOT_QUBE_SIZE,
			qubes[i]);
}

static union address
address_draw(enum family family)
{
	static const char *const texts[FAMILIES][12] = {
		{PLANE_WORK_ADDRESS, PLANE_PERSONAL_ADDRESS, PLANE_UPLINK_ADDRESS, PLANE_GATEWAY,
			"192.0.2.7", "192.168.50.77", PLANE_DNS, PLANE_RESOLVER, PLANE_ROUTER,
			"192.168.50.255", "10.137.0.18", "8.8.8.8"},
		{PLANE_WORK_ADDRESS6, PLANE_PERSONAL_ADDRESS6, PLANE_UPLINK_ADDRESS6,
			PLANE_GATEWAY6, "2600:1::7", "fd00:50::77", PLANE_ROUTER6, "2001:db8::1",
			"fd09::12", "2600:1::8", "2600:1::9", "2600:1::a"},
	};
	union address address = {.half = {0, 0}};
	enum family ignored;

	/* more often somebody far away */
	address_parse(texts[family][draw(3) == 0            ? draw(12)
				    : family == FAMILY_IPV4 ? 4
							    : 9],
		&ignored, &address);
	return address;
}

/* Whose address is on a port, if it is a qube's. */
static union address
own_address(unsigned port, enum family family)
{
	static const char *const texts[2][FAMILIES] = {
		{PLANE_WORK_ADDRESS, PLANE_WORK_ADDRESS6},
		{PLANE_PERSONAL_ADDRESS, PLANE_PERSONAL_ADDRESS6},
	};
	union address address = {.half = {0, 0}};
	enum family ignored;

	if (port != PLANE_WORK && port != PLANE_PERSONAL)
		return address_draw(family);
	address_parse(texts[port - PLANE_WORK][family], &ignored, &address);
	return address;
}

static union address
uplink_address(enum family family)
{
	union address address = {.half = {0, 0}};
	enum family ignored;

	address_parse(family == FAMILY_IPV4 ? PLANE_UPLINK_ADDRESS : PLANE_UPLINK_ADDRESS6,
		&ignored, &address);
	return address;
}

static rte_be16_t
port_draw(void)
{
	static const uint16_t few[] = {53, 443, 1024, 40000, 40001, 65535};

	return rte_cpu_to_be_16(draw(2) == 0 ? few[draw(RTE_DIM(few))] : (uint16_t)draw(65536));
}

/* A flow that is right as a whole, or where a single thing is not. */
static void
flow_draw(struct snapshot_flow *flow)
{
	static const uint8_t protocols[] = {
		IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ESP};
	enum family family = draw(2) == 0 ? FAMILY_IPV4 : FAMILY_IPV6;
	struct tuple *original = &flow->tuple[0], *reply = &flow->tuple[1];
	unsigned from = draw(8) == 0 ? draw(PORTS) : PLANE_WORK + draw(2);
	unsigned to = draw(8) == 0 ? draw(PORTS) : PLANE_UPLINK;
	bool swap = draw(4) == 0;

	memset(flow, 0, sizeof(*flow));
	if (swap) {
		unsigned other = from;

		from = to;
		to = other;
	}
	flow->family = (uint8_t)family;
	flow->protocol = protocols[draw(RTE_DIM(protocols))];
	if (flow->protocol == IPPROTO_ICMP && family == FAMILY_IPV6)
		flow->protocol = IPPROTO_ICMPV6;
	flow->flags = (uint8_t)(draw(2) | (swap ? FLOW_INBOUND : 0));
	flow->remaining_ms = draw(4) == 0 ? 1 + draw(INT32_MAX) : 60000 + draw(8000000);
	flow->port[0] = (uint16_t)to;
	flow->port[1] = (uint16_t)from;
	/* the inner end: its place in the list is the other way round */
	flow->qube = (uint16_t)(swap ? to == PLANE_WORK : from == PLANE_WORK);
	flow->rule = (uint16_t)(draw(2) == 0 ? RULE_POLICY : draw(65536));
	original->source = own_address(from, family);
	original->destination = swap ? uplink_address(family) : address_draw(family);
	reply->source = swap ? own_address(to, family) : original->destination;
	reply->destination = swap ? original->source : uplink_address(family);
	if (flow->protocol == IPPROTO_TCP || flow->protocol == IPPROTO_UDP) {
		original->source_port = port_draw();
		original->destination_port = reply->source_port = port_draw();
		reply->destination_port = swap ? original->source_port : port_draw();
		if (flow->protocol == IPPROTO_UDP && (!swap || draw(2) == 0))
			flow->flags |= FLOW_BINDING;
	} else if (flow->protocol != IPPROTO_ESP) {
		flow->flags |= FLOW_BINDING;
		original->source_port = port_draw();
		reply->destination_port = port_draw();
		flow->state = family == FAMILY_IPV4 ? 8 : 128;
	}
	if (flow->protocol == IPPROTO_TCP) {
		flow->state = (uint8_t)(1 + draw(TCP_STATE_COUNT - 1));
		flow->syn_end = draw(UINT32_MAX);
		flow->syn_scale = (uint8_t)draw(16);
		for (unsigned i = 0; i < 2; i++)
			flow->tcp[i] = (struct tcp_end){draw(UINT32_MAX), draw(UINT32_MAX),
				draw(UINT32_MAX), draw(1U << 26) & 0x3ffffffU, draw(15) & 15U,
				draw(4) & 3U};
	}
	switch (draw(12)) {
	case 0:
		original->source = address_draw(family);
		break;
	case 1:
		original->destination = address_draw(family);
		break;
	case 2:
		reply->source = address_draw(family);
		break;
	case 3:
		reply->destination = address_draw(family);
		break;
	case 4:
		flow->qube = (uint16_t)draw(QUBES);
		break;
	case 5:
		flow->flags ^= FLOW_INBOUND;
		break;
	case 6:
		flow->port[draw(2)] = (uint16_t)draw(PORTS);
		break;
	default:
		break;
	}
}

static void
damage(void)
{
	static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xfe, 0xff};
	unsigned count = 1 + draw(4);

	for (unsigned i = 0; i < count; i++) {
		size_t at = draw((uint32_t)file_length);

		switch (draw(4)) {
		case 0:
			file[at] ^= (uint8_t)(1 << draw(8));
			break;
		case 1:
			file[at] = values[draw(RTE_DIM(values))];
			break;
		case 2: /* a field from somewhere else */
			if (at + 8 <= file_length)
				memcpy(file + at, file + draw((uint32_t)file_length - 8), 8);
			break;
		default:
			file[at] = (uint8_t)draw(256);
			break;
		}
	}
}

static void
one_file(void)
{
	static const struct snapshot_header header = {.port_count = PORTS, .qube_count = QUBES};
	size_t names = HEADER + PORTS * SNAPSHOT_PORT_SIZE + QUBES * SNAPSHOT_QUBE_SIZE;
	unsigned wanted = draw(FLOWS_MOST + 1), flows = 0;

	names_write();
	for (unsigned i = 0; i < wanted; i++) {
		struct snapshot_flow flow;

		flow_draw(&flow);
		if (snapshot_flow_write(file + names + flows * RECORD, &flow, &header))
			flows++;
	}
	file_length = names + flows * RECORD;
	file_header(PORTS, QUBES, flows);
	switch (draw(8)) {
	case 0: /* in any place, and nothing is put right */
		file_sign(file, file_length);
		damage();
		break;
	case 1: /* cut, or with something behind */
		file_sign(file, file_length);
		file_length = draw((uint32_t)file_length + 200);
		break;
	case 2:
	case 3:
	case 4:
		damage();
		file_sign(file, file_length);
		break;
	default:
		file_sign(file, file_length);
		break;
	}
	file_try(draw(4) == 0);
}

static uint64_t
number_of(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

int
main(void)
{
	uint64_t files = number_of("FUZZ_FILES", FILES_DEFAULT);
	time_t end = time(NULL) + (time_t)number_of("FUZZ_SECONDS", SECONDS_DEFAULT);

	seed = number_of("FUZZ_SEED", 1);
	random_state = seed;
	open_plane();
	printf("FUZZ_SEED=%" PRIu64 " FUZZ_FILES=%" PRIu64 "\n", seed, files);
	fflush(stdout);
	for (; file_number < files && time(NULL) <= end; file_number++)
		one_file();
	printf("%u files: %" PRIu64 " used, with %" PRIu64 " flows\n", file_number, files_taken,
		flows_taken);
	/* A fuzzer whose files are all refused looks at the door alone. */
	if (file_number > 1000 && (files_taken < file_number / 4 || flows_taken < files_taken))
		broken("only %" PRIu64 " files were used, with %" PRIu64 " flows", files_taken,
			flows_taken);
	close_plane();
	return 0;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What flows from before a restart hold afterwards: room in accounts, external ports, permissions.
 * Conversations are real ones, and go on across the restart; the books must be those of before.
 */
#include "tests/unit/audit.h"
#include "tests/unit/restart.h"
#include "tests/unit/talk.h"

#define REMOTE "192.0.2.7"
#define REMOTE6 "2606:4700::7"
#define OTHER "192.0.2.8"
#define OTHER6 "2606:4700::8"

#define LISTEN(type, proto, port, target)                                               \
	"[forward " type "-" proto "-" port "]\nforwardtype = " type "\nproto = " proto \
	"\nsrcports = " port "\ndstports = " target "\nqube = personal\n"

/* From a port and an address with a port to another one; TCP with these flags, or a query. */
#define SAY(in, how, from, from_port, to_address, to_port, ...)                        \
	{                                                                              \
		.port = in, .protocol = how, .source = from, .source_port = from_port, \
		.destination = to_address, .destination_port = to_port, __VA_ARGS__    \
	}

static const char sections[] = LISTEN("external", "tcp", "8080", "80") LISTEN("external", "udp",
	"8080", "1080") LISTEN("internal", "tcp", "8081", "81") LISTEN("internal", "udp", "8081",
	"81") "[allow one]\nfrom = work\nto = personal\nproto = tcp\ndstports = 22\n";

static void
balanced(const struct plane *plane)
{
	const char *text = plane_audit(plane);

	if (text != NULL)
		fprintf(stderr, "%s\n", text);
	CU_ASSERT_PTR_NULL(text);
}

/* Long enough for everything to end. */
static void
all_gone(struct plane *plane)
{
	const char *text;

	plane_wait(plane, 8000 * 1000);
	plane_forget(plane);
	text = plane_audit_empty(plane);
	if (text != NULL)
		fprintf(stderr, "%s\n", text);
	CU_ASSERT_PTR_NULL(text);
}

/* --- conversations --- */

/* What somebody says, and what he hears: built from what came out on the other side. */
struct conversation {
	struct say out, back;
	char address[2][ADDRESS_TEXT_SIZE];
	uint16_t to; /* port on which the other side is */
	bool open;   /* TCP: its handshake is complete */
};

static struct conversation conversations[32];
static unsigned conversation_count;

static void
note(const struct say *out, uint16_t to, const struct sent *sent)
{
	struct conversation *own = &conversations[conversation_count++];
	struct frame_view view = frame_view(sent->frame.bytes, sent->frame.length);
	bool query = out->protocol == IPPROTO_ICMP || out->protocol == IPPROTO_ICMPV6;

	own->out = *out;
	own->to = to;
	own->open = false;
	address_format(own->address[0], view.family, &view.source);
	address_format(own->address[1], view.family, &view.destination);
	own->back = (struct say){
		.port = to,
		.protocol = out->protocol,
		.source = own->address[1],
		.destination = own->address[0],
		.source_port = view.destination_port,
		.destination_port = view.source_port,
		.tcp_flags = SYN | ACK,
		.sequence = 900,
		.acknowledgement = 101,
	};
	if (query) {
		own->back.source_port = (uint16_t)(sent->frame.bytes[view.l4 + 4] << 8 |
						   sent->frame.bytes[view.l4 + 5]);
		own->back.type = out->protocol == IPPROTO_ICMP ? 0 : 129;
	}
}

static void
begin(struct plane *plane, uint16_t to, const struct say *out)
{
	const struct sent *sent;

	talk_send(plane, out);
	sent = plane_next(plane, to);
	CU_ASSERT_PTR_NOT_NULL_FATAL(sent);
	note(out, to, sent);
	talk_expect_silence(plane);
}

static void
complete(struct plane *plane, struct conversation *own)
{
	talk_send(plane, &own->back);
	own->out.tcp_flags = own->back.tcp_flags = ACK;
	own->out.sequence = 101;
	own->out.acknowledgement = 901;
	own->back.sequence = 901;
	talk_send(plane, &own->out);
	own->open = true;
	plane_forget(plane);
}

/* Both sides speak, and are heard as before; nothing is opened for that. */
static void
go_on(struct plane *plane)
{
	for (unsigned i = 0; i < conversation_count; i++) {
		struct conversation *own = &conversations[i];

		talk_send(plane, &own->back);
		CU_ASSERT_EQUAL(plane_waiting(plane, own->out.port), 1);
		if (plane_waiting(plane, own->out.port) != 1)
			fprintf(stderr, "conversation %u: no answer\n", i);
		plane_forget(plane);
		if (own->out.protocol == IPPROTO_TCP && !own->open) {
			own->out.tcp_flags = ACK;
			own->out.sequence = 101;
			own->out.acknowledgement = 901;
		}
		talk_send(plane, &own->out);
		talk_expect(plane, own->to, own->back.destination,
			own->back.type == 0 && own->back.protocol != IPPROTO_ICMP
				? own->back.destination_port
				: 0,
			own->back.source, own->out.type == 0 ? own->back.source_port : 0);
		talk_expect_silence(plane);
	}
}

/* One of each kind, of both families. */
static void
talk_all(struct plane *plane)
{
	conversation_count = 0;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const char *work = v6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS;
		const char *personal = v6 ? PLANE_PERSONAL_ADDRESS6 : PLANE_PERSONAL_ADDRESS;
		const char *remote = v6 ? REMOTE6 : REMOTE;
		const char *other = v6 ? OTHER6 : OTHER;
		const char *uplink = v6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS;
		const char *gateway = v6 ? PLANE_GATEWAY6 : PLANE_GATEWAY;
		uint8_t icmp = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
		uint8_t echo = v6 ? 128 : 8;
		const struct {
			uint16_t to;
			bool completed;
			struct say say;
		} all[] = {
			{PLANE_UPLINK, true,
				SAY(PLANE_WORK, IPPROTO_TCP, work, 4000, remote, 443,
					.tcp_flags = SYN)},
			{PLANE_UPLINK, false,
				SAY(PLANE_WORK, IPPROTO_TCP, work, 4001, remote, 443,
					.tcp_flags = SYN)},
			/* one external port for both */
			{PLANE_UPLINK, false,
				SAY(PLANE_WORK, IPPROTO_UDP, work, 4002, remote, 443,
					.payload = 0)},
			{PLANE_UPLINK, false,
				SAY(PLANE_WORK, IPPROTO_UDP, work, 4002, other, 443, .payload = 0)},
			/* which therefore is not this one's */
			{PLANE_UPLINK, false,
				SAY(PLANE_PERSONAL, IPPROTO_UDP, personal, 4002, remote, 443,
					.payload = 0)},
			{PLANE_UPLINK, false,
				SAY(PLANE_WORK, icmp, work, 7, remote, 0, .type = echo)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_UPLINK, IPPROTO_TCP, remote, 5000, uplink, 8080,
					.tcp_flags = SYN)},
			{PLANE_PERSONAL, true,
				SAY(PLANE_UPLINK, IPPROTO_TCP, remote, 5001, uplink, 8080,
					.tcp_flags = SYN)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_UPLINK, IPPROTO_UDP, remote, 5000, uplink, 8080,
					.payload = 0)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_WORK, IPPROTO_TCP, work, 4003, gateway, 8081,
					.tcp_flags = SYN)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_WORK, IPPROTO_UDP, work, 4004, uplink, 8081,
					.payload = 0)},
			{PLANE_PERSONAL, true,
				SAY(PLANE_WORK, IPPROTO_TCP, work, 4004, uplink, 8081,
					.tcp_flags = SYN)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_PERSONAL, IPPROTO_UDP, personal, 4005, gateway, 8081,
					.payload = 0)},
			{PLANE_PERSONAL, false,
				SAY(PLANE_WORK, IPPROTO_TCP, work, 4006, personal, 22,
					.tcp_flags = SYN)},
			/* by the filter */
			{PLANE_WORK, false,
				SAY(PLANE_UPLINK, IPPROTO_UDP, remote, 6000, uplink, 4002,
					.payload = 0)},
			{PLANE_WORK, false,
				SAY(PLANE_UPLINK, IPPROTO_UDP, remote, 6001, uplink, 4002,
					.payload = 0)},
		};

		for (unsigned i = 0; i < RTE_DIM(all); i++) {
			struct say say = all[i].say;

			say.sequence = 100;
			begin(plane, all[i].to, &say);
			if (all[i].completed)
				complete(plane, &conversations[conversation_count - 1]);
		}
	}
}

/* What each account has of each kind that is counted at once. */
static uint32_t books[ACCOUNTS][BUDGET_COUNT];

static void
books_read(const struct plane *plane, uint32_t into[ACCOUNTS][BUDGET_COUNT])
{
	for (unsigned i = 0; i < ACCOUNTS; i++)
		for (unsigned kind = 0; kind < BUDGET_COUNT; kind++)
			into[i][kind] = kind == BUDGET_NEW_FLOWS || kind == BUDGET_ANSWERS
						? 0
						: budget_used(&plane->dataplane->accounts[i], kind);
}

static void
same_books(const struct plane *plane)
{
	static uint32_t now[ACCOUNTS][BUDGET_COUNT];

	books_read(plane, now);
	for (unsigned i = 0; i < ACCOUNTS; i++)
		for (unsigned kind = 0; kind < BUDGET_COUNT; kind++) {
			if (now[i][kind] != books[i][kind])
				fprintf(stderr, "account %u: %s: %u instead of %u\n", i,
					budgets[kind].name, now[i][kind], books[i][kind]);
			CU_ASSERT_EQUAL(now[i][kind], books[i][kind]);
		}
}

static uint64_t
opened(const struct plane *plane)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		sum += plane->dataplane->workers[i]->counters.flows_opened;
	return sum;
}

static void
test_books(void)
{
	static const char *const filters[] = {"filter = none\n", "filter = address\n"};

	for (unsigned workers = 1; workers <= 3; workers++) {
		for (unsigned i = 0; i < RTE_DIM(filters); i++) {
			struct plane_options options = {
				.workers = workers, .work = filters[i], .more = sections};
			struct plane *plane = plane_ready(&options);

			talk_all(plane);
			CU_ASSERT_EQUAL(opened(plane), conversation_count);
			balanced(plane);
			books_read(plane, books);
			/* of each family; the second account is for what comes in */
			CU_ASSERT_EQUAL(books[0][BUDGET_FLOWS], 2 * 9);
			CU_ASSERT_EQUAL(books[0][BUDGET_HALF_OPEN], 2 * 3);
			CU_ASSERT_EQUAL(books[0][BUDGET_PORTS], 2 * 3);
			CU_ASSERT_EQUAL(books[1][BUDGET_FLOWS], 2 * 2);
			CU_ASSERT_EQUAL(books[2][BUDGET_FLOWS], 2 * 2);
			CU_ASSERT_EQUAL(books[2][BUDGET_PORTS], 2 * 1);
			CU_ASSERT_EQUAL(books[3][BUDGET_FLOWS], 2 * 3);
			CU_ASSERT_EQUAL(books[3][BUDGET_HALF_OPEN], 2 * 1);
			plane = restart(plane, &options);
			CU_ASSERT(was_said("snapshot: 32 flows taken up, 0 no longer valid"));
			balanced(plane);
			same_books(plane);
			go_on(plane);
			CU_ASSERT_EQUAL(opened(plane), 0);
			balanced(plane);
			/* and once more, with what was taken up */
			books_read(plane, books);
			plane = restart(plane, &options);
			same_books(plane);
			all_gone(plane);
			plane_done(plane);
		}
	}
}

/* --- permissions --- */

/* Whether what @p remote sends from @p port to external port 4000 reaches work. */
static bool
reaches(struct plane *plane, const char *remote, uint16_t port)
{
	bool v6 = strchr(remote, ':') != NULL;
	struct say in = SAY(PLANE_UPLINK, IPPROTO_UDP, remote, port,
		v6 ? PLANE_UPLINK_ADDRESS6 : PLANE_UPLINK_ADDRESS, 4000, .payload = 0);
	bool found;

	talk_send(plane, &in);
	found = plane_waiting(plane, PLANE_WORK) == 1;
	plane_forget(plane);
	return found;
}

/* Who may send to a binding (filter = address) may still, and only as long as before. */
static void
test_permissions(void)
{
	for (unsigned i = 0; i < 12; i++) {
		bool v6 = i % 2 != 0, came_in_lives = i / 2 % 2 != 0;
		struct plane_options options = {
			.workers = 1 + i / 4, .work = "filter = address\n", .more = sections};
		struct plane *plane = plane_ready(&options);
		const char *remote = v6 ? REMOTE6 : REMOTE;
		struct say out =
			SAY(PLANE_WORK, IPPROTO_UDP, v6 ? PLANE_WORK_ADDRESS6 : PLANE_WORK_ADDRESS,
				4000, remote, 443, .payload = 0);

		talk_send(plane, &out);
		plane_forget(plane);
		if (came_in_lives) {
			/* what came in outlives what it came in for */
			plane_wait(plane, 60 * 1000);
			CU_ASSERT(reaches(plane, remote, 7777));
			plane_wait(plane, 90 * 1000);
			plane_forget(plane);
			CU_ASSERT_EQUAL(budget_used(dataplane_account(plane->dataplane, 0, false),
						BUDGET_FLOWS),
				0);
		}
		books_read(plane, books);
		plane = restart(plane, &options);
		CU_ASSERT(was_said("snapshot: 1 flows taken up, 0 no longer valid"));
		balanced(plane);
		same_books(plane);
		CU_ASSERT(reaches(plane, remote, 7778));
		CU_ASSERT(reaches(plane, remote, 53));
		CU_ASSERT(!reaches(plane, v6 ? OTHER6 : OTHER, 7778));
		balanced(plane);
		all_gone(plane);
		CU_ASSERT(!reaches(plane, remote, 7778));
		plane_done(plane);
	}
}

/* With another filter than before: as if the flows had been opened under it. */
static void
test_other_filter(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){.work = "filter = none\n"});
	struct say out =
		SAY(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, .payload = 0);

	talk_send(plane, &out);
	plane_forget(plane);
	CU_ASSERT(reaches(plane, OTHER, 7777));
	plane = restart(plane, &(struct plane_options){.work = "filter = address\n"});
	CU_ASSERT(was_said("snapshot: 2 flows taken up"));
	balanced(plane);
	CU_ASSERT(reaches(plane, REMOTE, 7777));
	plane = restart(plane, &(struct plane_options){0});
	balanced(plane);
	CU_ASSERT(reaches(plane, REMOTE, 443));
	CU_ASSERT(!reaches(plane, REMOTE, 7777));
	CU_ASSERT(!reaches(plane, OTHER, 7777));
	balanced(plane);
	all_gone(plane);
	plane_done(plane);
}

/* --- what is not taken up --- */

/* A data plane that reads the snapshot of @p plane after @p before was said in it. */
static struct plane *
restart_into(struct plane *plane, const struct plane_options *options, const struct say *before)
{
	CU_ASSERT_EQUAL_FATAL(plane_write(plane), 0);
	plane_done(plane);
	plane = plane_fresh(options);
	if (before != NULL) {
		talk_send(plane, before);
		plane_forget(plane);
	}
	books_read(plane, books);
	CU_ASSERT_EQUAL(plane_read(plane), 0);
	balanced(plane);
	return plane;
}

/* Somebody else has the external port already. */
static void
test_port_taken(void)
{
	static const struct say takers[] = {
		SAY(PLANE_PERSONAL, IPPROTO_UDP, PLANE_PERSONAL_ADDRESS, 4000, OTHER, 9,
			.payload = 0),
		SAY(PLANE_PERSONAL, IPPROTO_UDP, PLANE_PERSONAL_ADDRESS6, 4000, OTHER6, 9,
			.payload = 0),
		SAY(PLANE_PERSONAL, IPPROTO_ICMP, PLANE_PERSONAL_ADDRESS, 4000, OTHER, 0,
			.type = 8),
		/* towards another host that is no conflict; towards the same it is */
		SAY(PLANE_PERSONAL, IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 4000, OTHER, 443,
			.tcp_flags = SYN),
		SAY(PLANE_PERSONAL, IPPROTO_TCP, PLANE_PERSONAL_ADDRESS, 4000, REMOTE, 443,
			.tcp_flags = SYN),
	};
	static const struct say flows[] = {
		SAY(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443, .payload = 0),
		SAY(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS6, 4000, REMOTE6, 443, .payload = 0),
		SAY(PLANE_WORK, IPPROTO_ICMP, PLANE_WORK_ADDRESS, 4000, REMOTE, 0, .type = 8),
		SAY(PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443,
			.tcp_flags = SYN),
		SAY(PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, REMOTE, 443,
			.tcp_flags = SYN),
	};

	for (unsigned i = 0; i < RTE_DIM(flows); i++) {
		struct plane *plane = plane_ready(&(struct plane_options){0});
		bool taken = i != 3;

		talk_send(plane, &flows[i]);
		plane_forget(plane);
		plane = restart_into(plane, &(struct plane_options){0}, &takers[i]);
		CU_ASSERT(was_said(taken ? "0 flows taken up, 1 no longer valid"
					 : "1 flows taken up, 0 no longer valid"));
		CU_ASSERT_EQUAL(flows_count(plane), taken ? 1 : 2);
		if (taken)
			same_books(plane);
		/* who asks anew is let out, by another port */
		talk_send(plane, &flows[i]);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
		plane_forget(plane);
		balanced(plane);
		all_gone(plane);
		plane_done(plane);
	}
}

/* The limits are lower now: as many are taken up as these allow. */
static void
test_full_account(void)
{
	static const struct {
		const char *limit;
		uint8_t protocol;
		unsigned flows, taken;
	} cases[] = {
		{"flows = 16\n", IPPROTO_UDP, 20, 16},
		{"flows = 16\n", IPPROTO_TCP, 20, 16},
		{"half-open = 3\n", IPPROTO_TCP, 20, 3},
		{"half-open = 3\n", IPPROTO_UDP, 20, 20},
		{"ports = 5\n", IPPROTO_UDP, 20, 5},
		{"ports = 5\n", IPPROTO_TCP, 20, 20},
	};

	for (unsigned i = 0; i < RTE_DIM(cases); i++) {
		struct plane *plane = plane_ready(&(struct plane_options){0});
		char text[64];

		for (unsigned flow = 0; flow < cases[i].flows; flow++) {
			struct say out = SAY(PLANE_WORK, cases[i].protocol, PLANE_WORK_ADDRESS,
				(uint16_t)(4000 + flow), REMOTE, 443, .tcp_flags = SYN);

			talk_send(plane, &out);
		}
		plane_forget(plane);
		plane = restart_into(plane, &(struct plane_options){.work = cases[i].limit}, NULL);
		snprintf(text, sizeof(text), "%u flows taken up, %u no longer valid",
			cases[i].taken, cases[i].flows - cases[i].taken);
		CU_ASSERT(was_said(text));
		CU_ASSERT_EQUAL(flows_count(plane), cases[i].taken);
		all_gone(plane);
		plane_done(plane);
	}
}

/* --- forwards and filters --- */

/*
 * What came in by a forward does not turn into what came in by a filter when the forward is gone:
 * it would hold an external port then, through which others come in.
 */
static void
test_forward_gone(void)
{
	static const char listen[] = LISTEN("external", "udp", "8080", "1080");

	for (unsigned workers = 1; workers <= 3; workers++) {
		struct plane_options options = {
			.workers = workers, .personal = "filter = none\n", .more = listen};
		struct plane *plane = plane_ready(&options);
		struct say in = SAY(PLANE_UPLINK, IPPROTO_UDP, REMOTE, 5000, PLANE_UPLINK_ADDRESS,
			8080, .payload = 0);
		uint16_t qube;
		rte_be16_t port;

		talk_send(plane, &in);
		CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_PERSONAL), 1);
		plane_forget(plane);
		options.more = "";
		plane = restart(plane, &options);
		balanced(plane);
		CU_ASSERT(!binding_find(plane->dataplane->bindings, FAMILY_IPV4, IPPROTO_UDP,
			RTE_BE16(8080), &qube, &port));
		in.source_port = 5001;
		talk_send(plane, &in);
		talk_expect_silence(plane);
		in.source_port = 5000;
		talk_send(plane, &in);
		talk_expect_silence(plane);
		CU_ASSERT_EQUAL(flows_count(plane), 0);
		all_gone(plane);
		plane_done(plane);
	}
}

/* A forward listens now where a qube had an external port: what held that is not taken up. */
static void
test_forward_new(void)
{
	struct plane *plane = plane_ready(&(struct plane_options){.work = "filter = none\n"});
	struct say out =
		SAY(PLANE_WORK, IPPROTO_UDP, PLANE_WORK_ADDRESS, 8080, REMOTE, 443, .payload = 0);
	struct say in = SAY(
		PLANE_UPLINK, IPPROTO_UDP, OTHER, 5000, PLANE_UPLINK_ADDRESS, 8080, .payload = 0);

	talk_send(plane, &out);
	talk_send(plane, &in);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_WORK), 1);
	plane_forget(plane);
	plane = restart_into(
		plane, &(struct plane_options){.work = "filter = none\n", .more = sections}, NULL);
	CU_ASSERT(was_said("0 flows taken up, 2 no longer valid"));
	talk_send(plane, &in);
	talk_expect(plane, PLANE_PERSONAL, OTHER, 5000, PLANE_PERSONAL_ADDRESS, 1080);
	talk_expect_silence(plane);
	balanced(plane);
	all_gone(plane);
	plane_done(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the books of before", test_books},
		{"permissions", test_permissions},
		{"another filter", test_other_filter},
		{"an external port that is taken", test_port_taken},
		{"an account that is full", test_full_account},
		{"a forward that is gone", test_forward_gone},
		{"a forward that is new", test_forward_new},
	};

	return restart_run("snapshot adopt", tests, RTE_DIM(tests));
}

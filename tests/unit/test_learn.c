/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * DNS answers on their way through a data plane: what a qube is told holds for its very next
 * packet, for as long as it should, and nobody but whom it asked can tell it anything.
 */
#include "app/learn.h"
#include "tests/unit/talk.h"

#define HOST_ADDRESS "192.0.2.7"
#define OTHER_ADDRESS "192.0.2.8"
#define THIRD_ADDRESS "198.51.100.1"

/* [timeouts] name = 10 */
static const struct plane_options named = {
	.rules = "policy=drop\n"
		 "action=accept specialtarget=dns\n"
		 "action=accept dst4=192.168.50.53/32 proto=udp\n"
		 "action=accept dsthost=www.example.org proto=tcp dstports=443-443\n"
		 "action=accept dsthost=a..b\n"
		 "action=accept dsthost=.\n",
	.more = "[timeouts]\nname = 10\n",
	.automatic = true,
};

/* A message of DNS about one name. */
struct dns_text {
	uint16_t id;
	bool answer;
	const char *name;
	const char *address; /* of the answer; NULL: none */
	uint32_t ttl_s;
	uint8_t rcode;
	unsigned type;     /* 0: A */
	uint16_t checksum; /* 0: none */
};

static uint16_t
dns_build(const struct dns_text *text, uint8_t *out)
{
	unsigned type = text->type != 0 ? text->type : DNS_TYPE_A;
	uint16_t length = 12;
	const char *label = text->name;

	memset(out, 0, 12);
	put16(out, text->id);
	put16(out + 2, text->answer ? 0x8180u | text->rcode : 0x0100u);
	out[5] = 1;
	out[7] = text->address != NULL;
	while (*label != '\0') {
		uint8_t size = (uint8_t)strcspn(label, ".");

		out[length++] = size;
		memcpy(out + length, label, size);
		length = (uint16_t)(length + size);
		label += size;
		label += *label == '.';
	}
	out[length++] = 0;
	put16(out + length, type);
	put16(out + length + 2, 1);
	length = (uint16_t)(length + 4);
	if (text->address != NULL) {
		union address address;
		enum family family;

		CU_ASSERT_EQUAL_FATAL(address_parse(text->address, &family, &address), 0);
		put16(out + length, 0xc00c);
		put16(out + length + 2, type);
		put16(out + length + 4, 1);
		put16(out + length + 6, text->ttl_s >> 16);
		put16(out + length + 8, text->ttl_s & 0xffff);
		put16(out + length + 10, family == FAMILY_IPV4 ? 4 : 16);
		memcpy(out + length + 12, address.v6, family == FAMILY_IPV4 ? 4 : 16);
		length = (uint16_t)(length + 12 + (family == FAMILY_IPV4 ? 4 : 16));
	}
	return length;
}

/* Send DNS from one end to another, and let it pass. */
static void
dns_send(struct plane *plane, uint16_t port, const char *source, uint16_t source_port,
	const char *destination, uint16_t destination_port, const struct dns_text *text)
{
	uint8_t payload[512];
	uint16_t length = dns_build(text, payload);
	bool uplink = port == PLANE_UPLINK;
	struct frame_spec spec = {
		.destination_mac = uplink ? plane_uplink_mac : plane_vif_mac,
		.source_mac = uplink ? plane_router_mac : plane_qube_mac,
		.source = source,
		.destination = destination,
		.protocol = IPPROTO_UDP,
		.source_port = source_port,
		.destination_port = destination_port,
		.no_checksum = true,
		.payload = length,
	};

	frame_build(&talk_frame, &spec);
	memcpy(talk_frame.bytes + talk_frame.length - length, payload, length);
	if (text->checksum != 0)
		put16(talk_frame.bytes + talk_frame.length - length - 2, text->checksum);
	plane_send(plane, port, &talk_frame);
	plane_forget(plane);
}

/* The qube asks a virtual resolver for a name. */
static void
ask(struct plane *plane, uint16_t id, const char *name)
{
	dns_send(plane, PLANE_WORK, PLANE_WORK_ADDRESS, 5000, PLANE_DNS, 53,
		&(struct dns_text){.id = id, .name = name});
}

static void
told(struct plane *plane, uint16_t id, const char *name, const char *address, uint32_t ttl_s)
{
	dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5000,
		&(struct dns_text){.id = id,
			.answer = true,
			.name = name,
			.address = address,
			.ttl_s = ttl_s});
}

/* Whether work may open a connection to an address. */
static bool
connects(struct plane *plane, const char *address, uint16_t port)
{
	static uint16_t source_port = 20000;
	struct say syn = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, source_port++, address, port,
		SYN, .sequence = 100};
	bool passed;

	talk_send(plane, &syn);
	passed = plane_waiting(plane, PLANE_UPLINK) == 1;
	plane_forget(plane);
	return passed;
}

static void
test_learned(void)
{
	struct plane *plane = talk_begin(&named);

	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	ask(plane, 1, "www.Example.org");
	told(plane, 1, "www.Example.org", HOST_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	/* what the rule says besides holds */
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 80));
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.names_learned, 1);
	/* its TTL and ten seconds */
	plane_wait(plane, 39000);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	plane_wait(plane, 1500);
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* Straight to the resolver, without a virtual address. */
static void
test_direct(void)
{
	struct plane *plane = talk_begin(&named);

	dns_send(plane, PLANE_WORK, PLANE_WORK_ADDRESS, 5001, PLANE_RESOLVER, 53,
		&(struct dns_text){.id = 1, .name = "www.example.org"});
	dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5001,
		&(struct dns_text){.id = 1,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* Nothing but an answer to a question counts. */
static void
test_not_believed(void)
{
	struct plane *plane = talk_begin(&named);

	/* nobody has asked */
	told(plane, 1, "www.example.org", HOST_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	/* another number, name or type; another host; the wrong port */
	ask(plane, 2, "www.example.org");
	told(plane, 3, "www.example.org", HOST_ADDRESS, 30);
	told(plane, 2, "example.org", HOST_ADDRESS, 30);
	dns_send(plane, PLANE_UPLINK, "192.168.50.54", 53, PLANE_UPLINK_ADDRESS, 5000,
		&(struct dns_text){.id = 2,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5002,
		&(struct dns_text){.id = 2,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5000,
		&(struct dns_text){.id = 2,
			.answer = true,
			.name = "www.example.org",
			.address = "2001:db8::7",
			.ttl_s = 30,
			.type = DNS_TYPE_AAAA});
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	CU_ASSERT_EQUAL(plane->dataplane->workers[0]->counters.names_learned, 0);
	/* and the qube cannot answer itself */
	dns_send(plane, PLANE_WORK, PLANE_WORK_ADDRESS, 5000, PLANE_DNS, 53,
		&(struct dns_text){.id = 2,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	/* a host on the way that is no resolver of ours, whom a rule lets it ask */
	told(plane, 2, "www.example.org", HOST_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	/* once answered is answered */
	told(plane, 2, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	talk_end(plane);
}

/* An answer without addresses is one, too; a question sent twice is answered once. */
static void
test_answered(void)
{
	static const struct dns_text empty[] = {
		{.id = 1, .answer = true, .name = "www.example.org"},
		{.id = 1, .answer = true, .name = "www.example.org", .rcode = 3},
		{.id = 1, .answer = true, .name = "www.example.org", .rcode = 2},
	};
	struct plane *plane = talk_begin(&named);

	for (unsigned i = 0; i < RTE_DIM(empty); i++) {
		ask(plane, 1, "www.example.org");
		dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5000,
			&empty[i]);
		told(plane, 1, "www.example.org", OTHER_ADDRESS, 30);
		CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	}
	ask(plane, 2, "www.example.org");
	ask(plane, 2, "www.example.org");
	told(plane, 2, "www.example.org", HOST_ADDRESS, 30);
	told(plane, 2, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	talk_end(plane);
}

/* What the qube will throw away is not learned: every checksum but one is wrong. */
static void
test_checksum(void)
{
	struct plane *plane = talk_begin(&named);
	struct dns_text text = {.id = 1,
		.answer = true,
		.name = "www.example.org",
		.address = HOST_ADDRESS,
		.ttl_s = 30};
	unsigned right = 0;

	for (uint32_t checksum = 1; checksum <= UINT16_MAX; checksum++) {
		text.checksum = (uint16_t)checksum;
		ask(plane, 1, "www.example.org");
		dns_send(
			plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5000, &text);
		right += plane->dataplane->workers[0]->counters.names_learned != right;
	}
	CU_ASSERT_EQUAL(right, 1);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* Who writes a name in mixed case to be sure of the answer has it back as he wrote it. */
static void
test_case(void)
{
	struct plane *plane = talk_begin(&named);

	ask(plane, 1, "wWw.eXample.oRg");
	told(plane, 1, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	told(plane, 1, "wWw.eXample.oRg", HOST_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* A question that is never answered is not open for as long as its flow lives. */
static void
test_late(void)
{
	struct plane *plane = talk_begin(&named);

	ask(plane, 1, "www.example.org");
	plane_wait(plane, 9000);
	told(plane, 1, "www.example.org", HOST_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	ask(plane, 2, "www.example.org");
	plane_wait(plane, 16000);
	told(plane, 2, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	/* nor does a later question open it again */
	ask(plane, 3, "www.example.org");
	told(plane, 2, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	told(plane, 3, "www.example.org", OTHER_ADDRESS, 30);
	CU_ASSERT_TRUE(connects(plane, OTHER_ADDRESS, 443));
	talk_end(plane);
}

/* Names that no rule has are none of our business, and each qube has its own. */
static void
test_whose(void)
{
	struct plane *plane = talk_begin(&named);

	ask(plane, 1, "evil.example");
	told(plane, 1, "evil.example", HOST_ADDRESS, 30);
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	dns_send(plane, PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 5003, PLANE_DNS, 53,
		&(struct dns_text){.id = 1, .name = "www.example.org"});
	dns_send(plane, PLANE_UPLINK, PLANE_RESOLVER, 53, PLANE_UPLINK_ADDRESS, 5003,
		&(struct dns_text){.id = 1,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* A qube that came to have a resolver's address is no resolver for the others. */
static void
test_qube_answers(void)
{
	static const struct plane_options options = {
		.rules = "policy=drop\n"
			 "action=accept dst4=" PLANE_PERSONAL_ADDRESS "/32 proto=udp\n"
			 "action=accept dsthost=www.example.org proto=tcp dstports=443-443\n",
		.more = "[allow dns]\nfrom = work\nto = personal\nproto = udp\ndstports = 53\n",
		.automatic = true,
	};
	struct plane *plane = talk_begin(&options);
	/* which sluice.conf cannot say; what comes from elsewhere may */
	struct policy *policy = (struct policy *)(uintptr_t)atomic_load(&plane->dataplane->policy);
	union address resolver;
	enum family family;

	address_parse(PLANE_PERSONAL_ADDRESS, &family, &resolver);
	policy->resolver[0] = resolver.v4;
	dns_send(plane, PLANE_WORK, PLANE_WORK_ADDRESS, 5000, PLANE_PERSONAL_ADDRESS, 53,
		&(struct dns_text){.id = 1, .name = "www.example.org"});
	dns_send(plane, PLANE_PERSONAL, PLANE_PERSONAL_ADDRESS, 53, PLANE_WORK_ADDRESS, 5000,
		&(struct dns_text){.id = 1,
			.answer = true,
			.name = "www.example.org",
			.address = HOST_ADDRESS,
			.ttl_s = 30});
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	talk_end(plane);
}

/* A name that moves: the old address lasts its time, and open connections last. */
static void
test_moves(void)
{
	struct plane *plane = talk_begin(&named);
	struct say data = {PLANE_WORK, IPPROTO_TCP, PLANE_WORK_ADDRESS, 4000, HOST_ADDRESS, 443,
		SYN, .sequence = 100};

	ask(plane, 1, "www.example.org");
	told(plane, 1, "www.example.org", HOST_ADDRESS, 5);
	talk_send(plane, &data);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
	talk_send(plane,
		&(struct say){PLANE_UPLINK, IPPROTO_TCP, HOST_ADDRESS, 443, PLANE_UPLINK_ADDRESS,
			4000, SYN | ACK, .sequence = 900, .acknowledgement = 101});
	data.tcp_flags = ACK;
	data.sequence = 101;
	data.acknowledgement = 901;
	talk_send(plane, &data);
	plane_forget(plane);

	plane_wait(plane, 3000);
	ask(plane, 2, "www.example.org");
	told(plane, 2, "www.example.org", OTHER_ADDRESS, 300);
	CU_ASSERT_TRUE(connects(plane, HOST_ADDRESS, 443));
	CU_ASSERT_TRUE(connects(plane, OTHER_ADDRESS, 443));
	plane_wait(plane, 13000);
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	CU_ASSERT_TRUE(connects(plane, OTHER_ADDRESS, 443));

	/* the connection goes on, also when it is judged again by other rules with that name */
	data.payload = 10;
	talk_send(plane, &data);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
	plane_forget(plane);
	plane_commit(plane, &(struct plane_options){
				    .rules = "policy=drop\n"
					     "action=accept specialtarget=dns\n"
					     "action=accept dsthost=new.example.org\n"
					     "action=accept dsthost=www.example.org\n",
				    .more = named.more,
			    });
	data.sequence += 10;
	talk_send(plane, &data);
	CU_ASSERT_EQUAL(plane_waiting(plane, PLANE_UPLINK), 1);
	plane_forget(plane);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_LONGER_ALLOWED), 0);
	CU_ASSERT_FALSE(connects(plane, HOST_ADDRESS, 443));
	CU_ASSERT_TRUE(connects(plane, OTHER_ADDRESS, 443));

	/* a change that takes the name away ends it, and makes the qube forget */
	plane_commit(plane, &(struct plane_options){
				    .rules = "policy=drop\n"
					     "action=accept dsthost=new.example.org\n",
				    .more = named.more,
			    });
	data.sequence += 10;
	talk_send(plane, &data);
	CU_ASSERT_EQUAL(plane_drops(plane, REASON_NO_LONGER_ALLOWED), 1);
	plane_forget(plane);
	plane_commit(plane, &named);
	CU_ASSERT_FALSE(connects(plane, OTHER_ADDRESS, 443));
	talk_end(plane);
}

/* A refusal by name counts as long as the name stands there, and ends nothing that may be. */
static void
test_refused_by_name(void)
{
	static const struct plane_options options = {
		.rules = "policy=accept\naction=drop dsthost=ads.example\n",
		.more = "[timeouts]\nname = 10\n",
		.automatic = true,
	};
	struct plane *plane = talk_begin(&options);

	CU_ASSERT_TRUE(connects(plane, THIRD_ADDRESS, 443));
	ask(plane, 1, "ads.example");
	told(plane, 1, "ads.example", THIRD_ADDRESS, 1);
	CU_ASSERT_FALSE(connects(plane, THIRD_ADDRESS, 443));
	plane_wait(plane, 12000);
	CU_ASSERT_TRUE(connects(plane, THIRD_ADDRESS, 443));
	talk_end(plane);
}

/* Several workers: the answer may pass on another one than what it allows. */
static void
test_workers(void)
{
	struct plane_options options = named;
	struct plane *plane;

	options.workers = 3;
	plane = talk_begin(&options);
	for (uint16_t i = 0; i < 8; i++) {
		char address[16];

		snprintf(address, sizeof(address), "192.0.2.%u", 100u + i);
		CU_ASSERT_FALSE(connects(plane, address, 443));
		ask(plane, i, "www.example.org");
		told(plane, i, "www.example.org", address, 30);
		CU_ASSERT_TRUE(connects(plane, address, 443));
	}
	talk_end(plane);
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"what is learned holds for the next packet", test_learned},
		{"answers of the resolver itself", test_direct},
		{"answers that nobody asked for", test_not_believed},
		{"once answered, with addresses or without", test_answered},
		{"answers that were spoilt", test_checksum},
		{"answers in the case of the question", test_case},
		{"answers that come too late", test_late},
		{"names of others", test_whose},
		{"a qube in place of a resolver", test_qube_answers},
		{"a name that moves", test_moves},
		{"refused by name", test_refused_by_name},
		{"several workers", test_workers},
	};

	unit_eal();
	return UNIT_RUN("learn", tests);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See plane.h.
 */
#include "tests/unit/plane.h"

#include "classifier/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const uint8_t plane_uplink_mac[6] = {0x02, 0, 0, 0, 0, 0x01};
const uint8_t plane_vif_mac[6] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff};
const uint8_t plane_qube_mac[6] = {0x00, 0x16, 0x3e, 0x5e, 0x6c, 0x00};
const uint8_t plane_router_mac[6] = {0x02, 0xaa, 0, 0, 0, 0x02};
const uint8_t plane_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static void
complain(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "plane: %s\n", line);
}

static const struct report report = {.line = complain};

static void
keep(struct plane *plane, const struct port *port, const struct rte_mbuf *mbuf)
{
	struct sent **last = &plane->sent[port->index];
	struct sent *sent = malloc(sizeof(*sent));

	if (sent == NULL)
		abort();
	while (*last != NULL)
		last = &(*last)->next;
	sent->next = NULL;
	sent->port = port->index;
	sent->serial = packet_of((struct rte_mbuf *)(uintptr_t)mbuf)->serial;
	sent->ol_flags = mbuf->ol_flags;
	frame_of_mbuf(&sent->frame, mbuf);
	*last = sent;
}

static uint16_t
plane_tx_burst(struct port *port, unsigned worker, struct rte_mbuf **burst, uint16_t count)
{
	struct plane *plane = port->driver;

	(void)worker;
	for (uint16_t i = 0; i < count; i++) {
		if (plane->watch != NULL)
			plane->watch(plane, port, burst[i]);
		else
			keep(plane, port, burst[i]);
		rte_pktmbuf_free(burst[i]);
	}
	return count;
}

static void
plane_close(struct port *port)
{
	port->driver = NULL;
}

static const struct port_ops plane_ops = {
	.kind = "test",
	.tx_burst = plane_tx_burst,
	.close = plane_close,
};

static void
qube_write(FILE *file, const char *name, unsigned last, bool no_mac, const char *lines)
{
	fprintf(file,
		"[port %s]\ndevice = kernel:%s\nrole = qube\nqube = %s\n"
		"[qube %s]\naddress = 10.137.0.%u\naddress6 = fd09::%x\nrules = %s.rules\n",
		name, name, name, name, last, last, name);
	if (!no_mac)
		fprintf(file, "mac = 00:16:3e:5e:6c:00\n");
	if (lines != NULL)
		fputs(lines, file);
}

static void
file_write(const char *folder, const char *name, const char *text)
{
	char path[160];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0)
		abort();
}

/* As a source would say it. */
static void
uplink_take(struct conf_port *port, const struct live_uplink *uplink)
{
	memcpy(port->has, uplink->has, sizeof(port->has));
	memcpy(port->address, uplink->address, sizeof(port->address));
	memcpy(port->link, uplink->link, sizeof(port->link));
	memcpy(port->has_gateway, uplink->has_gateway, sizeof(port->has_gateway));
	memcpy(port->gateway, uplink->gateway, sizeof(port->gateway));
}

static struct conf *
conf_make(const struct plane_options *options)
{
	char folder[] = "/tmp/sluice-plane-XXXXXX";
	char path[160];
	struct conf *conf = NULL;
	FILE *file;

	if (mkdtemp(folder) == NULL)
		abort();
	file_write(
		folder, "work.rules", options->rules != NULL ? options->rules : "policy=accept\n");
	file_write(folder, "personal.rules", "policy=accept\n");
	snprintf(path, sizeof(path), "%s/sluice.conf", folder);
	file = fopen(path, "w");
	if (file == NULL)
		abort();
	fprintf(file,
		"[sluice]\nworkers = %u\nflows = 4096\n%s"
		"[gateway]\naddress = 10.137.0.1\naddress6 = fd09::1\ndns = 10.139.1.1\n"
		"[port uplink]\ndevice = kernel:eth0\nrole = uplink\n"
		"address = 192.168.50.1/24\ngateway = 192.168.50.2\n"
		"address6 = fd00:50::1/64\ngateway6 = fd00:50::2\n%s",
		options->workers != 0 ? options->workers : 1,
		options->lines != NULL ? options->lines : "",
		options->no_resolver ? "" : "dns = 192.168.50.53\n");
	qube_write(file, "work", 16, options->no_mac, options->work);
	qube_write(file, "personal", 17, options->no_mac, options->personal);
	if (options->host)
		fputs("[port host]\ndevice = tap:host\nrole = host\n", file);
	if (options->more != NULL)
		fputs(options->more, file);
	if (fclose(file) != 0 || conf_load(path, &report, &conf) != 0)
		abort();
	if (options->uplink != NULL)
		uplink_take(&conf->ports[PLANE_UPLINK], options->uplink);
	if (options->host)
		conf->ports[PLANE_UPLINK].settings = SETTINGS_HOST;
	unlink(path);
	snprintf(path, sizeof(path), "%s/work.rules", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/personal.rules", folder);
	unlink(path);
	rmdir(folder);
	return conf;
}

struct plane *
plane_create(const struct plane_options *options)
{
	/* fixed, so that a failure happens again */
	static const struct flow_secret secret = {
		{0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89}};
	struct plane *plane = calloc(1, sizeof(*plane));
	struct policy *policy;

	if (plane == NULL)
		abort();
	plane->conf = conf_make(options);
	if (policy_build(plane->conf, NULL, 0, &report, &policy) != 0 ||
		dataplane_create(plane->conf, policy, &secret, options->automatic, &report,
			&plane->dataplane) != 0)
		abort();
	plane->now_ms = 1000;
	plane->mbufs = rte_mempool_avail_count(plane->dataplane->pool);
	for (unsigned i = 0; i < plane->conf->port_count; i++) {
		struct port *port = &plane->dataplane->ports[i];

		port->ops = &plane_ops;
		port->driver = plane;
		port->mtu = 1500;
		memcpy(port->mac, i == PLANE_UPLINK ? plane_uplink_mac : plane_vif_mac, 6);
	}
	if (options->host)
		neighbour_learn(plane->dataplane->ports[PLANE_HOST].neighbours, NEIGHBOUR_PEER,
			mac_word(plane_uplink_mac), 0);
	return plane;
}

void
plane_commit(struct plane *plane, const struct plane_options *options)
{
	struct conf *conf = conf_make(options);
	struct policy *policy;

	if (conf_reload_check(plane->conf, conf, &report) != 0 ||
		policy_build(conf, atomic_load(&plane->dataplane->policy), 0, &report, &policy) !=
			0)
		abort();
	dataplane_publish(plane->dataplane, policy);
	conf_free(plane->conf);
	plane->conf = conf;
}

unsigned
plane_free(struct plane *plane)
{
	unsigned left;

	plane_forget(plane);
	/* Nobody answers any more: whatever still waits, for a neighbour or for fragments, ends. */
	plane_wait(plane, 40000);
	plane_forget(plane);
	left = rte_mempool_avail_count(plane->dataplane->pool) + plane_held(plane);
	left = plane->mbufs - left;
	dataplane_free(plane->dataplane);
	conf_free(plane->conf);
	free(plane);
	return left;
}

void
plane_resolve(struct plane *plane)
{
	struct port *uplink = &plane->dataplane->ports[PLANE_UPLINK];
	uint64_t mac = 0;

	memcpy(&mac, plane_router_mac, sizeof(plane_router_mac));
	neighbour_learn(uplink->neighbours, FAMILY_IPV4, mac, plane->now_ms);
	neighbour_learn(uplink->neighbours, FAMILY_IPV6, mac, plane->now_ms);
}

void
plane_service(struct plane *plane)
{
	struct dataplane *dataplane = plane->dataplane;
	unsigned handled = 1;

	for (unsigned round = 0; handled > 0; round++) {
		handled = 0;
		for (unsigned i = 0; i < dataplane->worker_count; i++)
			handled += dataplane_service(dataplane->workers[i], plane->now_ms);
		if (round == 10000) {
			fprintf(stderr, "plane: a worker always finds something to do\n");
			abort();
		}
	}
}

void
plane_receive(struct plane *plane, uint16_t port, struct rte_mbuf **burst, unsigned count)
{
	struct dataplane *dataplane = plane->dataplane;

	for (unsigned i = 0; i < count; i++)
		packet_of(burst[i])->in_port = port;
	plane->received += count;
	dataplane_receive(dataplane->workers[dataplane->ports[port].owner], &dataplane->ports[port],
		burst, count, plane->now_ms);
	plane_service(plane);
}

void
plane_send(struct plane *plane, uint16_t port, const struct frame *frame)
{
	struct rte_mbuf *mbuf = frame_mbuf(plane->dataplane->pool, frame->bytes, frame->length);

	plane_receive(plane, port, &mbuf, 1);
}

void
plane_wait(struct plane *plane, uint32_t ms)
{
	for (uint32_t passed = 0; passed < ms; passed += 100) {
		plane->now_ms += 100;
		plane_service(plane);
	}
}

struct sent *
plane_next(struct plane *plane, uint16_t port)
{
	/* The caller looks at one at a time; the next call, or plane_forget, frees it. */
	static struct sent current;
	struct sent *first = plane->sent[port];

	if (first == NULL)
		return NULL;
	current = *first;
	plane->sent[port] = first->next;
	free(first);
	return &current;
}

unsigned
plane_waiting(const struct plane *plane, uint16_t port)
{
	unsigned count = 0;

	for (const struct sent *sent = plane->sent[port]; sent != NULL; sent = sent->next)
		count++;
	return count;
}

void
plane_forget(struct plane *plane)
{
	for (uint16_t port = 0; port < (uint16_t)PLANE_PORTS; port++)
		while (plane_next(plane, port) != NULL)
			;
}

uint64_t
plane_drops(const struct plane *plane, enum reason reason)
{
	const struct dataplane *dataplane = plane->dataplane;
	uint64_t sum = 0;

	for (unsigned i = 0; i < dataplane->worker_count; i++)
		for (unsigned port = 0; port < dataplane->port_count; port++)
			sum += dataplane->workers[i]->ports[port].drops[reason];
	return sum;
}

uint64_t
plane_verdicts(const struct plane *plane)
{
	const struct dataplane *dataplane = plane->dataplane;
	uint64_t sum = 0;

	for (unsigned i = 0; i < dataplane->worker_count; i++)
		for (unsigned verdict = 0; verdict < VERDICT_COUNT; verdict++)
			sum += dataplane->workers[i]->counters.verdicts[verdict];
	return sum;
}

unsigned
plane_held(const struct plane *plane)
{
	unsigned held = 0;

	for (unsigned i = 0; i < plane->dataplane->worker_count; i++)
		held += plane->dataplane->workers[i]->held_count;
	return held;
}

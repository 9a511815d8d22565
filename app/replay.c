/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluice-replay: captures through the data plane of sluiced, offline and repeatable.
 *
 * The configuration is the one sluiced takes; its devices are not touched. Each input is a capture
 * of what arrived on one port. All inputs are merged by time, every frame passes the same stages as
 * it would live, and the time that these stages see is the time of the captures, so that two hours
 * of silence cost nothing. No root, no hugepages, no network.
 *
 * The same input gives the same output to the byte:
 * - the keys of hashes, and so the choice of external ports, are fixed;
 * - the clock starts at a fixed value and never runs backwards, even where a capture's does;
 * - neighbours resolve by themselves, to 02:01 and the last four bytes of their address;
 * - what is sent is put into the order of the packets that caused it, and bears their time, so
 *   that neither the size of bursts nor the number of workers shows in it (port_replay.c).
 *
 * Captured checksums are taken as they are. A frame that was captured on the host that sent it may
 * lack one, because hardware was to fill it in; switch transmit offloads off before capturing.
 *
 * A capture of a live link holds what the firewall itself sent, too. Those frames are known by
 * their source, the port's own MAC (station.c), and skipped.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <rte_ether.h>

#include "app/capture.h"
#include "app/dataplane.h"
#include "app/eal.h"
#include "app/port_replay.h"
#include "app/station.h"
#include "app/verdict.h"

#define MS_NS UINT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)

/* The clock at the first packet. Any value does; not zero, so that nothing relies on zero. */
#define START_MS 1000

/* Timers run at least this often in a silence. */
#define STEP_MS 1000

/* No fragment waits longer than this (nat/timeout.h). */
#define FRAGMENTS_END_MS (130 * 1000)

/*
 * A longer silence is shortened to this: nothing outlives it (the longest timeout is five days),
 * and differences of the 32-bit millisecond clock stay unambiguous.
 */
#define SILENCE_MAX_NS (UINT64_C(6) * 24 * 3600 * 1000 * MS_NS)

#define BURST_DEFAULT 32

#define MTUS_MAX 64
#define MTU_LEAST 68
#define MTU_MAX 65535

enum exit_status {
	EXIT_DONE = 0,
	EXIT_FAILED = 1, /* bad configuration, damaged input, output not written */
	EXIT_USAGE = 2,
};

struct input {
	const char *argument; /* PORT=FILE */
	size_t name_length;   /* of PORT */
	const char *path;
	uint16_t port;
	struct capture *capture;
};

/* The MTU that a port is to have. */
struct mtu {
	const char *argument; /* PORT=N */
	unsigned bytes;
};

struct options {
	const char *config;
	const char *out;
	const char *verdicts;
	unsigned burst;
	unsigned workers; /* 0: as configured */
	unsigned input_count;
	struct input *inputs;
	unsigned mtu_count;
	struct mtu mtus[MTUS_MAX];
};

struct replay {
	struct options options;
	struct report report;
	struct conf *conf;
	const struct policy *policy; /* the data plane's */
	struct dataplane *dataplane;
	bool nanoseconds; /* some input has them, so outputs have */
	struct verdict_log log;

	/* per port */
	struct capture_writer **writers; /* NULL: no --out */
	uint64_t *read;
	uint64_t *sent;

	/* the clock */
	bool started;
	uint64_t latest_ns;  /* captured time: the latest so far */
	uint64_t elapsed_ns; /* replayed time since the start, with silences shortened */
	uint32_t service_ms; /* timers have run up to here */

	/* the burst being gathered */
	struct rte_mbuf *burst[BURST_MAX];
	unsigned burst_count;
	uint16_t burst_port;
	uint32_t burst_ms;
	uint64_t burst_ns; /* captured time of its last packet */
	uint32_t serial;   /* of the last packet read */
};

static void
report_stderr(void *context, const char *line)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

static const char usage[] =
	"usage: sluice-replay --config FILE --in PORT=FILE.pcap [--in PORT=FILE.pcap]...\n"
	"                     [--out DIR] [--verdicts FILE] [--burst N] [--workers N]\n"
	"                     [--mtu PORT=N]...\n"
	"\n"
	"Take captured frames through the firewall that FILE configures, without root, hugepages\n"
	"or a network, and say what became of each.\n"
	"\n"
	"  --config FILE       sluice.conf; its devices are not touched\n"
	"  --in PORT=FILE      a pcap or pcapng file of what arrived on PORT. May be given "
	"several\n"
	"                      times, for several ports or one; all are merged by time\n"
	"  --out DIR           write what left each port to DIR/PORT.pcap\n"
	"  --verdicts FILE     write one JSON object per packet: n, time, port, verdict (forward,\n"
	"                      drop, local, skip), reason, rule, out, proto, source, destination,\n"
	"                      length\n"
	"  --burst N           packets of one port and millisecond that enter together, 1 to 64;\n"
	"                      the results do not depend on it (default 32)\n"
	"  --workers N         in place of the configured number; shows only in which external "
	"port\n"
	"                      a TCP connection gets when its own is taken\n"
	"  --mtu PORT=N        the longest IP packet that PORT takes, 68 to 65535 bytes (default "
	"65535)\n"
	"  --help, --version\n"
	"\n"
	"A port's own MAC address is found in its captures: where frames of known addresses go, "
	"or\n"
	"else where the first unicast IP frame goes, or else 02:00:00:00 and its number. Frames\n"
	"from that address were sent by the firewall when they were captured; they are skipped.\n"
	"So connections get their answers only if what arrived on the uplink is an input, too.\n"
	"\n"
	"Exit status: 0 done, 1 an error in the configuration, an input or an output (what was\n"
	"replayed before it is written and counted), 2 wrong usage.\n";

static int __attribute__((format(printf, 1, 2))) usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("sluice-replay: ", stderr);
	vfprintf(stderr, format, arguments);
	fputs("\nTry sluice-replay --help.\n", stderr);
	va_end(arguments);
	return EXIT_USAGE;
}

static bool
number_parse(const char *text, unsigned max, unsigned *number)
{
	char *end;
	unsigned long value;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || *end != '\0' || value < 1 || value > max)
		return false;
	*number = (unsigned)value;
	return true;
}

static int
input_add(struct options *options, const char *argument)
{
	const char *equals = strchr(argument, '=');
	struct input *inputs;

	if (equals == NULL || equals == argument || equals[1] == '\0')
		return usage_error("--in %s: must be PORT=FILE", argument);
	inputs =
		reallocarray(options->inputs, options->input_count + 1, sizeof(options->inputs[0]));
	if (inputs == NULL)
		return EXIT_FAILED;
	options->inputs = inputs;
	inputs[options->input_count++] = (struct input){
		.argument = argument,
		.name_length = (size_t)(equals - argument),
		.path = equals + 1,
	};
	return EXIT_DONE;
}

static int
mtu_add(struct options *options, const char *argument)
{
	const char *equals = strchr(argument, '=');
	struct mtu *mtu = &options->mtus[options->mtu_count];

	if (equals == NULL || equals == argument ||
		!number_parse(equals + 1, MTU_MAX, &mtu->bytes) || mtu->bytes < MTU_LEAST)
		return usage_error(
			"--mtu %s: must be PORT=N, N from %u to %u", argument, MTU_LEAST, MTU_MAX);
	if (options->mtu_count + 1 == MTUS_MAX)
		return usage_error("--mtu %s: too many of them", argument);
	mtu->argument = argument;
	options->mtu_count++;
	return EXIT_DONE;
}

/* @return EXIT_DONE to go on, -1 when all is said, or the exit status of an error */
static int
options_parse(struct options *options, int argc, char **argv)
{
	static const struct option known[] = {
		{"config", required_argument, NULL, 'c'},
		{"in", required_argument, NULL, 'i'},
		{"out", required_argument, NULL, 'o'},
		{"verdicts", required_argument, NULL, 'v'},
		{"burst", required_argument, NULL, 'b'},
		{"workers", required_argument, NULL, 'w'},
		{"mtu", required_argument, NULL, 'm'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{NULL, 0, NULL, 0},
	};
	int option, status;

	options->burst = BURST_DEFAULT;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 'i':
			status = input_add(options, optarg);
			if (status != EXIT_DONE)
				return status;
			break;
		case 'o':
			options->out = optarg;
			break;
		case 'v':
			options->verdicts = optarg;
			break;
		case 'b':
			if (!number_parse(optarg, BURST_MAX, &options->burst))
				return usage_error("--burst %s: must be a number from 1 to %u",
					optarg, BURST_MAX);
			break;
		case 'w':
			if (!number_parse(optarg, WORKERS_MAX, &options->workers))
				return usage_error("--workers %s: must be a number from 1 to %u",
					optarg, WORKERS_MAX);
			break;
		case 'm':
			status = mtu_add(options, optarg);
			if (status != EXIT_DONE)
				return status;
			break;
		case 'h':
			fputs(usage, stdout);
			return -1;
		case 'V':
			puts("sluice-replay " SLUICE_VERSION);
			return -1;
		default:
			return usage_error("see above");
		}
	if (optind != argc)
		return usage_error(
			"%s: not an option; inputs are given as --in PORT=FILE", argv[optind]);
	if (options->config == NULL)
		return usage_error("--config FILE is missing");
	if (options->input_count == 0)
		return usage_error("nothing to replay: --in PORT=FILE is missing");
	return EXIT_DONE;
}

/* The port whose name @p text starts with, up to @p length bytes. @return -EINVAL, reported */
static int
port_find(const struct replay *replay, const char *option, const char *text, size_t length)
{
	const struct conf *conf = replay->conf;

	for (unsigned port = 0; port < conf->port_count; port++)
		if (strlen(conf->ports[port].name) == length &&
			strncmp(conf->ports[port].name, text, length) == 0)
			return (int)port;
	fprintf(stderr, "sluice-replay: %s %s: %s has no port of that name; its ports:", option,
		text, replay->options.config);
	for (unsigned port = 0; port < conf->port_count; port++)
		fprintf(stderr, " %s", conf->ports[port].name);
	fputc('\n', stderr);
	return -EINVAL;
}

/* Find the port of each input. */
static int
inputs_resolve(struct replay *replay)
{
	for (unsigned i = 0; i < replay->options.input_count; i++) {
		struct input *input = &replay->options.inputs[i];
		int port = port_find(replay, "--in", input->argument, input->name_length);

		if (port < 0)
			return port;
		input->port = (uint16_t)port;
	}
	return 0;
}

/* Give the ports their MTUs. */
static int
mtus_set(struct replay *replay)
{
	for (unsigned i = 0; i < replay->options.mtu_count; i++) {
		const struct mtu *mtu = &replay->options.mtus[i];
		int port = port_find(replay, "--mtu", mtu->argument,
			(size_t)(strchr(mtu->argument, '=') - mtu->argument));

		if (port < 0)
			return port;
		replay->dataplane->ports[port].mtu = (uint16_t)mtu->bytes;
	}
	return 0;
}

static int
inputs_open(struct replay *replay)
{
	for (unsigned i = 0; i < replay->options.input_count; i++) {
		struct input *input = &replay->options.inputs[i];
		int status = capture_open(input->path, &replay->report, &input->capture);

		if (status < 0)
			return status;
	}
	return 0;
}

/* Unix time of the earliest packet: the time by which the first policy is made. */
static int
inputs_begin(struct replay *replay, uint64_t *now_s)
{
	uint64_t earliest_ns = UINT64_MAX;

	for (unsigned i = 0; i < replay->options.input_count; i++) {
		struct input *input = &replay->options.inputs[i];
		struct capture_frame frame;

		if (capture_next(input->capture, NULL, &frame) == 1)
			earliest_ns = RTE_MIN(earliest_ns, frame.time_ns);
		if (capture_rewind(input->capture, &replay->report) < 0)
			return -EIO;
	}
	*now_s = earliest_ns == UINT64_MAX ? 0 : earliest_ns / SECOND_NS;
	return 0;
}

/*
 * Read all inputs once, for what must be known before the first packet: the ports' stations and
 * whether there are nanoseconds. Damage is silently skipped here; it will be met again.
 */
static int
inputs_survey(struct replay *replay, struct station *stations)
{
	for (unsigned i = 0; i < replay->options.input_count; i++) {
		struct input *input = &replay->options.inputs[i];
		struct capture_frame frame;

		while (capture_next(input->capture, NULL, &frame) == 1) {
			station_observe(&stations[input->port], replay->policy,
				&replay->policy->ports[input->port], frame.data, frame.length);
			if (frame.time_ns % 1000 != 0)
				replay->nanoseconds = true;
		}
		if (capture_rewind(input->capture, &replay->report) < 0)
			return -EIO;
	}
	return 0;
}

static int
dataplane_start(struct replay *replay)
{
	/* fixed, so that outputs repeat; any value does */
	static const struct flow_secret secret = {
		{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xd6e8feb86659fd93}};
	const struct conf *conf = replay->conf;
	struct station *stations = calloc(conf->port_count, sizeof(*stations));
	struct policy *policy;
	uint64_t now_s = 0;
	int status = -ENOMEM;

	if (stations == NULL)
		return status;
	status = inputs_begin(replay, &now_s);
	if (status < 0)
		goto end;
	status = policy_build(conf, NULL, now_s, &replay->report, &policy);
	if (status < 0)
		goto end;
	replay->policy = policy;
	replay->log.policy = policy;
	status = dataplane_create(conf, policy, &secret, true, &replay->report, &replay->dataplane);
	if (status < 0)
		goto end;
	for (unsigned i = 0; i < conf->port_count; i++)
		station_init(&stations[i], i);
	status = inputs_survey(replay, stations);
	for (unsigned i = 0; i < conf->port_count && status == 0; i++)
		status = port_replay_open(&replay->dataplane->ports[i], stations[i].mac);
	/* A capture may begin in the middle of everything. */
	replay->dataplane->pickup = true;
	dataplane_trace(replay->dataplane, verdict_trace, &replay->log);
end:
	free(stations);
	return status;
}

static int
outputs_open(struct replay *replay)
{
	const struct options *options = &replay->options;
	unsigned ports = replay->conf->port_count;

	replay->read = calloc(ports, sizeof(replay->read[0]));
	replay->sent = calloc(ports, sizeof(replay->sent[0]));
	if (replay->read == NULL || replay->sent == NULL)
		return -ENOMEM;
	replay->log.nanoseconds = replay->nanoseconds;
	if (options->verdicts != NULL) {
		replay->log.file = fopen(options->verdicts, "we");
		if (replay->log.file == NULL) {
			report_line(&replay->report, "%s: %s", options->verdicts, strerror(errno));
			return -EIO;
		}
	}
	if (options->out == NULL)
		return 0;
	if (mkdir(options->out, 0777) < 0 && errno != EEXIST) {
		report_line(&replay->report, "%s: %s", options->out, strerror(errno));
		return -EIO;
	}
	replay->writers = calloc(ports, sizeof(struct capture_writer *));
	if (replay->writers == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < ports; i++) {
		char *path;
		int status;

		if (asprintf(&path, "%s/%s.pcap", options->out, replay->conf->ports[i].name) < 0)
			return -ENOMEM;
		status = capture_create(
			path, replay->nanoseconds, &replay->report, &replay->writers[i]);
		free(path);
		if (status < 0)
			return status;
	}
	return 0;
}

/* Let all workers do what waits at time @p now_ms: timers, and packets of one another. */
static void
service_all(struct replay *replay, uint32_t now_ms)
{
	struct dataplane *dataplane = replay->dataplane;
	unsigned handled;

	do {
		handled = 0;
		for (unsigned i = 0; i < dataplane->worker_count; i++)
			handled += dataplane_service(dataplane->workers[i], now_ms);
	} while (handled != 0);
}

static void
sent_write(
	void *context, const struct port *port, uint32_t serial, const void *frame, uint32_t length)
{
	struct replay *replay = context;
	const struct verdict_input *input = verdict_input(&replay->log, serial);

	replay->sent[port->index]++;
	if (replay->writers != NULL)
		capture_write(replay->writers[port->index],
			input != NULL ? input->time_ns : replay->latest_ns, frame, length);
}

/* Put a policy in force without the forwards whose time is over. */
static int
forwards_expire(struct replay *replay)
{
	uint64_t next_s = forward_next_expiry(replay->policy->forwards);
	uint64_t now_s = replay->burst_ns / SECOND_NS;
	struct policy *policy;
	int status;

	if (next_s == 0 || next_s > now_s)
		return 0;
	status = policy_build(replay->conf, replay->policy, now_s, &replay->report, &policy);
	if (status < 0)
		return status;
	dataplane_publish(replay->dataplane, policy);
	replay->policy = policy;
	replay->log.policy = policy;
	return 0;
}

/* Take the gathered burst through the data plane and write what came of it. */
static int
burst_run(struct replay *replay)
{
	struct dataplane *dataplane = replay->dataplane;
	int status = 0;

	if (replay->burst_count != 0) {
		struct port *port = &dataplane->ports[replay->burst_port];

		while (replay->burst_ms - replay->service_ms > STEP_MS) {
			replay->service_ms += STEP_MS;
			service_all(replay, replay->service_ms);
		}
		replay->service_ms = replay->burst_ms;
		service_all(replay, replay->burst_ms);
		status = forwards_expire(replay);
		dataplane_receive(dataplane->workers[port->owner], port, replay->burst,
			replay->burst_count, replay->burst_ms);
		service_all(replay, replay->burst_ms);
		replay->burst_count = 0;
	}
	for (unsigned i = 0; dataplane_port(dataplane, i) != NULL; i++)
		if (port_replay_flush(&dataplane->ports[i], sent_write, replay) < 0)
			status = -ENOMEM;
	verdict_flush(&replay->log);
	return status;
}

/* The replayed time of a packet that was captured at @p time_ns. */
static uint32_t
clock_advance(struct replay *replay, uint64_t time_ns)
{
	if (!replay->started) {
		replay->started = true;
		replay->latest_ns = time_ns;
		replay->service_ms = START_MS;
	}
	if (time_ns > replay->latest_ns) {
		replay->elapsed_ns += RTE_MIN(time_ns - replay->latest_ns, SILENCE_MAX_NS);
		replay->latest_ns = time_ns;
	}
	return (uint32_t)(START_MS + replay->elapsed_ns / MS_NS);
}

/* Copy a frame into a chain of mbufs; NULL when there are not enough of them. */
static struct rte_mbuf *
mbuf_make(struct rte_mempool *pool, const uint8_t *data, uint32_t length)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pool);
	struct rte_mbuf *tail = head;

	if (head == NULL)
		return NULL;
	for (;;) {
		uint16_t part = (uint16_t)RTE_MIN(length, (uint32_t)rte_pktmbuf_tailroom(tail));

		memcpy(rte_pktmbuf_mtod(tail, void *), data, part);
		tail->data_len = part;
		head->pkt_len += part;
		data += part;
		length -= part;
		if (length == 0)
			return head;
		tail->next = rte_pktmbuf_alloc(pool);
		tail = tail->next;
		if (tail == NULL) {
			rte_pktmbuf_free(head);
			return NULL;
		}
		head->nb_segs++;
	}
}

static int
frame_take(struct replay *replay, const struct capture_frame *frame)
{
	uint16_t port = replay->options.inputs[frame->input].port;
	const struct rte_ether_hdr *ethernet = (const struct rte_ether_hdr *)frame->data;
	uint32_t now_ms = clock_advance(replay, frame->time_ns);
	struct rte_mempool *pool = replay->dataplane->pool;
	struct verdict_input input = {
		.port = port,
		.time_ns = frame->time_ns,
		.length = frame->length,
	};
	struct rte_mbuf *mbuf = NULL;
	int status = 0;

	input.own = frame->length >= sizeof(*ethernet) &&
		    memcmp(&ethernet->src_addr, replay->dataplane->ports[port].mac,
			    RTE_ETHER_ADDR_LEN) == 0;
	if (replay->burst_count == replay->options.burst || replay->log.waiting >= VERDICT_WINDOW ||
		(replay->burst_count != 0 &&
			(port != replay->burst_port || now_ms != replay->burst_ms)))
		status = burst_run(replay);
	if (status == 0 && !input.own) {
		mbuf = mbuf_make(pool, frame->data, frame->length);
		if (mbuf == NULL && replay->burst_count != 0) {
			status = burst_run(replay);
			mbuf = mbuf_make(pool, frame->data, frame->length);
		}
		if (mbuf == NULL) {
			report_line(&replay->report, "sluice-replay: no packet buffers are left");
			status = -ENOBUFS;
		}
	}
	if (status < 0) {
		rte_pktmbuf_free(mbuf);
		return status;
	}

	input.serial = ++replay->serial;
	replay->read[port]++;
	if (verdict_expect(&replay->log, &input) < 0) {
		rte_pktmbuf_free(mbuf);
		return -ENOMEM;
	}
	if (mbuf == NULL)
		return 0;
	*packet_of(mbuf) = (struct packet){.in_port = port, .serial = input.serial};
	mbuf->port = port;
	replay->burst[replay->burst_count++] = mbuf;
	replay->burst_port = port;
	replay->burst_ms = now_ms;
	replay->burst_ns = frame->time_ns;
	return 0;
}

static int
feed(struct replay *replay)
{
	unsigned count = replay->options.input_count;
	struct capture **captures = calloc(count, sizeof(*captures));
	struct capture_merge *merge = NULL;
	struct capture_frame frame;
	int status = -ENOMEM;

	if (captures != NULL) {
		for (unsigned i = 0; i < count; i++)
			captures[i] = replay->options.inputs[i].capture;
		merge = capture_merge_create(captures, count);
	}
	if (merge != NULL) {
		int taken = 0;
		uint32_t end_ms;

		while ((status = capture_merge_next(merge, &replay->report, &frame)) == 1 &&
			(taken = frame_take(replay, &frame)) == 0)
			;
		if (taken < 0)
			status = taken;
		taken = burst_run(replay);
		if (taken < 0)
			status = taken;
		end_ms = replay->burst_ms;
		if (status < 0)
			report_line(&replay->report,
				"sluice-replay: ended there, after %" PRIu32
				" packets; what follows was not replayed",
				replay->serial);
		/* What still waits for the rest of its datagram has waited for nothing. */
		while (replay->started && replay->log.waiting > 0 && status >= 0 &&
			replay->burst_ms - end_ms < FRAGMENTS_END_MS) {
			replay->burst_ms += STEP_MS;
			service_all(replay, replay->burst_ms);
			verdict_flush(&replay->log);
		}
		verdict_finish(&replay->log);
		if (replay->log.lost != 0) {
			report_line(&replay->report,
				"sluice-replay: %" PRIu64 " packets left no verdict",
				replay->log.lost);
			status = -EIO;
		}
	}
	capture_merge_free(merge);
	free(captures);
	return status;
}

static void
summary(const struct replay *replay)
{
	verdict_table(&replay->log, stdout);
	printf("\n%-29s %10s %10s\n", "port", "read", "sent");
	for (unsigned i = 0; i < replay->conf->port_count; i++)
		printf("%-29s %10" PRIu64 " %10" PRIu64 "\n", replay->conf->ports[i].name,
			replay->read[i], replay->sent[i]);
}

/* Close the outputs, and all else. @return 0 or the first error */
static int
replay_finish(struct replay *replay)
{
	int status = 0;

	if (replay->log.file != NULL) {
		bool failed = ferror(replay->log.file) != 0;

		failed = fclose(replay->log.file) != 0 || failed;
		if (failed) {
			status = -EIO;
			report_line(&replay->report, "%s: cannot be written: %s",
				replay->options.verdicts, strerror(errno));
		}
	}
	for (unsigned i = 0; replay->writers != NULL && i < replay->conf->port_count; i++)
		if (replay->writers[i] != NULL &&
			capture_finish(replay->writers[i], &replay->report) < 0)
			status = -EIO;
	dataplane_free(replay->dataplane);
	for (unsigned i = 0; i < replay->options.input_count; i++)
		capture_close(replay->options.inputs[i].capture);
	free(replay->options.inputs);
	free(replay->writers);
	free(replay->read);
	free(replay->sent);
	conf_free(replay->conf);
	return status;
}

static int
replay_run(struct replay *replay)
{
	int status = conf_load(replay->options.config, &replay->report, &replay->conf);

	if (status < 0 || replay->conf == NULL)
		return status;
	if (replay->options.workers != 0)
		replay->conf->workers = replay->options.workers;
	else if (replay->conf->workers_automatic)
		replay->conf->workers = 1; /* the same on every machine */
	if ((status = inputs_resolve(replay)) < 0 || (status = inputs_open(replay)) < 0 ||
		(status = eal_start("sluice-replay", replay->conf, true, &replay->report)) < 0 ||
		(status = dataplane_start(replay)) < 0 || (status = mtus_set(replay)) < 0 ||
		(status = outputs_open(replay)) < 0)
		return status;
	status = feed(replay);
	summary(replay);
	return status;
}

int
main(int argc, char **argv)
{
	static struct replay replay = {.report = {.line = report_stderr}};
	int status = options_parse(&replay.options, argc, argv);

	if (status == EXIT_DONE) {
		int error = replay_run(&replay);

		if (error == -ENOMEM) /* everything else has been reported where it was met */
			report_line(&replay.report, "sluice-replay: out of memory");
		if (error < 0)
			status = EXIT_FAILED;
	}
	if (replay_finish(&replay) < 0)
		status = EXIT_FAILED;
	if (fflush(stdout) != 0)
		status = EXIT_FAILED;
	return status < 0 ? EXIT_DONE : status;
}

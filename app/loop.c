/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker loop: ports, then service, then, when nothing happened for a while, sleep.
 *
 * A worker whose ports all have a descriptor to wait on sleeps in ppoll() soon after it ran dry:
 * kernel ports share the cores with the programs that feed them, and a core spent spinning is a
 * core they lack. A worker with a port that must be polled never sleeps.
 *
 * Ports come to a worker and leave it between two rounds, by calls that run in its own thread.
 *
 * Nobody is overslept: a worker announces that it sleeps before its last look at the hand-over
 * ring, and who hands over looks at the announcement after the ring (see steer_burst).
 */
#include "app/loop.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

#include "app/worker.h"

/* Empty rounds before sleeping. */
#define IDLE_ROUNDS 64
/* Longest sleep: flows run out and neighbours are asked again in steps of a second. */
#define SLEEP_MS 250

struct loop {
	struct dataplane *dataplane;
	uint64_t start_tsc;
	uint64_t ms_per_tsc; /* in units of 2^-64 */
	atomic_bool stop;
	struct loop_worker {
		struct loop *loop;
		struct worker *worker;
		unsigned lcore;
		bool running;
		unsigned port_count;
		struct port **ports;   /* those it receives from */
		unsigned polled;       /* how many of them cannot be waited for */
		struct pollfd *waited; /* the ports', and last the wake descriptor */
	} workers[];
};

uint32_t
loop_now(const struct loop *loop)
{
	unsigned __int128 elapsed = rte_rdtsc() - loop->start_tsc;

	return (uint32_t)((elapsed * loop->ms_per_tsc) >> 64);
}

static void
loop_sleep(struct loop_worker *own)
{
	const struct timespec longest = {.tv_nsec = SLEEP_MS * 1000000L};
	struct pollfd *wake = &own->waited[own->port_count];
	uint64_t ignored;

	atomic_store(&own->worker->asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (rte_ring_empty(own->worker->handover) &&
		atomic_load_explicit(&own->worker->call, memory_order_relaxed) == NULL &&
		!atomic_load_explicit(&own->loop->stop, memory_order_relaxed)) {
		struct rte_rcu_qsbr *quiescence = own->loop->dataplane->quiescence;

		/* Holds no policy while it sleeps: a new one need not wait for it. */
		rte_rcu_qsbr_thread_offline(quiescence, own->worker->index);
		ppoll(own->waited, own->port_count + 1, &longest, NULL);
		rte_rcu_qsbr_thread_online(quiescence, own->worker->index);
	}
	atomic_store(&own->worker->asleep, false);
	if ((wake->revents & POLLIN) != 0 && read(wake->fd, &ignored, sizeof(ignored)) < 0)
		wake->revents = 0; /* somebody else's wake-up was already taken */
}

static int
loop_main(void *argument)
{
	struct loop_worker *own = argument;
	struct loop *loop = own->loop;
	struct rte_rcu_qsbr *quiescence = loop->dataplane->quiescence;
	struct rte_mbuf *burst[BURST_MAX];
	unsigned idle = 0;

	rte_rcu_qsbr_thread_register(quiescence, own->worker->index);
	rte_rcu_qsbr_thread_online(quiescence, own->worker->index);
	while (!atomic_load_explicit(&loop->stop, memory_order_relaxed)) {
		uint32_t now_ms = loop_now(loop);
		unsigned handled = 0;

		for (unsigned i = 0; i < own->port_count; i++) {
			struct port *port = own->ports[i];
			uint16_t count = port->ops->rx_burst(port, burst, BURST_MAX);

			if (count > 0)
				dataplane_receive(own->worker, port, burst, count, now_ms);
			handled += count;
		}
		handled += dataplane_service(own->worker, now_ms);
		rte_rcu_qsbr_quiescent(quiescence, own->worker->index);
		if (handled > 0) {
			idle = 0;
		} else if (own->polled == 0 && ++idle >= IDLE_ROUNDS) {
			idle = 0;
			loop_sleep(own);
		} else {
			rte_pause();
		}
	}
	rte_rcu_qsbr_thread_offline(quiescence, own->worker->index);
	rte_rcu_qsbr_thread_unregister(quiescence, own->worker->index);
	return 0;
}

void
loop_port_take(struct loop *loop, struct port *port)
{
	struct loop_worker *own = &loop->workers[port->owner];
	int fd = port->ops->wait_fd(port);

	if (fd < 0)
		own->polled++;
	own->waited[own->port_count + 1] = own->waited[own->port_count];
	own->waited[own->port_count] = (struct pollfd){.fd = fd, .events = POLLIN};
	own->ports[own->port_count++] = port;
}

void
loop_port_leave(struct loop *loop, const struct port *port)
{
	struct loop_worker *own = &loop->workers[port->owner];
	unsigned at = 0;

	while (at < own->port_count && own->ports[at] != port)
		at++;
	if (at == own->port_count)
		return;
	if (own->waited[at].fd < 0)
		own->polled--;
	own->port_count--;
	own->ports[at] = own->ports[own->port_count];
	own->waited[at] = own->waited[own->port_count];
	own->waited[own->port_count] = own->waited[own->port_count + 1];
}

static int
loop_worker_prepare(struct loop *loop, unsigned index, unsigned lcore)
{
	struct dataplane *dataplane = loop->dataplane;
	struct loop_worker *own = &loop->workers[index];

	own->loop = loop;
	own->worker = dataplane->workers[index];
	own->lcore = lcore;
	own->ports = calloc(dataplane->port_count, sizeof(own->ports[0]));
	own->waited = calloc(dataplane->port_count + 1, sizeof(own->waited[0]));
	own->worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (own->ports == NULL || own->waited == NULL)
		return -ENOMEM;
	if (own->worker->wake_fd < 0)
		return -errno;
	own->waited[0] = (struct pollfd){.fd = own->worker->wake_fd, .events = POLLIN};
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane->ports[i].state == PORT_OPEN && dataplane->ports[i].owner == index)
			loop_port_take(loop, &dataplane->ports[i]);
	return 0;
}

int
loop_start(struct dataplane *dataplane, const struct report *report, struct loop **out)
{
	struct loop *loop =
		calloc(1, sizeof(*loop) + dataplane->worker_count * sizeof(loop->workers[0]));
	unsigned lcore = rte_get_main_lcore();
	int error = loop == NULL ? -ENOMEM : 0;

	if (error == 0) {
		loop->dataplane = dataplane;
		loop->start_tsc = rte_rdtsc();
		loop->ms_per_tsc = (uint64_t)(((unsigned __int128)1000 << 64) / rte_get_tsc_hz());
	}
	for (unsigned i = 0; i < dataplane->worker_count && error == 0; i++) {
		lcore = rte_get_next_lcore(lcore, 1, 0);
		error = lcore >= RTE_MAX_LCORE ? -ENODEV : loop_worker_prepare(loop, i, lcore);
	}
	for (unsigned i = 0; i < dataplane->worker_count && error == 0; i++) {
		error = rte_eal_remote_launch(loop_main, &loop->workers[i], loop->workers[i].lcore);
		loop->workers[i].running = error == 0;
	}
	if (error != 0) {
		report_line(report, "workers do not start: %s", strerror(-error));
		if (loop != NULL)
			loop_stop(loop);
		return error;
	}
	*out = loop;
	return 0;
}

void
loop_stop(struct loop *loop)
{
	const uint64_t one = 1;

	atomic_store(&loop->stop, true);
	for (unsigned i = 0; i < loop->dataplane->worker_count; i++) {
		struct loop_worker *own = &loop->workers[i];

		if (own->running) {
			/* Cannot fail but for a full counter, and then it wakes as well. */
			ssize_t written = write(own->worker->wake_fd, &one, sizeof(one));

			(void)written;
			rte_eal_wait_lcore(own->lcore);
		}
		if (own->worker != NULL && own->worker->wake_fd >= 0) {
			close(own->worker->wake_fd);
			own->worker->wake_fd = -1;
		}
		free(own->ports);
		free(own->waited);
	}
	free(loop);
}

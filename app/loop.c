/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The worker loop: ports, then service, then, when nothing happened for a while, sleep.
 *
 * A worker that ran dry sleeps in ppoll() soon: kernel ports share the cores with the programs that
 * feed them, and a core spent spinning is a core they lack. It wakes when a descriptor of its ports
 * says so, when something is due, or, with a port that must be polled, after a nap. app/idle.h
 * says when.
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
#include <sys/prctl.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include "app/idle.h"
#include "app/work_clock.h"
#include "app/worker.h"

struct loop {
	struct dataplane *dataplane;
	enum idle_mode mode;
	struct work_clock clock;
	atomic_bool stop;
	struct loop_worker {
		struct loop *loop;
		struct worker *worker;
		unsigned lcore;
		bool running;
		unsigned port_count;
		struct port **ports;   /* those it receives from */
		struct pollfd *waited; /* the ports', and last the wake descriptor */
		struct idle idle;
		struct work_clock_look look;
		bool arms; /* some port must be armed before it is waited for */
		bool armed;
	} workers[];
};

uint32_t
loop_now(const struct loop *loop)
{
	return work_clock_ms(&loop->clock, rte_rdtsc());
}

/* Whether ports wake us. One that cannot, in spite of its descriptor, is polled from now on. */
static void
loop_arm(struct loop_worker *own, bool arm)
{
	for (unsigned i = 0; i < own->port_count; i++) {
		struct port *port = own->ports[i];

		if (port->ops->wait_arm != NULL && own->waited[i].fd >= 0 &&
			port->ops->wait_arm(port, arm) != 0) {
			own->waited[i].fd = -1;
			own->idle.naps = true;
		}
	}
	own->armed = arm;
}

static void
loop_sleep(struct loop_worker *own, uint32_t longest_us)
{
	struct timespec longest;
	struct pollfd *wake = &own->waited[own->port_count];
	int ready = 0;
	uint64_t ignored;

	if (own->arms && !own->armed) {
		loop_arm(own, true);
		return; /* for another look, at what came before */
	}
	longest_us =
		RTE_MIN(longest_us, 1000 * dataplane_due_ms(own->worker, SLEEP_MOST_US / 1000));
	longest.tv_sec = longest_us / 1000000;
	longest.tv_nsec = longest_us % 1000000 * 1000L;
	atomic_store(&own->worker->asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (rte_ring_empty(own->worker->handover) &&
		atomic_load_explicit(&own->worker->call, memory_order_relaxed) == NULL &&
		!atomic_load_explicit(&own->loop->stop, memory_order_relaxed)) {
		struct rte_rcu_qsbr *quiescence = own->loop->dataplane->quiescence;

		/* Holds no policy while it sleeps: a new one need not wait for it. */
		rte_rcu_qsbr_thread_offline(quiescence, own->worker->index);
		ready = ppoll(own->waited, own->port_count + 1, &longest, NULL);
		rte_rcu_qsbr_thread_online(quiescence, own->worker->index);
	}
	atomic_store(&own->worker->asleep, false);
	if (own->armed && ready > 0)
		loop_arm(own, false);
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

	/* A nap of 50 us is not to last 100. */
	(void)prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
	rte_rcu_qsbr_thread_register(quiescence, own->worker->index);
	rte_rcu_qsbr_thread_online(quiescence, own->worker->index);
	work_clock_begin(&loop->clock, &own->look, rte_rdtsc());
	while (!atomic_load_explicit(&loop->stop, memory_order_relaxed)) {
		uint64_t now_tsc = rte_rdtsc();
		uint32_t now_ms = work_clock_now(&loop->clock, &own->look, now_tsc);
		uint32_t sleep_us;
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
			idle_found(&own->idle, now_tsc);
			if (unlikely(own->armed))
				loop_arm(own, false);
			continue;
		}
		sleep_us = idle_next(&own->idle, now_tsc);
		if (sleep_us != 0)
			loop_sleep(own, sleep_us);
	}
	rte_rcu_qsbr_thread_offline(quiescence, own->worker->index);
	rte_rcu_qsbr_thread_unregister(quiescence, own->worker->index);
	return 0;
}

/* What waiting takes with the ports there are now. */
static void
loop_waits_find(struct loop_worker *own)
{
	own->arms = false;
	own->idle.naps = false;
	for (unsigned i = 0; i < own->port_count; i++) {
		own->idle.naps = own->idle.naps || own->waited[i].fd < 0;
		own->arms = own->arms ||
			    (own->waited[i].fd >= 0 && own->ports[i]->ops->wait_arm != NULL);
	}
}

void
loop_port_take(struct worker *worker, struct port *port)
{
	struct loop_worker *own = worker->loop;
	int fd = port->ops->wait_fd(port);

	for (unsigned i = 0; i < own->port_count; i++)
		if (own->ports[i] == port)
			return;
	if (own->armed)
		loop_arm(own, false);
	own->waited[own->port_count + 1] = own->waited[own->port_count];
	own->waited[own->port_count] = (struct pollfd){.fd = fd, .events = POLLIN};
	own->ports[own->port_count++] = port;
	loop_waits_find(own);
}

void
loop_port_leave(struct worker *worker, const struct port *port)
{
	struct loop_worker *own = worker->loop;
	unsigned at = 0;

	while (at < own->port_count && own->ports[at] != port)
		at++;
	if (at == own->port_count)
		return;
	if (own->armed)
		loop_arm(own, false);
	own->port_count--;
	own->ports[at] = own->ports[own->port_count];
	own->waited[at] = own->waited[own->port_count];
	own->waited[own->port_count] = own->waited[own->port_count + 1];
	loop_waits_find(own);
}

static int
loop_worker_prepare(struct loop *loop, unsigned index, unsigned lcore)
{
	struct dataplane *dataplane = loop->dataplane;
	struct loop_worker *own = &loop->workers[index];

	own->loop = loop;
	dataplane->workers[index]->loop = own;
	own->worker = dataplane->workers[index];
	own->lcore = lcore;
	own->ports = calloc(dataplane->port_count, sizeof(own->ports[0]));
	own->waited = calloc(dataplane->port_count + 1, sizeof(own->waited[0]));
	own->worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (own->ports == NULL || own->waited == NULL)
		return -ENOMEM;
	if (own->worker->wake_fd < 0)
		return -errno;
	idle_init(&own->idle, loop->mode, false, rte_get_tsc_hz());
	own->waited[0] = (struct pollfd){.fd = own->worker->wake_fd, .events = POLLIN};
	for (unsigned i = 0; i < dataplane->port_count; i++)
		if (dataplane->ports[i].state == PORT_OPEN && dataplane->ports[i].owner == index)
			loop_port_take(own->worker, &dataplane->ports[i]);
	return 0;
}

int
loop_start(struct dataplane *dataplane, enum idle_mode idle, const struct report *report,
	struct loop **out)
{
	struct loop *loop =
		calloc(1, sizeof(*loop) + dataplane->worker_count * sizeof(loop->workers[0]));
	unsigned lcore = rte_get_main_lcore();
	int error = loop == NULL ? -ENOMEM : 0;

	if (error == 0) {
		loop->dataplane = dataplane;
		loop->mode = idle;
		work_clock_start(&loop->clock, rte_rdtsc(), rte_get_tsc_hz());
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

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What systemd is told: by a socket in its place. The watchdog is fed while all workers answer,
 * also those that sleep, and not for a moment longer.
 */
#include "app/service.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <event2/event.h>

#include "app/worker_call.h"
#include "tests/unit/plane.h"
#include "tests/unit/unit.h"

#define WORKERS 2
#define DEADLINE_US 150000
#define ROUND_US (DEADLINE_US / 3)

static char directory[] = "/tmp/sluice-test-service-XXXXXX";
static int notified;
static struct plane *plane;
static struct event_base *base;
static struct daemon daemon_;
static struct service *service;

/* A thread in the place of the loop, which can be made to hang. */
static struct thread {
	pthread_t id;
	struct worker *worker;
	atomic_bool stop, hangs;
} threads[WORKERS];

static void *
thread_main(void *argument)
{
	struct thread *thread = argument;
	struct worker *worker = thread->worker;

	while (!atomic_load(&thread->stop)) {
		struct pollfd wake = {.fd = worker->wake_fd, .events = POLLIN};
		uint64_t ignored;

		if (atomic_load(&thread->hangs)) {
			usleep(1000);
			continue;
		}
		dataplane_service(worker, plane->now_ms);
		atomic_store(&worker->asleep, true);
		atomic_thread_fence(memory_order_seq_cst);
		if (atomic_load(&worker->call) == NULL)
			poll(&wake, 1, 20);
		atomic_store(&worker->asleep, false);
		if ((wake.revents & POLLIN) != 0 && read(wake.fd, &ignored, sizeof(ignored)) < 0)
			abort();
	}
	return NULL;
}

static void
begin(void)
{
	plane = plane_create(&(struct plane_options){.workers = WORKERS});
	base = event_base_new();
	CU_ASSERT_PTR_NOT_NULL_FATAL(base);
	daemon_ = (struct daemon){.base = base, .dataplane = plane->dataplane};
	CU_ASSERT_EQUAL_FATAL(worker_calls_create(plane->dataplane, base, &daemon_.calls), 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		threads[i] = (struct thread){.worker = plane->dataplane->workers[i]};
		threads[i].worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (pthread_create(&threads[i].id, NULL, thread_main, &threads[i]) != 0)
			abort();
	}
}

static void
end(void)
{
	service_free(service);
	service = NULL;
	for (unsigned i = 0; i < WORKERS; i++) {
		atomic_store(&threads[i].stop, true);
		pthread_join(threads[i].id, NULL);
		close(threads[i].worker->wake_fd);
		threads[i].worker->wake_fd = -1;
	}
	worker_calls_free(daemon_.calls);
	event_base_free(base);
	CU_ASSERT_EQUAL(plane_free(plane), 0);
}

/* What was said next, "" for nothing. */
static const char *
said(void)
{
	static char text[512];
	ssize_t length = recv(notified, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[length > 0 ? length : 0] = '\0';
	return text;
}

/* How often the watchdog was fed in a number of rounds. */
static unsigned
fed(unsigned rounds)
{
	const struct timeval time = {.tv_usec = ROUND_US * rounds};
	const char *text;
	unsigned count = 0;

	event_base_loopexit(base, &time);
	event_base_dispatch(base);
	while (*(text = said()) != '\0') {
		CU_ASSERT_STRING_EQUAL(text, "WATCHDOG=1");
		count++;
	}
	return count;
}

static void
test_watchdog(void)
{
	begin();
	CU_ASSERT_EQUAL_FATAL(service_create(&daemon_, &service), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(service);
	CU_ASSERT(fed(8) >= 3);
	atomic_store(&threads[1].hangs, true);
	/* what was answered before is still good for one */
	CU_ASSERT(fed(6) <= 2);
	CU_ASSERT_EQUAL(fed(6), 0);
	atomic_store(&threads[1].hangs, false);
	CU_ASSERT(fed(8) >= 3);
	atomic_store(&threads[0].hangs, true);
	CU_ASSERT(fed(6) <= 2);
	CU_ASSERT_EQUAL(fed(4), 0);
	/* ends with a call that nobody has run */
	end();
}

static void
test_unwatched(void)
{
	CU_ASSERT_EQUAL(unsetenv("WATCHDOG_USEC"), 0);
	begin();
	CU_ASSERT_EQUAL(service_create(&daemon_, &service), 0);
	CU_ASSERT_PTR_NULL(service);
	CU_ASSERT_EQUAL(fed(2), 0);
	end();
}

static void
test_states(void)
{
	struct conf conf = {.port_count = 3, .qube_count = 2};

	begin();
	daemon_.conf = &conf;
	service_ready(&daemon_);
	CU_ASSERT_STRING_EQUAL(said(), "READY=1\nSTATUS=policy 1: 3 ports, 2 qubes, 0 forwards");
	service_reloading();
	CU_ASSERT_EQUAL(strncmp(said(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	service_stopping();
	CU_ASSERT_EQUAL(strncmp(said(), "STOPPING=1\n", 11), 0);
	/* and nothing is said to nobody */
	CU_ASSERT_EQUAL(unsetenv("NOTIFY_SOCKET"), 0);
	service_stopping();
	CU_ASSERT_STRING_EQUAL(said(), "");
	end();
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"the watchdog is fed while all workers answer", test_watchdog},
		{"nobody watches", test_unwatched},
		{"states", test_states},
	};
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char text[32];
	int status;

	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(name.sun_path, sizeof(name.sun_path), "%s/notify", directory);
	notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notified < 0 || bind(notified, (struct sockaddr *)&name, sizeof(name)) != 0)
		return 1;
	snprintf(text, sizeof(text), "%d", DEADLINE_US);
	setenv("NOTIFY_SOCKET", name.sun_path, 1);
	setenv("WATCHDOG_USEC", text, 1);
	unit_eal();
	status = UNIT_RUN("service", tests);
	unlink(name.sun_path);
	rmdir(directory);
	return status;
}

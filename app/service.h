/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * sluiced as a service: what systemd is told, if it was systemd that started us. Control thread.
 */
#pragma once

#include "app/daemon.h"

struct service;

/**
 * Feed the watchdog from now on, if one waits: only while every worker answers (app/worker_call.h).
 * One that sleeps is woken for it and answers.
 * @return 0 or -ENOMEM
 */
int service_create(struct daemon *daemon, struct service **out);
void service_free(struct service *service); /* NULL is fine; before worker_calls_free */

/** Packets are forwarded, by the configuration in force; also after service_reloading. */
void service_ready(const struct daemon *daemon);

/** The configuration is read again. */
void service_reloading(void);

void service_stopping(void);

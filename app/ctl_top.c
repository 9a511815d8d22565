/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Qubes with what they send and get, on a screen; Enter shows one of them in full.
 *
 * Once a second sluiced is asked for its counters, and rates are what lies between two answers.
 * When it is restarted, the screen says so and goes on as soon as it is back. Nothing is asked of
 * the workers but the few flows of one qube that fit on the screen.
 */
#include <curses.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/ctl.h"
#include "app/ctl_client.h"
#include "app/ctl_rates.h"
#include "app/ctl_table.h"

#define PERIOD_MS 1000
/* A screen that stands still says nothing: better to say that there is no answer. */
#define PATIENCE_MS 3000
#define FLOWS_MAX 200
#define NAME_WIDTH 16
#define NAME_MAX 128

enum colours { COLOUR_TITLE = 1, COLOUR_BAD, COLOUR_WARN };

struct top {
	struct ctl *ctl;
	bool paused, all; /* all: the list, not one qube */
	enum rate_order order;
	char chosen[NAME_MAX]; /* name of a qube */
	int64_t before_ms, after_ms;
	json_t *before, *after; /* answers of status */
	json_t *rules, *flows;  /* of the chosen qube, when it alone is shown */
	struct qube_rate *rates;
	size_t count;
	char trouble[256];
};

static int64_t
clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Write into a field, clean and cut. */
static void put(int y, int x, int width, bool right, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static void
put(int y, int x, int width, bool right, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (y < 0 || y >= LINES || x >= COLS)
		return;
	if (width > COLS - x)
		width = COLS - x;
	if (width <= 0)
		return;
	text_clean(text);
	text_clip(text, (unsigned)width);
	mvaddstr(y, right ? x + width - (int)text_width(text) : x, text);
}

/* Asking. */

static bool
top_ask(struct top *top, const char *method, json_t *params, json_t **result)
{
	struct client *client = top->ctl->client;
	int error = 0;

	*result = NULL;
	if (client->fd < 0)
		error = client_open(client, top->ctl->socket_path);
	client->patience_ms = PATIENCE_MS;
	if (error == 0)
		error = client_call(client, method, params, result);
	else
		json_decref(params);
	if (error == 0)
		return true;
	if (error == -EREMOTEIO) {
		snprintf(top->trouble, sizeof(top->trouble), "%s: %s", method,
			json_text(client->error, "message"));
		return false;
	}
	client_close(client);
	snprintf(top->trouble, sizeof(top->trouble), "no answer from sluiced (%s), trying again",
		error == -ENOENT || error == -ECONNREFUSED ? "not running"
		: error == -EPIPE                          ? "it ended"
							   : strerror(-error));
	return false;
}

static bool
flows_keep(void *context, const json_t *params)
{
	json_array_extend(context, json_object_get(params, "flows"));
	return json_array_size(context) < FLOWS_MAX;
}

/* What is shown of one qube only. */
static void
top_ask_qube(struct top *top)
{
	struct client *client = top->ctl->client;
	json_t *rules, *flows = json_array(), *result = NULL;

	if (top_ask(top, "rules.get", json_pack("{s:s}", "qube", top->chosen), &rules)) {
		json_decref(top->rules);
		top->rules = rules;
	}
	if (client->fd >= 0 && client_stream(client, "flows",
				       json_pack("{s:{s:s}, s:i}", "filter", "qube", top->chosen,
					       "limit", FLOWS_MAX),
				       flows_keep, flows, &result) == 0) {
		json_decref(top->flows);
		top->flows = json_incref(flows);
	}
	json_decref(flows);
	json_decref(result);
}

static void
top_sort(struct top *top)
{
	free(top->rates);
	top->rates = rates_of(json_object_get(top->before, "qubes"),
		json_object_get(top->after, "qubes"),
		(double)(top->after_ms - top->before_ms) / 1000, top->order, &top->count);
}

static void
top_sample(struct top *top)
{
	json_t *answer;

	*top->trouble = '\0';
	if (!top_ask(top, "status", NULL, &answer))
		return;
	json_decref(top->before);
	top->before = top->after;
	top->before_ms = top->after_ms;
	top->after = answer;
	top->after_ms = clock_ms();
	/* another sluiced: what the one before had counted is no beginning */
	if (json_int(top->before, "pid") != json_int(top->after, "pid")) {
		json_decref(top->before);
		top->before = NULL;
	}
	top_sort(top);
	if (!top->all)
		top_ask_qube(top);
}

/* Drawing. */

static void
draw_head(const struct top *top)
{
	static const char *const orders[] = {"bits", "packets", "flows", "drops", "name"};
	json_int_t flows = 0;
	double packets = 0, bits = 0, drops = 0;
	const json_t *worker;
	char up[TEXT_SHORT], count[TEXT_SHORT], rate[TEXT_SHORT], pps[TEXT_SHORT], dps[TEXT_SHORT];
	size_t i;

	json_array_foreach (json_object_get(top->after, "workers"), i, worker)
		flows += json_int(worker, "flows");
	for (i = 0; i < top->count; i++) {
		packets += top->rates[i].sends_packets + top->rates[i].gets_packets;
		bits += top->rates[i].sends_bits + top->rates[i].gets_bits;
		drops += top->rates[i].drops;
	}
	put(0, 0, COLS, false, "sluice %s, up %s, policy %lld, %zu qubes, %s flows%s",
		json_text(top->after, "version"), text_age(json_int(top->after, "uptime"), up),
		(long long)json_int(json_object_get(top->after, "policy"), "generation"),
		top->count, text_count((uint64_t)flows, count), top->paused ? "  PAUSED" : "");
	put(1, 0, COLS, false, "%s packets/s, %s, %s dropped/s; sorted by %s",
		text_count((uint64_t)packets, pps), text_rate(bits, rate),
		text_count((uint64_t)(drops + 0.5), dps), orders[top->order]);
	if (*top->trouble != '\0') {
		attron(COLOR_PAIR(COLOUR_BAD) | A_BOLD);
		move(1, 0);
		clrtoeol();
		put(1, 0, COLS, false, "%s", top->trouble);
		attroff(COLOR_PAIR(COLOUR_BAD) | A_BOLD);
	}
}

static void
draw_bar(int y, const char *text)
{
	attron(COLOR_PAIR(COLOUR_TITLE) | A_REVERSE);
	mvhline(y, 0, ' ', COLS);
	put(y, 0, COLS, false, "%s", text);
	attroff(COLOR_PAIR(COLOUR_TITLE) | A_REVERSE);
}

static void
draw_rate(int y, const struct qube_rate *rate, bool chosen)
{
	const char *state = json_text(json_object_get(rate->qube, "rules"), "state");
	char text[TEXT_SHORT];
	int x = 0;

	if (chosen)
		attron(A_REVERSE);
	mvhline(y, 0, ' ', COLS);
	put(y, x, NAME_WIDTH, false, "%s%s", strcmp(state, "bad") == 0 ? "!" : "", rate->name);
	x += NAME_WIDTH;
	put(y, x, 7, true, "%s", text_count((uint64_t)rate->flows, text));
	put(y, x += 7, 8, true, "%s", text_count((uint64_t)rate->sends_packets, text));
	put(y, x += 8, 12, true, "%s", text_rate(rate->sends_bits, text));
	put(y, x += 12, 8, true, "%s", text_count((uint64_t)rate->gets_packets, text));
	put(y, x += 8, 12, true, "%s", text_rate(rate->gets_bits, text));
	if (rate->drops > 0)
		attron(COLOR_PAIR(COLOUR_WARN));
	put(y, x += 12, 8, true, "%s", text_count((uint64_t)(rate->drops + 0.5), text));
	put(y, x + 8, 8, true, "%s", text_count((uint64_t)rate->drops_total, text));
	attroff(COLOR_PAIR(COLOUR_WARN));
	attroff(A_REVERSE);
}

/* The place of the chosen qube; the first one when it is gone. */
static size_t
chosen_index(const struct top *top)
{
	for (size_t i = 0; i < top->count; i++)
		if (strcmp(top->rates[i].name, top->chosen) == 0)
			return i;
	return 0;
}

static void
draw_list(const struct top *top)
{
	size_t chosen = chosen_index(top);
	size_t rows = LINES > 5 ? (size_t)LINES - 5 : 1;
	size_t first = chosen >= rows ? chosen - rows + 1 : 0;
	char title[160];

	snprintf(title, sizeof(title), "%-*s%7s%8s%12s%8s%12s%8s%8s", NAME_WIDTH, "QUBE", "FLOWS",
		"SENDS/s", "", "GETS/s", "", "DROPS/s", "DROPS");
	draw_bar(3, title);
	for (size_t i = first; i < top->count && i - first < rows; i++)
		draw_rate(4 + (int)(i - first), &top->rates[i], i == chosen);
	draw_bar(LINES - 1,
		"t bits  p packets  f flows  d drops  n name  Enter shows  space pauses  q ends");
}

/* Drops of the chosen qube. @return the line behind them */
static int
draw_drops(const struct top *top, const struct qube_rate *rate, int y, int end)
{
	const json_t *before = NULL, *qube;
	const char *reason;
	json_t *value;
	char text[TEXT_SHORT], per_second[TEXT_SHORT];
	size_t i;

	json_array_foreach (json_object_get(top->before, "qubes"), i, qube)
		if (strcmp(json_text(qube, "name"), rate->name) == 0)
			before = json_object_get(qube, "drops");
	draw_bar(y++, "DROPS                       IN ALL     PER SECOND");
	json_object_foreach (json_object_get(rate->qube, "drops"), reason, value) {
		json_int_t drops = json_integer_value(value);

		if (y >= end || drops == 0)
			continue;
		put(y, 0, 24, false, "%s", reason);
		put(y, 24, 10, true, "%s", text_count((uint64_t)drops, text));
		put(y++, 34, 15, true, "%s",
			text_count((uint64_t)(rate_between(json_int(before, reason), drops,
						      (double)(top->after_ms - top->before_ms) /
							      1000) +
					      0.5),
				per_second));
	}
	json_object_foreach (json_object_get(rate->qube, "refused"), reason, value)
		if (y < end && json_integer_value(value) != 0)
			put(y++, 0, COLS, false, "refused at the limit of %s: %lld", reason,
				(long long)json_integer_value(value));
	return y;
}

static int
draw_rules(const struct top *top, int y, int end)
{
	const json_t *qube = json_array_get(json_object_get(top->rules, "qubes"), 0);
	const json_t *rule;
	char text[TEXT_SHORT];
	size_t i;

	if (y + 1 >= end)
		return y;
	draw_bar(y++, " NO      HITS  RULE");
	json_array_foreach (json_object_get(qube, "rules"), i, rule) {
		if (y >= end - 1)
			break;
		put(y, 0, 3, true, "%lld", (long long)json_int(rule, "number"));
		put(y, 3, 10, true, "%s", text_count((uint64_t)json_int(rule, "hits"), text));
		if (json_object_get(rule, "left") != NULL)
			put(y++, 15, COLS, false, "%s (%s left) %s", json_text(rule, "rule"),
				text_age(json_int(rule, "left"), text), json_text(rule, "comment"));
		else
			put(y++, 15, COLS, false, "%s %s", json_text(rule, "rule"),
				json_text(rule, "comment"));
	}
	put(y, 3, 10, true, "%s", text_count((uint64_t)json_int(qube, "policy_hits"), text));
	put(y++, 15, COLS, false, "policy=%s", json_text(qube, "policy"));
	return y;
}

static void
flow_end(const json_t *direction, const char *address, const char *port, char *text, size_t size)
{
	if (json_object_get(direction, port) != NULL)
		snprintf(text, size, "%s %lld", json_text(direction, address),
			(long long)json_int(direction, port));
	else
		snprintf(text, size, "%s", json_text(direction, address));
}

static void
draw_flows(const struct top *top, int y, int end)
{
	const json_t *flow;
	char text[TEXT_SHORT], from[128], to[128];
	size_t i;

	if (y + 1 >= end)
		return;
	draw_bar(y++, "FLOWS");
	json_array_foreach (top->flows, i, flow) {
		const json_t *original = json_object_get(flow, "original");

		if (y >= end)
			break;
		put(y, 0, 6, false, "%s", json_text(flow, "proto"));
		put(y, 6, 12, false, "%s", json_text(flow, "state"));
		put(y, 19, 7, true, "%s", text_age(json_int(flow, "expires"), text));
		flow_end(original, "source", "sport", from, sizeof(from));
		flow_end(original, "destination", "dport", to, sizeof(to));
		put(y++, 28, COLS, false, "%s > %s", from, to);
	}
}

static void
draw_qube(const struct top *top)
{
	const struct qube_rate *rate = &top->rates[chosen_index(top)];
	const json_t *rules = json_object_get(rate->qube, "rules");
	int end = LINES - 1;
	int y = 4;

	draw_bar(2,
		"QUBE               FLOWS SENDS/s              GETS/s             DROPS/s   DROPS");
	draw_rate(3, rate, false);
	if (*json_text(rules, "error") != '\0') {
		attron(COLOR_PAIR(COLOUR_BAD));
		put(y++, 0, COLS, false, "refused everything: %s", json_text(rules, "error"));
		attroff(COLOR_PAIR(COLOUR_BAD));
	}
	/* a third for each, at least; who needs less leaves more */
	y = draw_drops(top, rate, y, y + 1 + (end - y) / 3);
	y = draw_rules(top, y, y + (end - y) * 2 / 3);
	draw_flows(top, y, end);
	draw_bar(end, "Escape or Backspace goes back   space pauses   q ends");
}

static void
draw(const struct top *top)
{
	erase();
	if (top->after == NULL) {
		put(0, 0, COLS, false, "sluicectl top");
		put(1, 0, COLS, false, "%s", top->trouble);
	} else {
		draw_head(top);
		if (top->all || top->count == 0)
			draw_list(top);
		else
			draw_qube(top);
	}
	move(LINES - 1, COLS - 1);
	refresh();
}

/* Keys. */

static void
choose(struct top *top, long step)
{
	long index = (long)chosen_index(top) + step;

	if (top->count == 0)
		return;
	index = index < 0 ? 0 : index >= (long)top->count ? (long)top->count - 1 : index;
	snprintf(top->chosen, sizeof(top->chosen), "%s", top->rates[index].name);
}

/* @return whether to go on */
static bool
key_take(struct top *top, int key)
{
	static const struct {
		int key;
		enum rate_order order;
	} orders[] = {{'t', ORDER_BITS}, {'p', ORDER_PACKETS}, {'f', ORDER_FLOWS},
		{'d', ORDER_DROPS}, {'n', ORDER_NAME}};

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (orders[i].key == key) {
			top->order = orders[i].order;
			top_sort(top);
			return true;
		}
	switch (key) {
	case 'q':
		return false;
	case ' ':
		top->paused = !top->paused;
		break;
	case KEY_UP:
	case 'k':
		choose(top, -1);
		break;
	case KEY_DOWN:
	case 'j':
		choose(top, 1);
		break;
	case KEY_PPAGE:
		choose(top, -(LINES - 5));
		break;
	case KEY_NPAGE:
		choose(top, LINES - 5);
		break;
	case '\n':
	case '\r':
	case KEY_ENTER:
		if (top->all && top->count != 0) {
			choose(top, 0);
			top->all = false;
			top_ask_qube(top);
		}
		break;
	case '\033':
	case KEY_BACKSPACE:
	case '\b':
	case '\177':
	case KEY_LEFT:
		top->all = true;
		json_decref(top->rules);
		json_decref(top->flows);
		top->rules = top->flows = NULL;
		break;
	default:
		break;
	}
	return true;
}

static void
top_run(struct top *top)
{
	int64_t next_ms = 0;
	int key = ERR;

	do {
		int64_t now_ms = clock_ms();

		if (key == ERR && now_ms >= next_ms) {
			if (!top->paused)
				top_sample(top);
			next_ms = clock_ms() + PERIOD_MS;
		}
		draw(top);
		now_ms = clock_ms();
		timeout(next_ms > now_ms ? (int)(next_ms - now_ms) : 0);
		key = getch();
	} while (!client_interrupted() && key_take(top, key));
}

int
verb_TOP(struct ctl *ctl)
{
	struct top top = {.ctl = ctl, .all = true};
	const char *no_colour = getenv("NO_COLOR");
	SCREEN *screen;
	int status;

	if (ctl->json || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return ctl_usage(&ctl->args,
			"it needs a terminal; sluicectl qubes --json has the same figures");
	if (ctl->args.count != 0)
		return ctl_usage(&ctl->args, "it takes no arguments");
	/* who mistypes the socket is told so at once, not by a screen */
	status = ctl_connect(ctl);
	if (status != CTL_DONE)
		return status;
	screen = newterm(NULL, stdout, stdin);
	if (screen == NULL) {
		ctl_error("top: this terminal cannot be used; is TERM right?");
		return CTL_USAGE;
	}
	client_catch_signals();
	set_escdelay(25);
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	start_color();
	use_default_colors();
	if (no_colour == NULL || *no_colour == '\0') {
		init_pair(COLOUR_TITLE, -1, -1);
		init_pair(COLOUR_BAD, COLOR_RED, -1);
		init_pair(COLOUR_WARN, COLOR_YELLOW, -1);
	}
	top_run(&top);
	endwin();
	delscreen(screen);
	free(top.rates);
	json_decref(top.before);
	json_decref(top.after);
	json_decref(top.rules);
	json_decref(top.flows);
	return CTL_DONE;
}

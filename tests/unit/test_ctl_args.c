/* SPDX-License-Identifier: BSD-3-Clause */
#include "app/ctl_args.h"

#include <string.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* What was said on stderr while `refuse` ran. */
static char said[1024];

/* Parse a line as the shell would hand it over. @return the status; what was said is in `said` */
static int
parse(const char *line, struct ctl_args *args)
{
	static char copy[4096];
	static char *words[64];
	int saved = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	int count, status;
	size_t length;

	snprintf(copy, sizeof(copy), "%s", line);
	count = args_split(copy, words, 64);
	CU_ASSERT_FATAL(count >= 0 && file != NULL && saved >= 0);
	fflush(stderr);
	dup2(fileno(file), STDERR_FILENO);
	status = args_parse(words, (unsigned)count, args);
	if (status == CTL_DONE && args->verb != NULL && args->verb->kind == CTL_CHANGE) {
		struct ctl_change change = {0};

		status = args->verb->change(args, &change);
		ctl_change_free(&change);
	}
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(file);
	length = fread(said, 1, sizeof(said) - 1, file);
	said[length] = '\0';
	fclose(file);
	return status;
}

static void
bad(const char *line, const char *expected)
{
	struct ctl_args args;

	CU_ASSERT_EQUAL(parse(line, &args), CTL_USAGE);
	if (strstr(said, expected) == NULL) {
		fprintf(stderr, "%s: said %s, should say %s\n", line, said, expected);
		CU_FAIL("another error");
	}
	/* one line, and that is all */
	CU_ASSERT_PTR_EQUAL(strchr(said, '\n'), said + strlen(said) - 1);
}

/* The request that a line becomes, as JSON with sorted keys. */
static void
becomes(const char *line, const char *method, const char *expected)
{
	struct ctl_args args;
	struct ctl_change change = {0};
	char *text;

	CU_ASSERT_EQUAL_FATAL(parse(line, &args), CTL_DONE);
	CU_ASSERT_EQUAL_FATAL(args.verb->change(&args, &change), CTL_DONE);
	CU_ASSERT_STRING_EQUAL(change.method, method);
	text = json_dumps(change.params, JSON_SORT_KEYS);
	if (strcmp(text, expected) != 0)
		fprintf(stderr, "%s: %s, should be %s\n", line, text, expected);
	CU_ASSERT_STRING_EQUAL(text, expected);
	free(text);
	ctl_change_free(&change);
}

static void
test_split(void)
{
	char line[] = " rules  add work 'a b' \"c \\\" d\" e\\ f comment=\"x y\" # not me";
	static const char *const expected[] = {
		"rules", "add", "work", "a b", "c \" d", "e f", "comment=x y"};
	char *words[16];
	int count = args_split(line, words, 16);

	CU_ASSERT_EQUAL_FATAL(count, 7);
	for (int i = 0; i < count; i++)
		CU_ASSERT_STRING_EQUAL(words[i], expected[i]);
	char empty[] = "a '' \"\"";
	CU_ASSERT_EQUAL(args_split(empty, words, 16), 3);
	CU_ASSERT_STRING_EQUAL(words[2], "");
	char open[] = "a 'b c";
	CU_ASSERT_EQUAL(args_split(open, words, 16), -1);
	char comment[] = "  # a 'b";
	CU_ASSERT_EQUAL(args_split(comment, words, 16), 0);
	char many[] = "a b c";
	CU_ASSERT_EQUAL(args_split(many, words, 2), -1);
	char last[] = "a b\\";
	CU_ASSERT_EQUAL(args_split(last, words, 2), 2);
	CU_ASSERT_STRING_EQUAL(words[1], "b\\");
}

static void
test_options(void)
{
	struct ctl_args args;

	CU_ASSERT_EQUAL(parse("trace --json -c 5 -iwork tcp port 443 --drops", &args), CTL_DONE);
	CU_ASSERT_STRING_EQUAL(args.verb->words, "trace");
	CU_ASSERT_EQUAL(args.count, 3);
	CU_ASSERT_STRING_EQUAL(args.words[2], "443");
	CU_ASSERT_STRING_EQUAL(args.option[OPTION_COUNT], "5");
	CU_ASSERT_STRING_EQUAL(args.option[OPTION_PORT], "work");
	CU_ASSERT_PTR_NOT_NULL(args.option[OPTION_DROPS]);
	CU_ASSERT_PTR_NULL(args.option[OPTION_QUBE]);
	CU_ASSERT_EQUAL(parse("trace --count=7 -- --drops - 4", &args), CTL_DONE);
	CU_ASSERT_STRING_EQUAL(args.option[OPTION_COUNT], "7");
	CU_ASSERT_EQUAL(args.count, 3);
	CU_ASSERT_EQUAL(parse("--socket x/y status", &args), CTL_DONE);
	CU_ASSERT_STRING_EQUAL(args.option[OPTION_SOCKET], "x/y");
	CU_ASSERT_EQUAL(parse("", &args), CTL_DONE);
	CU_ASSERT_PTR_NULL(args.verb);

	bad("status --nope", "--nope: no such option");
	bad("status -x", "-x: no such option");
	bad("status --jso", "--jso: no such option");
	bad("status --drops", "--drops does not go with it");
	bad("status --runtime", "--runtime does not go with it");
	bad("status --json=yes", "--json: takes no value");
	bad("trace -c", "-c: wants N behind it");
	bad("frobnicate", "frobnicate: no such verb");
	bad("rules", "rules: what about it? There is rules show, rules set");
	bad("rules frobnicate", "rules: what about it?");
}

static void
test_rules(void)
{
	becomes("rules add work action=accept dst4=192.0.2.0/24 proto=tcp dstports=443",
		"rules.add",
		"{\"qube\": \"work\", \"rules\": [\"action=accept dst4=192.0.2.0/24 proto=tcp "
		"dstports=443\"]}");
	becomes("rules add work action=accept comment='until lunch'", "rules.add",
		"{\"qube\": \"work\", \"rules\": [\"action=accept comment=\\\"until lunch\\\"\"]}");
	becomes("rules add work action=accept 'comment=a\"b\\c=d'", "rules.add",
		"{\"qube\": \"work\", \"rules\": [\"action=accept "
		"comment=\\\"a\\\\\\\"b\\\\\\\\c=d\\\"\"]}");
	becomes("rules add work 'action=accept proto=icmp' 'proto=tcp action=drop'", "rules.add",
		"{\"qube\": \"work\", \"rules\": [\"action=accept proto=icmp\", "
		"\"proto=tcp action=drop\"]}");
	becomes("rules insert work --before 2 action=drop", "rules.insert",
		"{\"before\": 2, \"qube\": \"work\", \"rules\": [\"action=drop\"]}");
	becomes("rules set work policy=accept action=drop 'action=accept proto=tcp'", "rules.set",
		"{\"policy\": \"accept\", \"qube\": \"work\", \"rules\": [\"action=drop\", "
		"\"action=accept proto=tcp\"]}");
	becomes("rules set work policy=drop", "rules.set",
		"{\"policy\": \"drop\", \"qube\": \"work\", \"rules\": []}");
	becomes("rules delete work --rule-no 3", "rules.delete",
		"{\"number\": 3, \"qube\": \"work\"}");
	becomes("rules delete work action=accept proto=icmp", "rules.delete",
		"{\"qube\": \"work\", \"rule\": \"action=accept proto=icmp\"}");
	becomes("rules policy work drop", "rules.policy",
		"{\"policy\": \"drop\", \"qube\": \"work\"}");
	becomes("rules reset work", "rules.reset", "{\"qube\": \"work\"}");
	becomes("rules full-access work 10m", "rules.insert",
		"{\"qube\": \"work\", \"rules\": [\"action=accept expire=+600 comment=\\\"full "
		"access for 10m\\\"\"]}");

	bad("rules add", "which qube?");
	bad("rules add action=accept", "its name comes first");
	bad("rules add work", "too little behind the qube");
	bad("rules add work action=accept proto", "\"proto\" is no property");
	bad("rules add work =x", "\"=x\" is no property");
	bad("rules add work 'action=accept proto=tcp' dst4=1.1.1.1", "has no action=");
	bad("rules set work", "to what?");
	bad("rules set work policy=drop action=accept proto=icmp",
		"\"proto=icmp\" has no action=: put each rule into quotes");
	bad("rules set work --file /nonexistent/x", "/nonexistent/x: No such file");
	bad("rules set work --file /nonexistent/x action=drop", "not from both");
	bad("rules delete work", "by --rule-no or by its properties");
	bad("rules delete work --rule-no 1 action=drop", "by --rule-no or by its properties");
	bad("rules delete work --rule-no -1", "--rule-no: \"-1\" is not a number");
	bad("rules insert work --before 99999999999999999999 action=drop", "is not a number");
	bad("rules policy work maybe", "a policy is drop or accept");
	bad("rules full-access work soon", "for how long?");
	bad("rules full-access work 0m", "for how long?");
}

static void
test_forwards(void)
{
	becomes("forward add work action=forward proto=tcp forwardtype=external srcports=443-443",
		"forward.add",
		"{\"qube\": \"work\", \"rule\": \"action=forward proto=tcp forwardtype=external "
		"srcports=443-443\"}");
	becomes("forward add work proto=tcp srcports=443 'comment=a b' --name web", "forward.add",
		"{\"name\": \"web\", \"qube\": \"work\", \"rule\": \"action=forward proto=tcp "
		"srcports=443 comment=\\\"a b\\\"\"}");
	becomes("forward add work 'proto=tcp srcports=443'", "forward.add",
		"{\"qube\": \"work\", \"rule\": \"action=forward proto=tcp srcports=443\"}");
	becomes("forward delete web", "forward.delete", "{\"name\": \"web\"}");
	bad("forward add work", "to which qube, and which ports?");
	bad("forward add proto=tcp srcports=1", "is no qube");
	bad("forward delete", "which one?");
}

static void
test_has(void)
{
	CU_ASSERT_TRUE(args_rule_has("proto=tcp action=accept", "action"));
	CU_ASSERT_FALSE(args_rule_has("proto=tcp xaction=accept", "action"));
	CU_ASSERT_FALSE(args_rule_has("comment=\"x action=accept\" proto=tcp", "action"));
	CU_ASSERT_FALSE(args_rule_has("comment=\"x \\\" action=accept\"", "action"));
	CU_ASSERT_FALSE(args_rule_has("", "action"));
}

static void
test_duration(void)
{
	CU_ASSERT_EQUAL(args_duration("90s"), 90);
	CU_ASSERT_EQUAL(args_duration("10m"), 600);
	CU_ASSERT_EQUAL(args_duration("10"), 600);
	CU_ASSERT_EQUAL(args_duration("2h"), 7200);
	CU_ASSERT_EQUAL(args_duration("1d"), 86400);
	static const char *const wrong[] = {
		"", "m", "0", "-1m", "1w", "1mm", "1.5h", " 1m", "9999999999m"};
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CU_ASSERT_EQUAL(args_duration(wrong[i]), -1);
}

static void
test_filter_words(void)
{
	static const struct args_key keys[] = {
		{"qube", "qube", ARGS_TEXT},
		{"dst", "destination", ARGS_TEXT},
		{"dport", "dport", ARGS_PORT},
		{"inbound", "inbound", ARGS_BOOL},
	};
	static const struct {
		const char *line;
		const char *expected; /* NULL: refused */
	} cases[] = {
		{"flows qube=work dst=1.1.1.0/24 dport=443 inbound=yes",
			"{\"destination\": \"1.1.1.0/24\", \"dport\": 443, \"inbound\": true, "
			"\"qube\": \"work\"}"},
		{"flows", "{}"},
		{"flows qube=a=b", "{\"qube\": \"a=b\"}"},
		{"flows dport=65536", NULL},
		{"flows dport=", NULL},
		{"flows dport=+1", NULL},
		{"flows dport=18446744073709551617", NULL},
		{"flows qube=a qube=b", NULL},
		{"flows inbound=maybe", NULL},
		{"flows dest=1.1.1.1", NULL},
		{"flows qube", NULL},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ctl_args args;
		json_t *object;
		char *text;

		CU_ASSERT_EQUAL_FATAL(parse(cases[i].line, &args), CTL_DONE);
		object = args_object(&args, keys, 4);
		CU_ASSERT_EQUAL(object == NULL, cases[i].expected == NULL);
		text = object != NULL ? json_dumps(object, JSON_SORT_KEYS) : NULL;
		if (text != NULL && cases[i].expected != NULL)
			CU_ASSERT_STRING_EQUAL(text, cases[i].expected);
		free(text);
		json_decref(object);
	}
}

/* The table itself: what is written there must be what is taken. */
static void
test_table(void)
{
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const struct ctl_verb *verb = &ctl_verbs[i];
		char options[256], *rest, *name;

		CU_ASSERT_EQUAL(verb->run != NULL, verb->kind == CTL_RUN);
		CU_ASSERT_EQUAL(verb->change != NULL, verb->kind == CTL_CHANGE);
		CU_ASSERT(strlen(verb->help) > 5);
		CU_ASSERT_PTR_NOT_NULL(strstr(verb->example, verb->words));
		for (unsigned k = 0; k < i; k++)
			CU_ASSERT_STRING_NOT_EQUAL(verb->words, ctl_verbs[k].words);
		/* every option is one of the table */
		snprintf(options, sizeof(options), "%s", verb->options);
		for (name = strtok_r(options, " ", &rest); name != NULL;
			name = strtok_r(NULL, " ", &rest)) {
			bool known = false;

			for (int option = 0; option < OPTIONS; option++)
				known |= strcmp(ctl_options[option].name, name) == 0;
			CU_ASSERT_TRUE(known);
		}
	}
}

int
main(void)
{
	static const struct unit_test tests[] = {
		{"a line is cut into words like in a shell", test_split},
		{"options stand anywhere, and only where they belong", test_options},
		{"words of rules become requests", test_rules},
		{"words of forwards become requests", test_forwards},
		{"a property is found, but not in a comment", test_has},
		{"times", test_duration},
		{"words of filters", test_filter_words},
		{"the table of verbs agrees with itself", test_table},
	};

	return UNIT_RUN("ctl_args", tests);
}

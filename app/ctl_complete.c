/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Completion for bash and zsh, made of the table of verbs.
 *
 * What stands at a place is a word in capitals in the table's arguments: some of them are lists
 * that are known here, names of qubes and forwards are asked of sluiced when Tab is pressed. Both
 * scripts do the same; zsh runs the functions of bash through its bashcompinit.
 */
#include <stdio.h>
#include <string.h>

#include "app/ctl.h"
#include "app/ctl_client.h"
#include "app/ctl_table.h"

static const struct {
	const char *argument; /* as in the table */
	const char *words;    /* of bash: what may stand there */
} arguments[] = {
	{"QUBE", "$(_sluicectl_names qubes)"},
	{"FORWARD", "$(_sluicectl_names forwards)"},
	{"PROPERTY",
		"action=accept action=drop dst4= dst6= dsthost= proto=tcp proto=udp proto=icmp "
		"dstports= icmptype= specialtarget=dns expire=+ comment="},
	{"FORWARDPROPERTY", "action=forward forwardtype=external forwardtype=internal proto=tcp "
			    "proto=udp srcports= dstports= srchost= expire=+ comment="},
	{"policy", "policy=drop policy=accept"},
	{"drop", "drop accept"},
	{"FILTER",
		"qube= proto=tcp proto=udp proto=icmp state=established state= family=4 family=6 "
		"address= src= dst= port= sport= dport= inbound=yes inbound=no"},
	{"DROPFILTER", "qube= reason="},
	{"EXPLAIN",
		"from= dst= proto=tcp proto=udp proto=icmp dport= sport= src= icmptype= flags="},
	{"KIND", "policy policy-refused port vif forward-added forward-deleted "
		 "forward-expired rule-expired rules-refused source budget drop"},
	{"EXPRESSION", "host net port tcp udp icmp icmp6 ip ip6 src dst and or not"},
	{"VERB", "$(_sluicectl_verbs)"},
	{"bash", "bash zsh qubes forwards"},
	{"TIME", "10m 30m 1h"},
};

static const char *
argument_words(const struct ctl_verb *verb, const char *argument, size_t length)
{
	/* a forward has other properties than a rule */
	if (strncmp(verb->words, "forward", 7) == 0 && length == 8 &&
		strncmp(argument, "PROPERTY", 8) == 0) {
		argument = "FORWARDPROPERTY";
		length = strlen(argument);
	}
	for (size_t i = 0; i < sizeof(arguments) / sizeof(arguments[0]); i++)
		if (strlen(arguments[i].argument) == length &&
			strncmp(arguments[i].argument, argument, length) == 0)
			return arguments[i].words;
	return NULL;
}

/* One branch per place: what can stand there. The last one holds for all that follow. */
static void
verb_branch(const struct ctl_verb *verb)
{
	unsigned place = 0;
	const char *end = "";

	printf("    '%s')\n        options='", verb->words);
	for (int i = 0; i < OPTIONS; i++)
		if (i != OPTION_VERSION && ctl_verb_takes(verb, i)) {
			printf("%s--%s", end, ctl_options[i].name);
			end = " ";
		}
	printf("'\n        case $place in\n");
	for (const char *at = verb->arguments; *at != '\0';) {
		size_t length = strcspn(at, " ");
		bool repeats = length > 3 && memmem(at, length, "...", 3) != NULL;
		bool optional = *at == '[';
		bool last = at[length] == '\0';

		if (repeats || last)
			printf("        %s) words=\"", "*");
		else
			printf("        %u) words=\"", place);
		/* [A|B...] are words divided by signs */
		for (size_t from = 0, to; from < length; from = to + 1) {
			const char *words;

			to = from + strcspn(at + from, "[]|. =");
			if (to > length)
				to = length;
			words = argument_words(verb, at + from, to - from);
			if (words != NULL)
				printf("%s ", words);
		}
		/* what is optional may be left out, and what follows stands there as well */
		if (optional && !last && !repeats) {
			const char *words = argument_words(
				verb, at + length + 1, strcspn(at + length + 1, ".] "));

			printf("%s", words != NULL ? words : "");
		}
		puts("\" ;;");
		if (repeats)
			break;
		place++;
		at += length;
		at += *at == ' ';
	}
	printf("        esac\n");
	if (strstr(verb->arguments, "FILE") != NULL)
		printf("        ((place == 0)) || files=1\n");
	printf("        ;;\n");
}

static void
script_bash(void)
{
	puts("# bash completion for sluicectl, made from its table of verbs\n"
	     "\n"
	     "_sluicectl_names() {\n"
	     "    sluicectl ${socket:+--socket \"$socket\"} completion \"$1\" 2>/dev/null\n"
	     "}\n");
	puts("_sluicectl_verbs() {");
	printf("    printf '%%s\\n'");
	for (unsigned i = 0; i < ctl_verb_count; i++)
		printf(" '%s'", ctl_verbs[i].words);
	puts("\n}\n");
	puts("_sluicectl() {\n"
	     "    local current=${COMP_WORDS[COMP_CWORD]} previous= socket= verb= place=0 files=\n"
	     "    local options='--json --socket --help --version' words= index word joined=()\n"
	     "    local IFS=$' \\t\\n'\n"
	     "    # bash takes words apart at = and :, which stand inside of ours\n"
	     "    joined=()\n"
	     "    for ((index = 1; index <= COMP_CWORD; index++)); do\n"
	     "        word=${COMP_WORDS[index]}\n"
	     "        if ((${#joined[@]})) && { [[ $word == [=:]* ]] || [[ ${joined[-1]} == *[=:] "
	     "]]; } &&\n"
	     "            [[ $COMP_LINE == *\"${joined[-1]}$word\"* ]]; then\n"
	     "            joined[-1]+=$word\n"
	     "        else\n"
	     "            joined+=(\"$word\")\n"
	     "        fi\n"
	     "    done\n"
	     "    ((${#joined[@]})) || joined=('')\n"
	     "    current=${joined[-1]}\n"
	     "    unset 'joined[-1]'\n"
	     "    words=()\n"
	     "    for word in \"${joined[@]}\"; do\n"
	     "        case $previous in");
	printf("        ");
	for (int i = 0, first = 1; i < OPTIONS; i++)
		if (ctl_options[i].value != NULL) {
			printf("%s--%s", first ? "" : " | ", ctl_options[i].name);
			if (ctl_options[i].letter != '\0')
				printf(" | -%c", ctl_options[i].letter);
			first = 0;
		}
	puts(")\n"
	     "            [[ $previous != --socket ]] || socket=$word\n"
	     "            previous=\n"
	     "            continue\n"
	     "            ;;\n"
	     "        esac\n"
	     "        previous=$word\n"
	     "        [[ $word == -?* ]] || words+=(\"$word\")\n"
	     "    done\n"
	     "    # two words, or one\n"
	     "    local known=$'\\n'$(_sluicectl_verbs)$'\\n' first=${words[0]-} "
	     "second=${words[1]-}\n"
	     "    if [[ -n $second && $known == *$'\\n'\"$first $second\"$'\\n'* ]]; then\n"
	     "        verb=\"$first $second\" place=$((${#words[@]} - 2))\n"
	     "    elif [[ -n $first && $known == *$'\\n'\"$first\"$'\\n'* ]]; then\n"
	     "        verb=$first place=$((${#words[@]} - 1))\n"
	     "    fi\n"
	     "    local typed=${#words[@]}\n"
	     "    words=\n"
	     "    case $previous in\n"
	     "    --file | -f | --write | -w | --socket)\n"
	     "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	     "        return\n"
	     "        ;;\n"
	     "    --qube)\n"
	     "        mapfile -t COMPREPLY < <(compgen -W \"$(_sluicectl_names qubes)\" -- "
	     "\"$current\")\n"
	     "        return\n"
	     "        ;;");
	puts("    esac\n"
	     "    case $verb in");
	for (unsigned i = 0; i < ctl_verb_count; i++)
		verb_branch(&ctl_verbs[i]);
	puts("    esac\n"
	     "    # the second word of a verb, if it has one\n"
	     "    if ((typed == 0)); then\n"
	     "        words=$(_sluicectl_verbs | cut -d ' ' -f 1 | sort -u)\n"
	     "    elif ((typed == 1)); then\n"
	     "        words+=\" $(_sluicectl_verbs | sed -n \"s/^$first //p\")\"\n"
	     "    fi\n"
	     "    [[ $current != -* ]] || words=$options\n"
	     "    case $current in\n"
	     "    qube=* | from=*)\n"
	     "        words=$(_sluicectl_names qubes | sed \"s/^/${current%%=*}=/\")\n"
	     "        ;;\n"
	     "    esac\n"
	     "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
	     "    ((${#COMPREPLY[@]})) || [[ -z $files ]] ||\n"
	     "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n"
	     "    [[ ${COMPREPLY[*]-} != *[=+] ]] || compopt -o nospace 2>/dev/null\n"
	     "    # only what is behind the last = or : may be put in\n"
	     "    case $current in\n"
	     "    *[=:]*)\n"
	     "        [[ $COMP_WORDBREAKS != *=* ]] ||\n"
	     "            COMPREPLY=(\"${COMPREPLY[@]#\"${current%\"${current##*[=:]}\"}\"}\")\n"
	     "        ;;\n"
	     "    esac\n"
	     "}\n"
	     "complete -F _sluicectl sluicectl");
}

/* zsh has descriptions to show, but understands the functions of bash. */
static void
script_zsh(void)
{
	puts("#compdef sluicectl\n"
	     "# zsh completion for sluicectl, made from its table of verbs\n"
	     "\n"
	     "_sluicectl_names() {\n"
	     "    local -a names\n"
	     "    names=(${(f)\"$(sluicectl completion $1 2>/dev/null)\"})\n"
	     "    compadd -a names\n"
	     "}\n"
	     "\n"
	     "_sluicectl() {\n"
	     "    local -a verbs seconds plain options words_only\n"
	     "    local word verb place\n"
	     "    verbs=(");
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		printf("        '%s:", ctl_verbs[i].words);
		for (const char *byte = ctl_verbs[i].help; *byte != '\0'; byte++)
			printf(*byte == '\'' ? "'\\''" : *byte == ':' ? "\\:" : "%c", *byte);
		puts("'");
	}
	puts("    )\n"
	     "    plain=()\n"
	     "    for word in ${words[2,CURRENT-1]}; do\n"
	     "        [[ $word == -* ]] || plain+=($word)\n"
	     "    done\n"
	     "    if ((${#plain} == 0)) && [[ $PREFIX != -* ]]; then\n"
	     "        seconds=(${(u)verbs/%[ :]*/})\n"
	     "        compadd -a seconds\n"
	     "        return\n"
	     "    fi\n"
	     "    verb=${plain[1]} place=$((${#plain} - 1))\n"
	     "    if ((${#plain} == 1)); then\n"
	     "        seconds=(${${(M)verbs:#${plain[1]} *}#${plain[1]} })\n"
	     "        ((${#seconds} == 0)) || _describe verb seconds\n"
	     "    fi\n"
	     "    if [[ -n ${(M)verbs:#${plain[1]} ${plain[2]}:*} ]]; then\n"
	     "        verb=\"${plain[1]} ${plain[2]}\" place=$((${#plain} - 2))\n"
	     "    fi\n"
	     "    case $verb in");
	for (unsigned i = 0; i < ctl_verb_count; i++) {
		const struct ctl_verb *verb = &ctl_verbs[i];
		size_t first = strcspn(verb->arguments, " ");

		printf("    '%s')\n        options=(", verb->words);
		for (int k = 0; k < OPTIONS; k++)
			if (k != OPTION_VERSION && ctl_verb_takes(verb, k))
				printf(" --%s", ctl_options[k].name);
		puts(" )");
		if (memmem(verb->arguments, first, "QUBE", 4) != NULL)
			puts("        ((place != 0)) || _sluicectl_names qubes");
		if (memmem(verb->arguments, first, "FORWARD", 7) != NULL)
			puts("        ((place != 0)) || _sluicectl_names forwards");
		if (strstr(verb->arguments, "FILE") != NULL)
			puts("        ((place == 0)) || _files");
		for (const char *at = verb->arguments; *at != '\0'; at += strcspn(at, " ")) {
			size_t length;
			const char *words;

			at += strspn(at, " [");
			length = strcspn(at, "[]|. =");
			words = argument_words(verb, at, length);
			if (words != NULL && *words != '$')
				printf("        words_only=(%s)\n        compadd -a words_only\n",
					words);
		}
		puts("        ;;");
	}
	puts("    esac\n"
	     "    [[ $PREFIX != -* ]] || compadd -a options\n"
	     "    return 0\n"
	     "}\n"
	     "\n"
	     "_sluicectl \"$@\"");
}

/* Names that sluiced knows. Who presses Tab does not want to read why there are none. */
static int
names_print(struct ctl *ctl, const char *method, const char *list, const char *key)
{
	struct client client;
	json_t *result = NULL;
	const json_t *entry;
	size_t i;

	if (client_open(&client, ctl->socket_path) != 0)
		return CTL_NO_DAEMON;
	if (client_call(&client, method, NULL, &result) == 0)
		json_array_foreach (json_object_get(result, list), i, entry)
			print_clean(stdout, "%s\n", json_text(entry, key));
	json_decref(result);
	client_close(&client);
	return CTL_DONE;
}

int
verb_COMPLETION(struct ctl *ctl)
{
	const char *what = ctl->args.count == 1 ? ctl->args.words[0] : "";

	if (strcmp(what, "bash") == 0)
		script_bash();
	else if (strcmp(what, "zsh") == 0)
		script_zsh();
	else if (strcmp(what, "qubes") == 0)
		return names_print(ctl, "rules.get", "qubes", "qube");
	else if (strcmp(what, "forwards") == 0)
		return names_print(ctl, "forward.list", "forwards", "name");
	else
		return ctl_usage(&ctl->args, "bash, zsh, qubes or forwards");
	return CTL_DONE;
}

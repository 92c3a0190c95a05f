/* SPDX-License-Identifier: Apache-2.0
 * options_help.c - the option table as --help and as a config file
 */
#include <inttypes.h>
#include <string.h>

#include "base/options_private.h"

#define HELP_COLUMNS 80
#define HELP_INDENT 26

/* Write text from column `at` on, wrapped, every further line indented by HELP_INDENT. */
static void wrap(const char *text, int at, FILE *out)
{
    int blanks = 0; /* before the word */

    for (size_t word; *text; text += word) {
        if (*text == ' ') {
            word = 1;
            blanks++;
            continue;
        }
        word = strcspn(text, " ");
        if (at + blanks + (int)word > HELP_COLUMNS && at > HELP_INDENT) {
            fprintf(out, "\n%*s", HELP_INDENT, "");
            at = HELP_INDENT;
            blanks = 0;
        }
        fprintf(out, "%*s%.*s", blanks, "", (int)word, text);
        at += blanks + (int)word;
        blanks = 0;
    }
    fputc('\n', out);
}

static void help_row(const struct sy_option *row, FILE *out)
{
    char flag[128], text[2048], env[SY_OPTION_ENV_BYTES], letter[8] = "    ";
    const char *unit = row->type == SY_OPTION_CHOICE ? row->choices : row->unit;

    if (row->letter)
        snprintf(letter, sizeof letter, "-%c, ", row->letter);
    snprintf(flag, sizeof flag, "  %s--%s%s%s", letter, row->name, unit ? " " : "", unit ? unit : "");
    int n = snprintf(text, sizeof text, "%s", row->help);
    if (row->fallback && !(row->type == SY_OPTION_BOOL && !strcmp(row->fallback, "false")))
        n += snprintf(text + n, sizeof text - (size_t)n, " [%s]", row->fallback);
    if (!sy_option_is_action(row)) {
        sy_option_env_name(row, env);
        snprintf(text + n, sizeof text - (size_t)n, " (%s)", env);
    }
    fprintf(out, "%s", flag);
    int at = (int)strlen(flag);
    if (at + 2 > HELP_INDENT) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", HELP_INDENT - at, "");
    wrap(text, HELP_INDENT, out);
}

void sy_options_help(const struct sy_option *table, int command, FILE *out)
{
    const char *group = NULL;

    for (const struct sy_option *row = table; row->name; row++) {
        if (!(row->commands & 1u << command))
            continue;
        if (!group || strcmp(group, row->group))
            fprintf(out, "\n%s:\n", row->group);
        group = row->group;
        help_row(row, out);
    }
}

/* A text so that config_value() of options.c reads it back. */
static void print_string(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        if (*text == '\n')
            fputs("\\n", out);
        else
            fputc(*text, out);
    }
    fputc('"', out);
}

static void print_value(const struct sy_option *row, const void *at, FILE *out)
{
    switch (row->type) {
    case SY_OPTION_BOOL:
        fputs(*(const bool *)at ? "true" : "false", out);
        break;
    case SY_OPTION_INT:
        fprintf(out, "%" PRId64, *(const int64_t *)at);
        break;
    case SY_OPTION_REAL:
        fprintf(out, "%.17g", *(const double *)at);
        break;
    case SY_OPTION_BYTES:
        fprintf(out, "%" PRIu64, *(const uint64_t *)at);
        break;
    case SY_OPTION_STRING:
    case SY_OPTION_CHOICE:
        print_string(*(const char *const *)at, out);
        break;
    }
}

void sy_options_print(const struct sy_options *options, FILE *out)
{
    static const char *const sources[] = {"default", "config file", "environment", "flag"};

    for (int i = 0; options->table[i].name; i++) {
        const struct sy_option *row = &options->table[i];
        const void *at = (const char *)options->values + row->offset;
        bool text = row->type == SY_OPTION_STRING || row->type == SY_OPTION_CHOICE;
        if (!(row->commands & 1u << options->command) || sy_option_is_action(row) ||
            (options->config_option && !strcmp(row->name, options->config_option)))
            continue;
        /* A value that was never set has no text that could be read back. */
        if ((text && !*(const char *const *)at) ||
            (!row->fallback && options->sources[i] == SY_FROM_DEFAULT)) {
            fprintf(out, "# %s is not set\n", row->name);
            continue;
        }
        fprintf(out, "%s = ", row->name);
        print_value(row, at, out);
        fprintf(out, "   # %s\n", sources[options->sources[i]]);
    }
}

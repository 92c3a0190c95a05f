/* SPDX-License-Identifier: Apache-2.0
 * options.h - one table of options drives parsing, --help, --print-config and the man page
 *
 * A row is a name, an environment variable SWITCHYARD_NAME, a type, a default, a unit and a help line; it says which
 * subcommands have it. Precedence: flag, environment, config file (--config FILE, lines "name = value"), default. Unknown
 * names are answered with the nearest known one. This file knows nothing about argv's owner: cli hands argv and a lookup
 * function for the environment in.
 */
#ifndef SY_BASE_OPTIONS_H
#define SY_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/status.h"

enum sy_option_type {
    SY_OPTION_BOOL,   /* --x, --no-x, --x=true; the value is stored as bool */
    SY_OPTION_INT,    /* int64_t; checked against min and max */
    SY_OPTION_REAL,   /* double */
    SY_OPTION_BYTES,  /* uint64_t; 512, 64K, 3M, 2G, 1T and KiB, MiB, ... (powers of 1024), KB, MB, ... (of 1000) */
    SY_OPTION_STRING, /* const char *, NULL when not given and without default */
    SY_OPTION_CHOICE, /* const char *, one of choices "a|b|c" */
};

struct sy_option {
    const char *name;      /* "kv-bytes"; flag --kv-bytes, environment SWITCHYARD_KV_BYTES, config line kv-bytes = */
    char letter;           /* 'h' for -h, 0 for none */
    enum sy_option_type type;
    const char *fallback;  /* default as text; NULL: none. A bool without default is an action (--help): a flag only,
                            * never in the environment or a config file */
    const char *unit;      /* value name in --help: "FILE", "N", "BYTES", "ms"; NULL for bool */
    const char *choices;   /* for SY_OPTION_CHOICE */
    double min, max;       /* for numbers; both 0: no limit */
    unsigned commands;     /* bit i: subcommand i has this option */
    size_t offset;         /* of the value in the struct that sy_options_parse() fills */
    const char *group;     /* heading in --help */
    const char *help;      /* one or more sentences; wrapped at 80 columns */
};

/* Where a value came from. */
enum sy_option_source { SY_FROM_DEFAULT, SY_FROM_CONFIG, SY_FROM_ENVIRONMENT, SY_FROM_FLAG };

struct sy_options;

typedef const char *(*sy_env_fn)(const char *name);

/* Parse argv[1..] (argv[0] is the subcommand's name, for messages) for subcommand number `command` into `values`, a struct
 * whose fields the table's offsets name. table ends with a row of name NULL. config_option names the row that holds the
 * config file ("config"), or NULL. Arguments that are no options go to *rest (pointers into argv, in order), "--" ends
 * options. String values point into argv, the environment or memory owned by *options.
 * Errors: SY_ERR_USAGE with the option, what was expected and what was given; for an unknown one the nearest name; for a
 * config file "FILE:line: ...". */
enum sy_status sy_options_parse(const struct sy_option *table, int command, int argc, char **argv, sy_env_fn env,
                                const char *config_option, void *values, struct sy_options **options,
                                struct sy_error *err);

/* Let the "name = value" lines of text replace what is in values, as a config file's lines do (name stands in messages).
 * Rank 0's sy_options_print() read on another rank over the defaults gives both the same settings. */
enum sy_status sy_options_read(struct sy_options *options, const char *name, const char *text, size_t len, void *values,
                               struct sy_error *err);

int sy_options_n_rest(const struct sy_options *options);
const char *sy_options_rest(const struct sy_options *options, int i);
enum sy_option_source sy_options_source(const struct sy_options *options, const char *name);

/* The variable of an option that a variable of the environment, which is no option's, may be a slip of the pen for:
 * written to out, and returned. NULL: it is an option's of any subcommand, or like none. */
const char *sy_options_near_env(const struct sy_option *table, const char *variable, char *out, size_t out_bytes);

/* --help text of a subcommand's options, by group, with defaults and environment variables. */
void sy_options_help(const struct sy_option *table, int command, FILE *out);

/* --print-config: "name = value   # source" lines that --config reads back. */
void sy_options_print(const struct sy_options *options, FILE *out);

/* The known name nearest to `name` (Levenshtein distance at most 3), or NULL. */
const char *sy_options_nearest(const char *name, const char *const *names, int n_names);

void sy_options_destroy(struct sy_options *options);

#endif

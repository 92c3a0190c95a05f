/* SPDX-License-Identifier: Apache-2.0
 * options_private.h - what options.c and options_help.c share
 */
#ifndef SY_BASE_OPTIONS_PRIVATE_H
#define SY_BASE_OPTIONS_PRIVATE_H

#include "base/options.h"

#define SY_OPTION_ENV_BYTES 96

struct sy_options {
    const struct sy_option *table;
    int command;
    const char *config_option;
    const void *values;              /* the caller's, for sy_options_print() */
    enum sy_option_source *sources;  /* [rows of the table] */
    const char **rest;               /* [n_rest], into argv */
    int n_rest;
    char **kept;                     /* [n_kept], values of config files */
    int n_kept;
};

/* --help and the like: a flag only, never in the environment or a config file. */
bool sy_option_is_action(const struct sy_option *row);

/* "SWITCHYARD_KV_BYTES" */
void sy_option_env_name(const struct sy_option *row, char out[SY_OPTION_ENV_BYTES]);

/* Store text as row's value in values; where names the place it came from. The text must outlive values. */
enum sy_status sy_option_set(const struct sy_option *row, const char *text, const char *where, void *values,
                             struct sy_error *err);

#endif

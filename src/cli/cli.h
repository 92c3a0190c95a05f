/* SPDX-License-Identifier: Apache-2.0
 * cli.h - what main.c hands to a subcommand (private to src/cli)
 */
#ifndef SY_CLI_CLI_H
#define SY_CLI_CLI_H

#include <stdio.h>

#include "cli/settings.h"

/* The process's arguments, already read. A rank whose own settings are wrong still has to meet the others, so that all
 * ranks leave together with one message: then status is not SY_OK and options is NULL. */
struct sy_cli {
    enum sy_command command;
    int *argc;
    char ***argv;
    struct sy_settings settings;
    struct sy_options *options;
    enum sy_status status;
    struct sy_error err;
    char word[64]; /* bench: the word after it, as an option */
};

/* Run a subcommand to its end, MPI included; returns the exit code. Messages have been printed. */
int sy_cli_run(struct sy_cli *cli);
int sy_cli_score(struct sy_cli *cli);
int sy_cli_doctor(struct sy_cli *cli);
int sy_cli_topo(struct sy_cli *cli);
int sy_cli_bench(struct sy_cli *cli);

/* --help of a subcommand, and the list of subcommands. */
void sy_cli_help(enum sy_command command, FILE *out);
void sy_cli_usage(FILE *out);
const char *sy_cli_command_name(enum sy_command command);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * main.c - the one place that sees argv, the environment and exit
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/version.h"
#include "kernels.h"

static const char *env(const char *name)
{
    return getenv(name);
}

/* Before MPI has started only the launcher's variables tell whether another rank says the same. */
static bool first_rank(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *text = getenv(names[i]);
        if (text)
            return atoi(text) == 0;
    }
    return true;
}

static bool launched(void)
{
    return getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK") || getenv("PMI_RANK");
}

static bool is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return !strcmp(text, a) || !strcmp(text, b) || !strcmp(text, c);
}

/* SY_N_COMMANDS: there is none of this name. */
static enum sy_command find_command(const char *name)
{
    int i = 0;

    while (i < SY_N_COMMANDS && strcmp(name, sy_cli_command_name((enum sy_command)i)))
        i++;
    return (enum sy_command)i;
}

static int unknown_command(const char *name)
{
    const char *names[SY_N_COMMANDS];

    for (int i = 0; i < SY_N_COMMANDS; i++)
        names[i] = sy_cli_command_name((enum sy_command)i);
    const char *near = sy_options_nearest(name, names, SY_N_COMMANDS);
    if (first_rank())
        fprintf(stderr, "switchyard: unknown command %s; %s%s%s\n", name, near ? "did you mean " : "see switchyard",
                near ? near : " --help", near ? "?" : "");
    return sy_status_exit_code(SY_ERR_USAGE);
}

/* The first argument when it is no subcommand. "help COMMAND" and "--help COMMAND" are "COMMAND --help". */
static int top_level(int argc, char **argv)
{
    bool speaks = first_rank();

    if (argc < 2) {
        if (speaks)
            sy_cli_usage(stderr);
        return sy_status_exit_code(SY_ERR_USAGE);
    }
    bool version = is_one_of(argv[1], "--version", "-V", "version");
    if (!version && !is_one_of(argv[1], "--help", "-h", "help"))
        return unknown_command(argv[1]);
    enum sy_command command = SY_N_COMMANDS;
    int n_used = 2;
    if (!version && argc > 2) {
        command = find_command(argv[2]);
        n_used = 3;
        if (command == SY_N_COMMANDS)
            return unknown_command(argv[2]);
    }
    if (argc > n_used) {
        if (speaks)
            fprintf(stderr, "switchyard: %s: unexpected argument \"%s\"\n", argv[1], argv[n_used]);
        return sy_status_exit_code(SY_ERR_USAGE);
    }
    if (speaks && version)
        sy_cli_version(stdout);
    else if (speaks && command != SY_N_COMMANDS)
        sy_cli_help(command, stdout);
    else if (speaks)
        sy_cli_usage(stdout);
    return 0;
}

/* Fill cli from the arguments after the subcommand. */
static void read_arguments(struct sy_cli *cli, int argc, char **argv)
{
    /* "bench model" is "bench --measure=model", so that rank 0's word counts like its other settings. */
    if (cli->command == SY_COMMAND_BENCH && argc > 2 && argv[2][0] != '-') {
        snprintf(cli->word, sizeof cli->word, "--measure=%s", argv[2]);
        argv[2] = cli->word;
    }
    enum sy_status st = sy_options_parse(sy_settings_table, (int)cli->command, argc - 1, argv + 1, env,
                                         sy_settings_config, &cli->settings, &cli->options, &cli->err);

    const char *word = strchr(cli->word, '=');
    if (!st && word && strcmp(word + 1, cli->settings.measure))
        st = sy_error_set(&cli->err, SY_ERR_USAGE, "bench %s: --measure %s says something else", word + 1,
                          cli->settings.measure);
    else if (!st && sy_options_n_rest(cli->options))
        st = sy_error_set(&cli->err, SY_ERR_USAGE, "%s: unexpected argument \"%.200s\"; options begin with --", argv[1],
                          sy_options_rest(cli->options, 0));
    if (st) {
        sy_options_destroy(cli->options);
        cli->options = NULL;
    }
    cli->status = st;
}

/* A misspelt variable would be a setting that nobody misses. */
static void look_at_environment(const struct sy_settings *settings)
{
    char name[128], near[128];

    if (!first_rank() || sy_settings_log_level(settings) < SY_LOG_WARN)
        return;
    for (char **at = environ; *at; at++) {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*at, "="), *at);
        if (sy_options_near_env(sy_settings_table, name, near, sizeof near))
            fprintf(stderr, "switchyard: warning: %s in the environment is no option; did you mean %s?\n", name, near);
    }
}

static int command_main(enum sy_command command, int argc, char **argv)
{
    struct sy_cli cli = {.command = command, .argc = &argc, .argv = &argv, .err = SY_ERROR_INIT};
    int code = 0;

    read_arguments(&cli, argc, argv);
    if (!cli.status && (cli.settings.help || cli.settings.print_config)) {
        if (first_rank() && cli.settings.help)
            sy_cli_help(command, stdout);
        else if (first_rank())
            sy_options_print(cli.options, stdout);
        sy_options_destroy(cli.options);
        return 0;
    }
    if (!cli.status)
        look_at_environment(&cli.settings);
    /* Alone, a wrong argument needs no MPI; with other ranks all must leave together. */
    if (cli.status && !launched()) {
        fprintf(stderr, "switchyard: %s\n", cli.err.text);
        return sy_status_exit_code(cli.status);
    }
    switch (command) {
    case SY_COMMAND_RUN:
        code = sy_cli_run(&cli);
        break;
    case SY_COMMAND_SCORE:
        code = sy_cli_score(&cli);
        break;
    case SY_COMMAND_DOCTOR:
        code = sy_cli_doctor(&cli);
        break;
    case SY_COMMAND_TOPO:
        code = sy_cli_topo(&cli);
        break;
    case SY_COMMAND_BENCH:
        code = sy_cli_bench(&cli);
        break;
    case SY_N_COMMANDS:
        break;
    }
    return code;
}

int main(int argc, char **argv)
{
    enum sy_command command = argc > 1 ? find_command(argv[1]) : SY_N_COMMANDS;

    sy_range_listen(sy_cuda_ranges());
    int code = command == SY_N_COMMANDS ? top_level(argc, argv) : command_main(command, argc, argv);
    if (fflush(stdout) && !code)
        code = sy_status_exit_code(SY_ERR_IO);
    exit(code);
}

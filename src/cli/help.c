/* SPDX-License-Identifier: Apache-2.0
 * help.c - --help of the program and of each subcommand
 */
#include "cli/cli.h"
#include "cli/version.h"

struct command_help {
    const char *name, *does, *usage, *text, *examples;
};

static const struct command_help commands[SY_N_COMMANDS] = {
    [SY_COMMAND_RUN] = {
        "run", "complete a prompt or a batch file of requests",
        "switchyard run --model DIR --prompt TEXT [OPTION]...\n"
        "       switchyard run --model DIR --in FILE --out FILE [OPTION]...",
        "Completes texts with a Mixture-of-Experts model. Under mpirun every rank holds a\n"
        "part of the experts; results do not depend on how many ranks there are.\n"
        "\n"
        "A line of --in is a request in the OpenAI batch format (custom_id, url\n"
        "/v1/completions, body) or just a body: prompt (a string or an array of token\n"
        "ids), max_tokens, temperature, top_p, top_k, seed, stop, logprobs, echo,\n"
        "return_token_ids, ignore_eos. A line without custom_id gets its line number. A\n"
        "line that is not understood or asks for something else gets an error object in\n"
        "its place, and the job goes on. A custom_id that an earlier line has used is\n"
        "refused in the same way, and the job ends with exit code 65.\n"
        "\n"
        "SIGUSR1 (to mpirun or a rank) or SIGTERM (to a rank) drains: what is in flight\n"
        "is finished, nothing new is started, and --resume does the rest another time.\n",
        "  switchyard run -m DIR -p 'Once upon a time' -n 64 --temperature 0\n"
        "  mpirun -n 4 switchyard run -m DIR -i requests.jsonl -o answers.jsonl\n"
        "  producer | mpirun -n 4 switchyard run -m DIR -i - -o answers.jsonl --resume\n"},
    [SY_COMMAND_SCORE] = {
        "score", "log-probabilities and perplexity of given texts",
        "switchyard score --model DIR --in FILE --out FILE [OPTION]...",
        "Gives each token of each text its log-probability. A line of --in has \"text\" or\n"
        "\"prompt\" (a string or an array of token ids), and may have a custom_id (else the\n"
        "line number) and a domain. A line of --out has custom_id, domain if there was one,\n"
        "token_ids, token_logprobs (null for the first token), nll (their negative sum, in\n"
        "nats) and scored_tokens. Totals and perplexity, for each domain too, come at the\n"
        "end on standard error, and with --summary as JSON.\n",
        "  mpirun -n 2 switchyard score -m DIR -i texts.jsonl -o scores.jsonl --truncate 512\n"
        "  switchyard score -m DIR -i texts.jsonl -o scores.jsonl --logits logits/\n"},
    [SY_COMMAND_DOCTOR] = {
        "doctor", "check every rank before a job: versions, cores, memory, checkpoint",
        "switchyard doctor [--model DIR] [OPTION]...",
        "Prints one table of all ranks and a verdict. With --model the headers of all\n"
        "checkpoint files are read on every rank and compared. The exit code is 0 when a\n"
        "job can start.\n",
        "  mpirun -n 8 --hostfile hosts switchyard doctor -m DIR\n"},
};

static const char exit_codes[] =
    "Exit codes:\n"
    "  0   done                      70  a fault of this program\n"
    "  64  wrong usage               71  memory, threads or another limit of the system\n"
    "  65  malformed input           74  a file cannot be opened, read or written\n"
    "  69  a rank or the network failed, or was silent for longer than --timeout\n";

const char *sy_cli_command_name(enum sy_command command)
{
    return commands[command].name;
}

void sy_cli_help(enum sy_command command, FILE *out)
{
    const struct command_help *help = &commands[command];

    fprintf(out, "switchyard %s: %s\n\nUsage: %s\n\n%s", help->name, help->does, help->usage, help->text);
    sy_options_help(sy_settings_table, command, out);
    fprintf(out,
            "\nEach option may also stand in the environment (the name in parentheses) or in the\n"
            "file that --config names. A flag counts more than the environment, that more than\n"
            "the file, and that more than the default (in brackets). Rank 0's settings count\n"
            "for all ranks.\n\nExamples:\n%s\n%s",
            help->examples, exit_codes);
}

void sy_cli_usage(FILE *out)
{
    fprintf(out,
            "switchyard %s: Mixture-of-Experts language models over MPI\n\n"
            "Usage: switchyard COMMAND [OPTION]...\n"
            "       mpirun -n RANKS switchyard COMMAND [OPTION]...\n\nCommands:\n",
            sy_version);
    for (int i = 0; i < SY_N_COMMANDS; i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].does);
    fprintf(out,
            "\n  --help, -h      this text; switchyard COMMAND --help tells about a command\n"
            "  --version, -V   the version and how it was built\n\n"
            "Example:\n  mpirun -n 2 switchyard run --model DIR --prompt 'Once upon a time'\n\n%s",
            exit_codes);
}

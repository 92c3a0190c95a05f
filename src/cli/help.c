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
        "/v1/completions or /v1/chat/completions, body) or just a body: prompt (a string\n"
        "or an array of token ids), max_tokens, temperature, top_p, top_k, seed, stop,\n"
        "logprobs, echo, return_token_ids, ignore_eos. A chat has messages in place of\n"
        "prompt, and tools, chat_template_kwargs, max_completion_tokens, logprobs (true)\n"
        "with top_logprobs; the checkpoint's own template makes its text.\n"
        "\n"
        "A line without custom_id gets its line number. A line that is not understood or\n"
        "asks for something else gets an error object in its place, and the job goes on.\n"
        "A custom_id that an earlier line has used is refused in the same way, and the\n"
        "job ends with exit code 65.\n"
        "\n"
        "SIGUSR1 (to mpirun or a rank) or SIGTERM (to a rank) drains: what is in flight\n"
        "is finished, nothing new is started, and --resume does the rest another time.\n",
        "  switchyard run -m DIR -p 'Once upon a time' -n 64 --temperature 0\n"
        "  switchyard run -m DIR --chat -p 'What is a rank?'\n"
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
        "Prints one table of all ranks, the transports between them and a verdict. With\n"
        "--model the headers of all checkpoint files are read on every rank and compared,\n"
        "and the model is described: shapes, parameters and bytes by part and type, KV\n"
        "cache, what each rank would hold, tensors that are not loaded, keys of\n"
        "config.json that are not known. No weights are read. The exit code is 0 when a\n"
        "job can start.\n"
        "\n"
        "Active parameters leave out the experts that a token does not go to, and nothing\n"
        "else. Bytes of parts are those in the files; what a rank holds is as it will lie\n"
        "in memory.\n",
        "  mpirun -n 8 --hostfile hosts switchyard doctor -m DIR\n"
        "  switchyard doctor -m DIR --ranks 1,2,4,8,16\n"},
    [SY_COMMAND_TOPO] = {
        "topo", "show this machine or cluster, or a file about one: GPUs, NICs, links",
        "switchyard topo [OPTION]...",
        "Shows a tree of each kind of node: NUMA nodes, CPUs, PCIe switches, GPUs, NICs, what\n"
        "joins them and how fast, and a matrix of the first machine's GPUs and NICs in the\n"
        "words of nvidia-smi topo -m. Under mpirun every node is looked at.\n"
        "\n"
        "Sources are hwloc and the system for CPUs, PCI and NICs, and NVIDIA's management\n"
        "library for NVLinks. Rates are of one direction, payload. Unknown is not zero: what no\n"
        "source tells is left out or called unknown. What does not fit together is said on\n"
        "standard error (GPUs with fewer links than their equals, links whose ends do not\n"
        "agree, degraded links, ports that a virtual machine makes up).\n",
        "  switchyard topo\n"
        "  mpirun -n 4 --map-by ppr:1:node switchyard topo\n"
        "  switchyard topo --import-nccl topo.xml\n"
        "  switchyard topo --hwloc-xml - | lstopo --input - --input-format xml\n"},
    [SY_COMMAND_BENCH] = {
        "bench", "measure this machine, a layer, a model, the network or a tokenizer",
        "switchyard bench ceilings|layer|model|dispatch|tokenizer [OPTION]...",
        "Shows how fast something runs and how fast it could at most. Weights are random\n"
        "and made in memory from a named shape, so that layer and model need no checkpoint.\n"
        "\n"
        "  ceilings  bytes read and operations done per second by 1, 2, 4, ... threads\n"
        "  layer     one layer of experts: router, dispatch, experts, combine\n"
        "  model     prefill and decode of a whole model\n"
        "  dispatch  rows to experts on other ranks and results back, without a model\n"
        "  tokenizer text to ids by --model DIR on one core; --in FILE is plain text, or\n"
        "            lines as score reads them if its name ends in .jsonl\n"
        "\n"
        "Read bandwidth and the peaks of FP32, BF16 and INT8 arithmetic are measured in\n"
        "the same run with the same threads, read bandwidth again beside each repetition,\n"
        "because other guests of a machine change it within seconds. The roof of a phase\n"
        "is max(operations / peak, bytes / read bandwidth) on its rank: bytes are those of\n"
        "the weights and of the KV cache that have to come from memory (an expert counts\n"
        "when a token really went there), operations are multiplications and additions.\n"
        "What a step makes itself is small and may stay in caches: it has no bytes. The\n"
        "roof of a whole step is the sum over its phases, on the rank where it is largest.\n"
        "A prompt's weights count once, even when it runs in several chunks. On avx2 and\n"
        "portable, which have no product of BF16, its peak is that of FP32, and on portable\n"
        "that of INT8 too.\n"
        "\n"
        "Columns: ms/step (of a prefill: all its steps), its roof and their quotient (share),\n"
        "read bandwidth beside the repetitions, experts that had rows in a layer and step\n"
        "(of as many as uniform routing would give), CPU time that others had.\n"
        "\n"
        "Every sequence has its own random tokens, so that routing spreads. Decode counts\n"
        "only steps in which all sequences decode. A run warns when its ceilings are below\n"
        "90 % of those of the machine that the project's figures come from, or when other\n"
        "processes kept the CPUs busy (the column others).\n"
        "\n"
        "On a GPU layers are also recorded and replayed as one, which leaves the host's time\n"
        "out: from hidden states, from the router's logits and from chosen experts, with\n"
        "the error of results against FP32.\n"
        "\n"
        "On several ranks layer also runs in turn, as with --no-overlap, and so that ranks\n"
        "meet around each exchange, which gives the exchange and all else alone, on the\n"
        "slowest rank. Efficiency is (exchange + compute - layer) / the shorter of the two:\n"
        "1 where that one is hidden whole, about 0 in turn.\n"
        "\n"
        "dispatch moves the rows of one layer by the engine's transports, then by\n"
        "MPI_Alltoallv with the packing and unpacking that it needs, then copies as many\n"
        "bytes with memcpy on every rank at once: some goes each, of which the first does\n"
        "not count, and so on in turn. Experts return what they get from other ranks; this\n"
        "rank's own results are where a layer's experts store them. Columns: rows that the\n"
        "busiest rank sends to others; the slowest rank's time in the median, 99th percentile\n"
        "and longest of all goes; those rows over that time; rows of all choices, this rank's\n"
        "own too, over it, as published tables of such libraries count; the other ways'\n"
        "medians, and how many times as long MPI_Alltoallv takes, and as memcpy it takes here;\n"
        "who moves rows: the host, or devices that write to each other's memory.\n"
        "\n"
        "Shapes: small (8 layers, hidden 1024, 32 experts top-4), olmoe (OLMoE-1B-7B),\n"
        "slice (8 layers and a sixth of the vocabulary of Qwen3-30B-A3B), qwen3-30b-a3b,\n"
        "qwen3-235b-a22b, qwen3-coder-480b-a35b, mixtral-8x7b, mixtral-8x22b,\n"
        "gpt-oss-20b (its sizes, with Mixtral's arithmetic), deepseek-v3-experts (4 layers of\n"
        "its routed experts, for bench layer), deepseek-v3-ep8 (32 of them with one to a token:\n"
        "each of 8 ranks' rows). --layers and --vocab cut one that does not fit into memory.\n",
        "  switchyard bench ceilings\n"
        "  switchyard bench model --shape olmoe --decode 1,8,32 --json olmoe.json\n"
        "  mpirun -n 2 switchyard bench model --shape slice --threads 1 --prefill 2x256\n"
        "  switchyard bench layer --shape mixtral-8x7b --layers 2 --tokens 1,64\n"
        "  mpirun -n 8 switchyard bench dispatch --tokens 128 --routing zipf\n"
        "  switchyard bench tokenizer -m DIR -i texts.jsonl\n"},
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
            "\n  --help, -h      this text; switchyard COMMAND --help (or help COMMAND) tells about a command\n"
            "  --version, -V   the version and how it was built\n\n"
            "Example:\n  mpirun -n 2 switchyard run --model DIR --prompt 'Once upon a time'\n\n%s",
            exit_codes);
}

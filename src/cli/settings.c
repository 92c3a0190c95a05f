/* SPDX-License-Identifier: Apache-2.0
 * settings.c - every option of every subcommand
 */
#include "config.h"

#include "cli/settings.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define RUN (1u << SY_COMMAND_RUN)
#define SCORE (1u << SY_COMMAND_SCORE)
#define DOCTOR (1u << SY_COMMAND_DOCTOR)
#define BENCH (1u << SY_COMMAND_BENCH)
#define TOPO (1u << SY_COMMAND_TOPO)
#define JOB (RUN | SCORE)
#define ENGINE (JOB | BENCH)
#define ALL (ENGINE | DOCTOR)
#define ANY (ALL | TOPO)

#ifdef HAVE_UCX
#define TRANSPORTS                                                                                                     \
    "ucx through UCX, mpi as messages, both from GPU memory to GPU memory where the library takes that; auto takes "  \
    "ipc or else shm inside a node and, between nodes, ucx where the network itself writes into memory (RDMA), else " \
    "mpi."
#else
#define TRANSPORTS                                                                                                     \
    "mpi as messages, from GPU memory to GPU memory where MPI takes that; auto takes ipc or else shm inside a node "  \
    "and mpi between nodes. ucx was left out when this program was built."
#endif

#define AT(field) offsetof(struct sy_settings, field)

const char sy_settings_config[] = "config";

/* name, letter, type, default, unit, choices, min, max, commands, offset, group, help */
const struct sy_option sy_settings_table[] = {
    {"model", 'm', SY_OPTION_STRING, NULL, "DIR", NULL, 0, 0, ALL, AT(model), "Job",
     "Checkpoint directory as published: config.json, *.safetensors, tokenizer.json."},
    {"prompt", 'p', SY_OPTION_STRING, NULL, "TEXT", NULL, 0, 0, RUN, AT(prompt), "Job",
     "Complete this one text and stream the completion to standard output. For a model without tokenizer: token ids "
     "separated by spaces or commas."},
    {"chat", 0, SY_OPTION_BOOL, "false", NULL, NULL, 0, 0, RUN, AT(chat), "Job",
     "Send --prompt as a message of the user, through the model's chat template."},
    {"in", 'i', SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, ENGINE, AT(in), "Job",
     "Read requests from FILE, one JSON object a line; - is standard input. A pipe may stay open: late lines join the "
     "running batch. In bench: the texts for tokenizer."},
    {"out", 'o', SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, JOB, AT(out), "Job",
     "Append one JSON line for each request to FILE, in the order in which they finish; - is standard output."},
    {"resume", 0, SY_OPTION_BOOL, "false", NULL, NULL, 0, 0, JOB, AT(resume), "Job",
     "Go on with an output file: cut off an unfinished last line and leave out requests that have a line there."},
    {"truncate", 0, SY_OPTION_INT, "0", "N", NULL, 0, 16777215, SCORE, AT(truncate), "Job",
     "Keep the first N tokens of each text; 0 keeps all, and a text longer than the model's context is an error."},
    {"logits", 0, SY_OPTION_STRING, NULL, "DIR", NULL, 0, 0, SCORE, AT(logits), "Job",
     "Write DIR/<custom_id>.safetensors with the tensor logits (F32, positions x vocabulary) for each text. Bytes of "
     "custom_id other than letters, digits, '-', '_' and '.' become %XX. All ranks must see DIR."},
    {"summary", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, JOB, AT(summary), "Job",
     "Write the closing summary as JSON too."},

    {"ranks", 0, SY_OPTION_STRING, NULL, "LIST", NULL, 0, 0, DOCTOR, AT(ranks), "Job",
     "Numbers of ranks, as 1,2,4: show what each of so many ranks would hold of --model. Without it: of as many as "
     "there are."},

    {"cluster", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, ANY, AT(cluster), "Topology",
     "A cluster file: topo shows what it says instead of these machines; each rank of a job takes the device and "
     "the CPUs that it gives to that rank."},
    {"import-hwloc", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(import_hwloc), "Topology",
     "Show a machine from XML of hwloc (lstopo FILE.xml), version 1 or 2."},
    {"import-nccl", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(import_nccl), "Topology",
     "Show a machine from a topology file of NCCL (NCCL_TOPO_DUMP_FILE, or as clouds publish them) or RCCL."},
    {"hwloc-xml", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(hwloc_xml), "Topology",
     "Write this machine (rank 0's) as XML of hwloc, NVLinks included; - is standard output, here and below, and "
     "nothing else is printed there then."},
    {"nccl-xml", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(nccl_xml), "Topology",
     "Write this or the imported machine as NCCL_TOPO_FILE has it."},
    {"yaml", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(yaml), "Topology",
     "Write it as a cluster file, with a comment on each value that says where it comes from."},
    {"check", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(check), "Topology",
     "Hold a cluster file against the machines (or an imported file): what it says otherwise is said, each with its "
     "place, and the exit code is 65."},
    {"svg", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, TOPO, AT(svg), "Topology",
     "Draw it: nodes, GPUs, switches, NICs, links and their rates."},
    {"places", 0, SY_OPTION_BOOL, "false", NULL, NULL, 0, 0, TOPO, AT(places), "Topology",
     "Print a line for each rank that there would be, in place of the text: its host, and cores=LIST (of the host, "
     "counted from 0), cpus=LIST (by the system's numbers) or - where that is not told of all. switchyard-run starts "
     "jobs by it."},

    {"measure", 0, SY_OPTION_CHOICE, NULL, NULL, "ceilings|layer|model|dispatch|tokenizer", 0, 0, BENCH, AT(measure),
     "Measurement", "What to measure; the word after bench says the same."},
    {"shape", 0, SY_OPTION_STRING, "small", "NAME", NULL, 0, 0, BENCH, AT(shape), "Measurement",
     "Sizes of the model (layer, model); the list is above."},
    {"layers", 0, SY_OPTION_INT, "0", "N", NULL, 0, 4096, BENCH, AT(layers), "Measurement",
     "Cut the shape to its first N layers (layer, model); 0: all of them for model, 4 for layer."},
    {"vocab", 0, SY_OPTION_INT, "0", "N", NULL, 0, 16777215, BENCH, AT(vocab), "Measurement",
     "Cut the vocabulary to N tokens (model); 0: all of it."},
    {"prefill", 0, SY_OPTION_STRING, "512,128", "LIST", NULL, 0, 0, BENCH, AT(prefill), "Measurement",
     "Prompts to prefill (model): 512 is one prompt of 512 tokens, 2x256 two of 256 at once; none leaves it out."},
    {"decode", 0, SY_OPTION_STRING, "1,8,32", "LIST", NULL, 0, 0, BENCH, AT(decode), "Measurement",
     "Numbers of sequences to decode together (model), split evenly over the ranks; none leaves it out."},
    {"generate", 0, SY_OPTION_INT, "32", "N", NULL, 1, 65536, BENCH, AT(generate), "Measurement",
     "Tokens that each sequence decodes in a repetition (model)."},
    {"context", 0, SY_OPTION_INT, "32", "N", NULL, 1, 16777215, BENCH, AT(context), "Measurement",
     "Tokens that each sequence has before it decodes (model); prefilling them is not counted."},
    {"tokens", 0, SY_OPTION_STRING, NULL, "LIST", NULL, 0, 0, BENCH, AT(tokens), "Measurement",
     "Tokens that go through the layer at once, split evenly over the ranks (layer; without it 1,8,32,128,512), or "
     "that each rank has (dispatch; 1,8,64,128,1024)."},
    {"hidden", 0, SY_OPTION_INT, "7168", "N", NULL, 1, 1048576, BENCH, AT(hidden), "Measurement",
     "Elements of a row (dispatch)."},
    {"experts", 0, SY_OPTION_INT, "256", "N", NULL, 1, 4096, BENCH, AT(experts), "Measurement",
     "Experts, spread evenly over the ranks (dispatch)."},
    {"active", 0, SY_OPTION_INT, "8", "N", NULL, 1, 64, BENCH, AT(active), "Measurement",
     "Experts that a token goes to (dispatch)."},
    {"routing", 0, SY_OPTION_CHOICE, "uniform", NULL, "uniform|zipf|one", 0, 0, BENCH, AT(routing), "Measurement",
     "How tokens choose experts (dispatch): all equally often; the second half as often as the first, the third a "
     "third as often; or every token the same ones, which one rank has."},
    {"reps", 0, SY_OPTION_INT, "5", "N", NULL, 1, 1000, BENCH, AT(reps), "Measurement",
     "Repetitions of each measurement; the median counts, lowest and highest are shown."},
    {"probe-bytes", 0, SY_OPTION_BYTES, "1GiB", "BYTES", NULL, 0, 0, BENCH, AT(probe_bytes), "Measurement",
     "What each rank reads for one figure of read bandwidth: it must be well above the last cache."},
    {"json", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, BENCH, AT(json), "Measurement",
     "Write everything that was measured as one JSON document too, each repetition of each rank included."},

    {"max-tokens", 'n', SY_OPTION_INT, NULL, "N", NULL, 0, 16777215, RUN, AT(max_tokens), "Sampling",
     "Tokens to generate, for lines that do not say. Without it: 16 for a line, as in the API, 1024 for a chat, and "
     "128 for --prompt."},
    {"temperature", 0, SY_OPTION_REAL, "1", "X", NULL, 0, 100, RUN, AT(temperature), "Sampling",
     "Sampling temperature, for lines that do not say; 0 takes the most likely token."},
    {"top-p", 0, SY_OPTION_REAL, "1", "X", NULL, 0, 1, RUN, AT(top_p), "Sampling",
     "Sample from the most likely tokens that together have probability X; 1 is off."},
    {"top-k", 0, SY_OPTION_INT, "0", "N", NULL, 0, 16777215, RUN, AT(top_k), "Sampling",
     "Sample from the N most likely tokens; 0 is off."},
    {"seed", 0, SY_OPTION_INT, "0", "N", NULL, 0, 0, RUN | BENCH, AT(seed), "Sampling",
     "Seed, for lines that do not say. The same request with the same seed gives the same text in any batch. In bench: "
     "of the random weights and tokens."},
    {"stop", 0, SY_OPTION_STRING, NULL, "TEXT", NULL, 0, 0, RUN, AT(stop), "Sampling",
     "End a completion before this text, for lines that do not say."},
    {"ignore-eos", 0, SY_OPTION_BOOL, "false", NULL, NULL, 0, 0, RUN, AT(ignore_eos), "Sampling",
     "Go on to --max-tokens after an end-of-text token."},

    {"kv-bytes", 0, SY_OPTION_BYTES, "0", "BYTES", NULL, 0, 0, JOB, AT(kv_bytes), "Batching",
     "KV cache of each rank, as 500000000, 500MB (of 1000 * 1000) or 500M or 500MiB (of 1024 * 1024); 0 lets the "
     "engine "
     "choose."},
    {"prefill-chunk", 0, SY_OPTION_INT, "512", "N", NULL, 1, 1048576, ENGINE, AT(prefill_chunk), "Batching",
     "Prompt tokens of one sequence in a step."},
    {"max-tokens-per-step", 0, SY_OPTION_INT, "512", "N", NULL, 1, 1048576, ENGINE, AT(max_tokens_per_step), "Batching",
     "Tokens of a step on each rank."},
    {"max-sequences", 0, SY_OPTION_INT, "64", "N", NULL, 1, 65536, JOB, AT(max_sequences), "Batching",
     "Sequences in a step on each rank."},
    {"chunk-rows", 0, SY_OPTION_INT, "0", "N", NULL, 0, 65536, ENGINE, AT(chunk_rows), "Batching",
     "Rows of a transport chunk between ranks; 0: 64, but from GPU to GPU by nccl, ucx (up to 2048) and mpi (up to "
     "512) as many as 1 GiB for chunks allows. Through the host's memory large chunks are slower."},
    {"slots", 0, SY_OPTION_INT, "4", "N", NULL, 1, 1024, ENGINE, AT(slots), "Batching",
     "Chunks in flight from one rank to another."},
    {"overlap", 0, SY_OPTION_BOOL, "true", NULL, NULL, 0, 0, ENGINE, AT(overlap), "Batching",
     "Compute experts while rows travel; --no-overlap has each layer dispatch all rows, then compute, then combine: "
     "the same results, with memory for all of a layer, for comparisons."},

    {"transport", 0, SY_OPTION_CHOICE, "auto", NULL, "auto|shm|ipc|nccl|ucx|mpi", 0, 0, ALL, AT(transport), "Machine",
     "How rows go to other ranks: shm through memory that the ranks of a node share, ipc through that of their GPUs, "
     "nccl between GPUs of a node by NCCL, " TRANSPORTS " What was chosen is said at the start, with the reason."},
    {"compute", 0, SY_OPTION_CHOICE, "bf16", NULL, "bf16|f32", 0, 0, ENGINE, AT(compute), "Machine",
     "bf16 rounds activations to BF16 before each product, for attention's projections and dense MLPs to the "
     "sum of two BF16 numbers; f32 keeps FP32 throughout. Weights stay as they are."},
    {"device", 0, SY_OPTION_STRING, "auto", "DEVICE", NULL, 0, 0, ALL, AT(device), "Machine",
     "Where each rank computes: cpu; cuda, a GPU near its cores, GPUs shared evenly among the ranks of a node; "
     "cuda:N, GPU N of its node; auto takes GPUs if every rank has one."},
    {"isa", 0, SY_OPTION_CHOICE, "auto", NULL, "auto|amx|avx512|avx2|portable", 0, 0, ALL, AT(isa), "Machine",
     "Instruction set of the kernels; auto takes the best that all ranks have."},
    {"threads", 't', SY_OPTION_INT, "0", "N", NULL, 0, 4096, ALL, AT(threads), "Machine",
     "Compute threads of each rank; 0 is the node's cores over its ranks."},
    {"bind", 0, SY_OPTION_CHOICE, "auto", NULL, "auto|none", 0, 0, ALL, AT(bind), "Machine",
     "Bind each thread to a core of its own where there are enough cores, or leave it to the system."},
    {"timeout", 0, SY_OPTION_REAL, "30", "SECONDS", NULL, 0, 1e9, ANY, AT(timeout_s), "Machine",
     "Longest wait for another rank before the job ends with the name of who is missing; 0 waits for ever."},

    {"config", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, ANY, AT(config), "General",
     "Read options from FILE, lines of name = value. Flags and the environment come before it."},
    {"log-level", 0, SY_OPTION_CHOICE, "info", NULL, "error|warn|info|debug", 0, 0, ANY, AT(log_level), "General",
     "How much to say on standard error."},
    {"progress", 0, SY_OPTION_CHOICE, "auto", NULL, "auto|always|never", 0, 0, ENGINE, AT(progress), "General",
     "Progress line for work of more than two seconds; auto: if standard error is a terminal, which under mpirun it is "
     "not."},
    {"print-config", 0, SY_OPTION_BOOL, NULL, NULL, NULL, 0, 0, ANY, AT(print_config), "General",
     "Print every option with its value and where that came from, in a form that --config reads, and exit."},
    {"help", 'h', SY_OPTION_BOOL, NULL, NULL, NULL, 0, 0, ANY, AT(help), "General", "Print this help and exit."},
    {.name = NULL},
};

enum sy_status sy_settings_write(const struct sy_options *options, struct sy_buf *text, struct sy_error *err)
{
    char *data = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&data, &len);

    if (!out)
        return sy_error_errno(err, SY_ERR_SYSTEM, "no memory for settings");
    sy_options_print(options, out);
    bool good = !fclose(out) && sy_buf_append(text, data, len);
    free(data);
    return good ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for settings");
}

enum sy_status sy_settings_read(enum sy_command command, const struct sy_buf *text, struct sy_settings *settings,
                                struct sy_options **options, struct sy_error *err)
{
    char *argv[] = {(char[]){"settings"}, NULL};
    struct sy_options *fresh = NULL;

    memset(settings, 0, sizeof *settings);
    enum sy_status st = sy_options_parse(sy_settings_table, command, 1, argv, NULL, NULL, settings, &fresh, err);
    if (!st && text->len)
        st = sy_options_read(fresh, "settings of rank 0", (const char *)text->data, text->len, settings, err);
    if (st) {
        sy_options_destroy(fresh);
        return st;
    }
    sy_options_destroy(*options);
    *options = fresh;
    return SY_OK;
}

enum sy_log_level sy_settings_log_level(const struct sy_settings *settings)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (int i = 0; i < 4; i++)
        if (!strcmp(settings->log_level, names[i]))
            return (enum sy_log_level)i;
    return SY_LOG_INFO;
}

int64_t sy_settings_timeout_ms(const struct sy_settings *settings)
{
    return (int64_t)(settings->timeout_s * 1000);
}

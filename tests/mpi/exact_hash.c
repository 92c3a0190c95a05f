/* SPDX-License-Identifier: Apache-2.0
 * exact_hash.c - hash the raw logits of one request under many ways of running it
 *
 * usage: mpirun -n R exact_hash [DIR [TRANSPORT]]   a checkpoint, tests/data/demo without; this transport, rings of 2, 3 and 16;
 *                                                   on CPUs ipc and nccl go between these processes as between GPUs;
 *                                                   direct and direct-ucx are mpi and ucx that take rows from there, where
 *                                                   they do; across is ipc where the devices need no host, as GPUs always do it
 *        mpirun -n R exact_hash --each DIR...        one setting for each of many checkpoints
 *
 * For each compute type, transport with its chunk rows and slots, prefill chunk and number of threads the same request runs
 * alone, in a batch with others, and in a KV cache so small that it is preempted. Each run prints a line
 *   f32 ranks=3 chunk=7 prefill=16 threads=2 shm slots=3 model=demo mode=batch preemptions=0 hash=0123456789abcdef
 * The hash covers the bits of the logits of every prompt and decode position. exact.t compares the lines. The last line is
 * the negative control, with the combine's order reversed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "across.h"
#include "base/file.h"
#include "courier.h"
#include "engine/kvcache.h"
#include "fixture.h"
#include "lender.h"
#include "tap_mpi.h"

#define N_PROMPT 37
#define N_NEW    12
#define N_OTHERS 6
#define TARGET   1000

#define ONE_SHAPE   3 /* the setting that stands for all when several checkpoints are given */
#define RING_SHAPES 1 /* from here on every second one is for a transport that is given */

enum mode { ALONE, BATCH, PREEMPTED, N_MODES };

static const char *const mode_names[] = {"alone", "batch", "preempted"};

static int n_others = 20; /* tokens of others' prompts, or a few more */

struct hash {
    uint64_t value;
    int next_position;
};

/* FNV-1a over the bytes of each position, in order. */
static enum sy_status on_logits(void *ctx, uint64_t id, int position, const float *logits, int vocab,
                                struct sy_error *err)
{
    struct hash *hash = ctx;
    const uint8_t *bytes = (const uint8_t *)logits;

    if (id != TARGET)
        return SY_OK;
    if (position != hash->next_position++)
        return sy_error_set(err, SY_ERR_INTERNAL, "logits of position %d came out of order", position);
    if (!position)
        hash->value = 0xcbf29ce484222325u;
    for (size_t i = 0; i < (size_t)vocab * sizeof *logits; i++)
        hash->value = (hash->value ^ bytes[i]) * 0x100000001b3u;
    return SY_OK;
}

static enum sy_status submit(struct sy_session *session, int vocab, uint64_t id, int n_prompt, int n_new,
                             struct sy_error *err)
{
    int32_t prompt[512];

    for (int i = 0; i < n_prompt; i++)
        prompt[i] = (int32_t)((id * 7919 + (uint64_t)i * 104729 + 13) % (uint64_t)vocab);
    return sy_session_submit(session,
                             &(struct sy_request){.id = id,
                                                  .prompt = prompt,
                                                  .n_prompt = n_prompt,
                                                  .max_tokens = n_new,
                                                  .top_p = 1,
                                                  .n_logprobs = -1,
                                                  .ignore_eos = true,
                                                  .keep_logits = id == TARGET},
                             err);
}

static enum sy_status run(struct sy_group *group, struct sy_session *session, int vocab, struct hash *hash,
                          enum mode mode, const char *label, struct sy_error *err)
{
    int rank = sy_group_rank(group), n_ranks = sy_group_size(group);
    struct sy_session_stats before, after;
    enum sy_status st = sy_session_stats(session, &before, err);

    *hash = (struct hash){0};
    /* Others come first and are many enough that the target shares its rank with some, and is the youngest there. */
    for (int i = 0; rank == 0 && mode != ALONE && i < N_OTHERS * n_ranks && !st; i++)
        st = submit(session, vocab, (uint64_t)i, n_others + 3 * (i % 7), 4 + i % 9 + (mode == PREEMPTED ? 24 : 0), err);
    if (rank == 0 && !st)
        st = submit(session, vocab, TARGET, N_PROMPT, N_NEW, err);
    if (!st)
        st = fixture_run(session, err);
    if (!st)
        st = sy_session_stats(session, &after, err);
    uint64_t all[64], value = 0;
    if (!st)
        st = sy_group_allgather(group, &hash->value, sizeof hash->value, all, err);
    for (int r = 0; r < n_ranks && !st; r++)
        value ^= all[r];
    if (rank == 0 && !st) {
        printf("%s mode=%s preemptions=%llu hash=%016llx\n", label, mode_names[mode],
               (unsigned long long)(after.n_preemptions - before.n_preemptions), (unsigned long long)value);
        fflush(stdout);
    }
    return st;
}

static size_t page_bytes(const struct sy_model *model, enum sy_compute compute)
{
    struct sy_kv_plan plan = sy_kv_plan(model, fixture_kernels(), compute == SY_COMPUTE_F32 ? SY_F32 : SY_BF16);

    return sy_kv_page_bytes(fixture_kernels(), &plan);
}

struct setting {
    enum sy_compute compute;
    int chunk_rows, n_threads;
    const char *transport;
    int n_slots;
    bool in_turn, reverse_k, small_cache;
};

/* The transport that is meant, by its own name. */
static enum sy_transport_choice choice_of(const char *transport)
{
    if (!strcmp(transport, "direct"))
        return SY_TRANSPORT_MPI;
    if (!strcmp(transport, "direct-ucx"))
        return SY_TRANSPORT_UCX;
    return strcmp(transport, "across") ? sy_transport_choice_of(transport) : SY_TRANSPORT_IPC;
}

/* With what GPUs have, for transports between them. */
static const struct sy_kernels *kernels_for(const char *transport)
{
    static const char *const between[] = {"ipc", "nccl", "direct", "direct-ucx", "across"};
    static struct sy_kernels kernels;
    bool across = !strcmp(transport, "across"), any = false;

    for (size_t i = 0; i < sizeof between / sizeof *between; i++)
        any = any || !strcmp(transport, between[i]);
    if (fixture_kernels()->on_device || !any)
        return fixture_kernels();
    kernels = *fixture_kernels();
    if (across)
        across_add(&kernels, fixture_kernels());
    kernels.lender = &file_lender;
    kernels.courier = &test_courier;
    kernels.porter = &test_porter;
    return &kernels;
}

static enum sy_status run_setting(struct sy_group *group, struct fixture *fixture, const struct setting *setting,
                                  const int *prefill_chunks, int n_prefill, struct sy_error *err)
{
    struct sy_session_config config;
    struct sy_session *session;
    struct hash hash;
    int vocab = fixture->model->vocab;
    char label[320];

    sy_session_config_init(&config);
    config.compute = setting->compute;
    config.kernels = kernels_for(setting->transport);
    config.n_threads = setting->n_threads;
    config.chunk_rows = setting->chunk_rows;
    config.transport = choice_of(setting->transport);
    config.n_slots = setting->n_slots;
    config.in_turn = setting->in_turn;
    config.reverse_k = setting->reverse_k;
    config.on_logits = on_logits;
    config.ctx = &hash;
    config.prefill_chunk = config.max_tokens = 512;
    /* 11 pages are less than the requests of one rank want together. */
    config.kv_bytes_max = (setting->small_cache ? 11 : 512) * page_bytes(fixture->model, setting->compute);
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, err);
    if (st)
        return st;
    for (int p = 0; p < n_prefill && !st; p++) {
        sy_session_set_prefill_chunk(session, prefill_chunks[p]);
        snprintf(label, sizeof label, "%s%s ranks=%d chunk=%d prefill=%d threads=%d %s slots=%d%s model=%s",
                 setting->compute == SY_COMPUTE_F32 ? "f32" : "bf16", setting->reverse_k ? "-reversed" : "",
                 sy_group_size(group), setting->chunk_rows, prefill_chunks[p], setting->n_threads, setting->transport,
                 setting->n_slots, setting->in_turn ? " in-turn" : "", strrchr(fixture->dir, '/') + 1);
        if (setting->small_cache) {
            st = run(group, session, vocab, &hash, PREEMPTED, label, err);
        } else {
            st = run(group, session, vocab, &hash, ALONE, label, err);
            if (!st)
                st = run(group, session, vocab, &hash, BATCH, label, err);
        }
    }
    if (!st)
        st = fixture_end(session, err);
    sy_session_destroy(session);
    return st;
}

static const struct setting shapes[] = {
    {.chunk_rows = 1, .n_threads = 1, .n_slots = 4, .transport = "mpi"},
    {.chunk_rows = 1, .n_threads = 2, .n_slots = 2, .transport = "shm"},
    {.chunk_rows = 7, .n_threads = 1, .n_slots = 2, .transport = "mpi"},
    {.chunk_rows = 7, .n_threads = 2, .n_slots = 3, .transport = "shm"},
    {.chunk_rows = 64, .n_threads = 1, .n_slots = 4, .transport = "shm"},
    {.chunk_rows = 0 /* as suits the transport */, .n_threads = 2, .n_slots = 16, .transport = "mpi"},
    {.chunk_rows = 7, .n_threads = 1, .n_slots = 4, .transport = "shm", .small_cache = true},
    {.chunk_rows = 7, .n_threads = 2, .n_slots = 2, .transport = "mpi", .in_turn = true},
    {.chunk_rows = 64, .n_threads = 1, .n_slots = 4, .transport = "shm", .in_turn = true},
    {.chunk_rows = 64, .n_threads = 1, .n_slots = 4, .transport = "shm", .reverse_k = true},
};

/* One checkpoint in all settings, in one, or, for a transport that is given, in one for each size of rings. */
static enum sy_status run_dir(struct sy_group *group, const char *dir, bool one, const char *transport,
                              struct sy_error *err)
{
    static const int prefill[] = {16, 512};
    /* Exchanges of all ranks for single rows take too long where ranks share cores. */
    bool rounds = transport && !strcmp(transport, "nccl");
    const int begin = one || rounds ? ONE_SHAPE : transport ? RING_SHAPES : 0, step = transport ? 2 : 1;
    const int end = one ? begin + 1 : transport ? RING_SHAPES + 4 * step : (int)(sizeof shapes / sizeof *shapes);
    struct fixture fixture;

    if (!fixture_open(&fixture, dir))
        return sy_error_set(err, SY_ERR_DATA, "%s does not open", dir);
    enum sy_status st = SY_OK;
    /* So many that experts have many rows, which GPUs go about in another way. */
    if (transport && !strcmp(transport, "across"))
        n_others = 50;
    for (int compute = 0; compute < 2; compute++) {
        for (int i = begin; i < end && !st; i += step) {
            struct setting setting = shapes[i];
            int first = setting.reverse_k ? 1 : 0;
            setting.compute = (enum sy_compute)compute;
            if (transport)
                setting.transport = transport;
            st = run_setting(group, &fixture, &setting, prefill + first, 2 - first, err);
        }
    }
    fixture_close(&fixture);
    if (!st && across_cpu && !across_all())
        return sy_error_set(err, SY_ERR_INTERNAL, "not every part of a layer across ranks was asked for");
    return st;
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = SY_OK;

    if (argc > 1 && !strcmp(argv[1], "--each"))
        for (int i = 2; i < argc && !st; i++)
            st = run_dir(group, argv[i], true, NULL, &err);
    else
        st = run_dir(group, argc > 1 ? argv[1] : "tests/data/demo", false, argc > 2 ? argv[2] : NULL, &err);
    if (st) {
        fprintf(stderr, "exact_hash: %s\n", err.text);
        sy_group_abort(group, 1);
    }
    sy_group_fini(group);
    return 0;
}

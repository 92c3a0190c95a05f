/* SPDX-License-Identifier: Apache-2.0
 * across.c - a layer of experts that are spread over ranks: the bits of its parts, on a backend where a queue is a rank
 */
#include "layer.h"

#define RANKS_MAX 3  /* as many as there are queues */
#define BESIDE    64 /* bytes on either side of rows, which nobody writes */

/* What all ranks run together. */
struct job {
    const struct sy_kernels *backend;
    struct layer *layer; /* of all ranks' tokens */
    int n_ranks, most, rows_each, n_pieces;
    int first[RANKS_MAX + 1];        /* token of each rank */
    bool many, apart, ahead, copied; /* copied: by every other rank */
    int32_t *homes;                  /* [E][2] */
    int n_slots[RANKS_MAX];
    void *tables[RANKS_MAX], *workspaces[RANKS_MAX];
    size_t table_bytes[RANKS_MAX], workspace_bytes[RANKS_MAX];
    struct sy_moe_window *windows; /* [n_ranks] */
    uint64_t *counts[RANKS_MAX];   /* [4] */
};

static struct sy_moe_across call_of(const struct job *job, int rank, const struct result *r)
{
    const struct layer *l = job->layer;
    struct sy_moe_shape shape = l->shape;
    size_t first = (size_t)job->first[rank], D = (size_t)shape.D, K = (size_t)shape.K;

    shape.T = job->first[rank + 1] - job->first[rank];
    struct sy_moe_across call = {.run.shape = shape,
                                 .rank = rank,
                                 .n_ranks = job->n_ranks,
                                 .most = job->most,
                                 .rows_each = job->rows_each,
                                 .n_slots = job->n_slots[rank],
                                 .n_pieces = job->n_pieces,
                                 .pieces_most = job->n_pieces + 1,
                                 .many = job->many,
                                 .apart = job->apart,
                                 .ahead = job->ahead,
                                 .copied = (rank + job->copied) % 2 != 0,
                                 .windows = job->windows,
                                 .peers = job->windows,
                                 .own = job->windows[rank],
                                 .homes = job->homes};
    if (!r)
        return call;
    call.run.h = l->h + first * D;
    call.run.ids = r->ids + first * K;
    call.run.weights = r->weights + first * K;
    call.run.table = job->tables[rank];
    call.run.glu = l->glu;
    call.run.shared = l->shared ? l->shared + first * D : NULL;
    call.run.x = r->x + first * D;
    call.run.n_active = job->counts[rank];
    call.run.workspace = job->workspaces[rank];
    return call;
}

/* Rows of a window are the device's: its copy engines move them. */
static size_t rows_bytes(const struct job *job)
{
    return (size_t)job->n_ranks * (size_t)job->rows_each * (size_t)job->layer->shape.D * sizeof(uint16_t);
}

static void *new_rows(const struct job *job, int rank)
{
    size_t bytes = rows_bytes(job) + 2 * BESIDE;
    uint8_t *rows = job->backend->alloc(bytes), *poison = new_bytes(bytes);

    if (!rows)
        bail("no memory for rows");
    memset(poison, 0xff, bytes);
    job->backend->copy(queues[rank], rows, poison, bytes);
    queues_sync(job->backend);
    free_bytes(poison);
    return rows + BESIDE;
}

static bool rows_hold(const struct job *job, const void *rows)
{
    size_t bytes = rows_bytes(job) + 2 * BESIDE;
    uint8_t *copy = new_bytes(bytes);
    bool hold = true;

    job->backend->copy(queues[0], copy, (const uint8_t *)rows - BESIDE, bytes);
    queues_sync(job->backend);
    for (size_t i = 0; i < BESIDE; i++)
        hold = hold && copy[i] == 0xff && copy[bytes - 1 - i] == 0xff;
    free_bytes(copy);
    return hold;
}

/* Every rank has an expert, and else any. */
static void spread_experts(struct job *job)
{
    int E = job->layer->shape.E;
    struct sy_expert *here = new_bytes((size_t)E * sizeof *here);

    job->homes = new_bytes((size_t)E * 2 * sizeof *job->homes);
    for (int e = 0; e < E; e++) {
        int rank = e < job->n_ranks ? e : random_int(0, job->n_ranks - 1);
        job->homes[2 * e] = rank;
        job->homes[2 * e + 1] = job->n_slots[rank]++;
    }
    for (int r = 0; r < job->n_ranks; r++) {
        for (int e = 0; e < E; e++)
            if (job->homes[2 * e] == r)
                here[job->homes[2 * e + 1]] = job->layer->experts[e];
        job->table_bytes[r] = job->backend->moe_table_bytes(job->n_slots[r]);
        job->tables[r] = job->backend->alloc(job->table_bytes[r]);
        job->backend->moe_table(queues[r], here, job->n_slots[r], job->tables[r]);
    }
    free_bytes(here);
}

static void job_begin(struct job *job, const struct sy_kernels *backend, struct layer *layer, int n_ranks, bool many)
{
    size_t D = (size_t)layer->shape.D, K = (size_t)layer->shape.K, R = (size_t)n_ranks;
    *job = (struct job){.backend = backend, .layer = layer, .n_ranks = n_ranks, .many = many};
    job->apart = random_int(0, 1);
    job->ahead = random_int(0, 2);
    job->copied = random_int(0, 1);
    /* Any cut, with ranks that have none. */
    for (int r = 1; r <= n_ranks; r++)
        job->first[r] = r == n_ranks ? layer->shape.T : random_int(job->first[r - 1], layer->shape.T);
    for (int r = 0; r < n_ranks; r++) {
        int n = job->first[r + 1] - job->first[r];
        job->rows_each = n > job->rows_each ? n : job->rows_each;
    }
    job->rows_each += random_int(1, 4);
    job->n_pieces = many ? random_int(1, 3) : 1;
    job->most = (job->rows_each - 1) / job->n_pieces + 1;
    spread_experts(job);
    job->windows = new_bytes(R * sizeof *job->windows);
    for (int r = 0; r < n_ranks; r++) {
        size_t n_rows = (size_t)job->rows_each, n_words = R * (size_t)(job->n_pieces + 1);
        job->windows[r] = (struct sy_moe_window){.rows = new_rows(job, r),
                                                 .slots = new_output(R * n_rows * K * sizeof(int32_t)),
                                                 .n_tokens = new_output(n_words * sizeof(int32_t)),
                                                 .arrived = new_bytes(SY_N_NEWS * n_words * sizeof(uint32_t)),
                                                 .results = new_output(n_rows * K * D * 2)};
        job->counts[r] = new_bytes(4 * sizeof(uint64_t));
        struct sy_moe_across sized = call_of(job, r, NULL);
        job->workspace_bytes[r] = backend->across_bytes(&sized);
        job->workspaces[r] = backend->alloc(job->workspace_bytes[r]);
        backend->clear(queues[r], job->workspaces[r], job->workspace_bytes[r]);
    }
    queues_sync(backend);
}

static void job_end(struct job *job)
{
    for (int r = 0; r < job->n_ranks; r++) {
        job->backend->free((uint8_t *)job->windows[r].rows - BESIDE, rows_bytes(job) + 2 * BESIDE);
        free_output(job->windows[r].slots);
        free_output(job->windows[r].n_tokens);
        free_bytes(job->windows[r].arrived);
        free_output(job->windows[r].results);
        free_bytes(job->counts[r]);
        job->backend->free(job->tables[r], job->table_bytes[r]);
        job->backend->free(job->workspaces[r], job->workspace_bytes[r]);
    }
    free_bytes(job->windows);
    free_bytes(job->homes);
}

/* This rank's rows as they are sent. */
static uint16_t *round_rows(const struct job *job, int rank)
{
    const struct layer *l = job->layer;
    size_t D = (size_t)l->shape.D, n = (size_t)(job->first[rank + 1] - job->first[rank]) * D;
    uint16_t *rows = new_bytes(n * sizeof *rows + 16);

    if (n)
        job->backend->convert(queues[rank], rows, SY_BF16, l->h + (size_t)job->first[rank] * D, SY_F32, n);
    return rows;
}

static void ask(const struct job *job, const struct sy_moe_across *layer, int i, enum sy_across_part part)
{
    struct sy_moe_across call = *layer;
    int left = layer->run.shape.T - i * job->most;

    call.piece = i;
    call.first = i * job->most;
    call.run.shape.T = left < 0 ? 0 : left < job->most ? left : job->most;
    if (left > 0) {
        call.run.ids += call.first * layer->run.shape.K;
        call.run.h += (size_t)call.first * (size_t)layer->run.shape.D;
        call.rows = layer->rows ? (const uint16_t *)layer->rows + (size_t)call.first * (size_t)layer->run.shape.D
                                : NULL;
    }
    job->backend->across(queues[layer->rank], &call, part);
}

static void run_layer(const struct job *job, int rank, const struct result *result, const uint16_t *rows)
{
    struct sy_moe_across layer = call_of(job, rank, result);

    layer.rows = rows;
    for (int i = 0; i < job->n_pieces && job->ahead; i++)
        ask(job, &layer, i, SY_ACROSS_AHEAD);
    if (layer.run.shape.T)
        job->backend->router(queues[rank], &job->layer->rule, &job->layer->router.panels, layer.run.h,
                             layer.run.shape.T, result->logits + (size_t)job->first[rank] * (size_t)layer.run.shape.E,
                             layer.run.ids, layer.run.weights);
    for (int i = 0; i < job->n_pieces; i++)
        ask(job, &layer, i, SY_ACROSS_SEND);
    for (int i = 0; i < job->n_pieces; i++) {
        ask(job, &layer, i, SY_ACROSS_RECEIVE);
        ask(job, &layer, i, SY_ACROSS_SORT);
        ask(job, &layer, i, SY_ACROSS_EXPERTS);
        if (job->apart)
            ask(job, &layer, i, SY_ACROSS_RETURN);
    }
    job->backend->across(queues[rank], &layer, SY_ACROSS_FINISH);
}

/* One layer after the other, and the host waits for none. */
static void run(const struct job *job, struct result *results, int n)
{
    uint16_t *rows[RANKS_MAX] = {NULL};

    for (int r = 0; r < job->n_ranks; r++)
        if (random_int(0, 1))
            rows[r] = round_rows(job, r);
    for (int i = 0; i < n; i++)
        for (int r = 0; r < job->n_ranks; r++)
            run_layer(job, r, &results[i], rows[r]);
    queues_sync(job->backend);
    for (int r = 0; r < job->n_ranks; r++)
        free_bytes(rows[r]);
}

/* Pairs computed, and rows and results that went to other ranks, as the ids say. */
static bool counts_hold(const struct job *job, const struct result *r, int n)
{
    const struct sy_moe_shape *shape = &job->layer->shape;
    uint64_t pairs[RANKS_MAX] = {0}, rows[RANKS_MAX] = {0}, elsewhere[RANKS_MAX] = {0}, active[RANKS_MAX] = {0};
    bool *had = new_bytes((size_t)shape->E * sizeof *had);
    bool right = true;

    for (int rank = 0; rank < job->n_ranks; rank++) {
        for (int t = job->first[rank]; t < job->first[rank + 1]; t++) {
            unsigned seen = 1u << rank;
            for (int k = 0; k < shape->K; k++) {
                int e = r->ids[t * shape->K + k], home = job->homes[2 * e];
                active[home] += !had[e];
                had[e] = true;
                pairs[home]++;
                elsewhere[rank] += home != rank;
                rows[rank] += !job->ahead && !(seen >> home & 1);
                seen |= 1u << home;
            }
            rows[rank] += job->ahead ? (uint64_t)(job->n_ranks - 1) : 0;
        }
    }
    free_bytes(had);
    for (int rank = 0; rank < job->n_ranks; rank++) {
        const uint64_t *counts = job->counts[rank];
        right = right && counts[0] == (uint64_t)n * active[rank] && counts[1] == (uint64_t)n * pairs[rank] &&
                counts[2] == (uint64_t)n * rows[rank] && counts[3] == (uint64_t)n * elsewhere[rank];
    }
    return right;
}

static bool same(const struct layer *l, const struct result *a, const struct result *b)
{
    size_t x_bytes = (size_t)(l->shape.T * l->shape.D) * sizeof(float), pairs = (size_t)(l->shape.T * l->shape.K);

    return !memcmp(a->x, b->x, x_bytes) && !memcmp(a->ids, b->ids, pairs * sizeof *a->ids) &&
           !memcmp(a->weights, b->weights, pairs * sizeof *a->weights) && fences_hold(b->x, x_bytes);
}

static bool windows_hold(const struct job *job)
{
    size_t R = (size_t)job->n_ranks, D = (size_t)job->layer->shape.D, K = (size_t)job->layer->shape.K;
    size_t n_rows = (size_t)job->rows_each, n_words = R * (size_t)(job->n_pieces + 1);
    bool hold = true;

    for (int r = 0; r < job->n_ranks; r++) {
        const struct sy_moe_window *w = &job->windows[r];
        hold = hold && rows_hold(job, w->rows) && fences_hold(w->slots, R * n_rows * K * sizeof(int32_t)) &&
               fences_hold(w->n_tokens, n_words * sizeof(int32_t)) && fences_hold(w->results, n_rows * K * D * 2);
        for (size_t i = 0; i < SY_N_NEWS * n_words; i++)
            hold = hold && !w->arrived[i];
    }
    return hold;
}

static void test_layers(const struct sy_kernels *backend, struct sy_moe_shape shape, int n_ranks, bool many)
{
    struct result results[3];
    struct layer l;
    struct job job;
    bool right = true;

    layer_begin(&l, backend, shape);
    struct result parts = by_parts(&l, backend);
    job_begin(&job, backend, &l, n_ranks, many);
    for (int i = 0; i < 3; i++)
        results[i] = new_result(&l);
    run(&job, results, 3);
    for (int i = 0; i < 3; i++)
        right = right && same(&l, &parts, &results[i]);
    ok(right,
       "%s: %d tokens of %d ranks, %d to %d, %d of %d experts of %s, %s in %d pieces%s%s: as by parts, three times",
       backend->name, shape.T, n_ranks, shape.D, shape.F, shape.K, shape.E, sy_dtype_name(shape.w_dtype),
       many ? "many" : "few", job.n_pieces, job.apart ? ", results apart" : "", job.ahead ? ", rows ahead" : "");
    ok(counts_hold(&job, &parts, 3), "and work is counted");
    ok(windows_hold(&job), "nothing is written beside windows, and no word is left");
    for (int i = 0; i < 3; i++)
        free_result(&results[i]);
    free_result(&parts);
    job_end(&job);
    layer_end(&l, backend);
}

static const struct {
    struct sy_moe_shape shape;
    int n_ranks;
} cases[] = {
    {{1, 128, 64, 8, 2, SY_BF16}, 2},      {{7, 264, 104, 8, 2, SY_BF16}, 3},   {{63, 136, 67, 16, 4, SY_BF16}, 3},
    {{65, 72, 33, 4, 3, SY_BF16}, 2},      {{1000, 64, 48, 3, 1, SY_BF16}, 3},  {{257, 96, 64, 70, 8, SY_BF16}, 3},
    {{33, 96, 80, 6, 2, SY_MXFP4}, 2},     {{130, 72, 64, 5, 2, SY_I8}, 3},     {{16, 128, 96, 9, 3, SY_F8_E4M3}, 3},
    {{5, 40, 33, 4, 2, SY_F16}, 2},        {{2000, 128, 64, 8, 4, SY_BF16}, 2}, {{1000, 40, 1024, 96, 4, SY_BF16}, 2},
    {{700, 1032, 136, 40, 8, SY_BF16}, 3},
};

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX], *with[BACKENDS_MAX];
    int n, n_with = 0, n_cases = sizeof cases / sizeof *cases;

    queues_meet = true;
    n = all_backends(backends);
    for (int b = 0; b < n; b++) {
        if (backends[b]->across)
            with[n_with++] = backends[b];
    }
    plan_backends(n_with * n_cases * 2 * 3);
    random_begin();
    for (int b = 0; b < n_with; b++) {
        queues_begin(with[b]);
        for (int i = 0; i < n_cases * 2; i++)
            test_layers(with[b], cases[i / 2].shape, cases[i / 2].n_ranks, i % 2 != 0);
        queues_end(with[b]);
    }
    return tap_exit();
}

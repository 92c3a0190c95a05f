/* SPDX-License-Identifier: Apache-2.0
 * load.c - read a rank's share of the weights in the order of the files, and pack it
 *
 * The share is cut into items of a few hundred kilobytes, in the order in which they lie in the checkpoint. A compute
 * thread that takes an item first asks the system for the item a window further on, then reads its own, which somebody
 * asked for earlier, and packs it while it is still in the core's cache. So the disk works ahead of the packing without a
 * thread for it, with one compute thread too, and a rank needs one item's memory for each thread beside its weights.
 */
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "model/shard.h"
#include "model/shard_job.h"

#define ITEM_BYTES  ((size_t)256 << 10) /* of the checkpoint; half of a small second-level cache */
#define AHEAD_ITEMS 128                 /* asked for and not yet read: 32 MiB keep any disk busy */
#define ALIGN       64

/* What lies together in the checkpoint: panels of one stream of a matrix, or a stack of vectors (then one panel). */
struct run {
    const struct sy_shard_job *job;
    int stream;
    int panel_begin, panel_end;
    int step;       /* panels of an item */
    int first_item; /* number of its first item among all */
    int shard;      /* where it begins */
    uint64_t offset;
};

/* Rows of a run that lie together in one tensor. */
struct span {
    const struct sy_tensor *tensor;
    uint64_t begin; /* in the tensor's data */
    size_t bytes;
    int row, n_rows; /* of the run */
};

struct loader {
    struct sy_shard *shard;
    struct sy_checkpoint *ckpt;
    struct sy_progress *progress;
    struct run *runs; /* in order of file and offset */
    int n_runs, n_items;
    size_t raw_bytes, wide_bytes; /* of the largest item: as published, and as FP32 where it is widened */
    uint8_t *scratch;             /* [n_threads][raw_bytes + wide_bytes] */
    atomic_ullong done;           /* bytes */
    atomic_int failed;            /* the lowest item that failed */
    pthread_mutex_t lock;         /* of error */
    struct sy_error error;        /* that item's */
};

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static const struct sy_source *segments_of(const struct run *run)
{
    return run->job->segments + run->stream * run->job->n_segments;
}

/* The run that an item belongs to. */
static const struct run *run_of(const struct loader *loader, int item)
{
    int low = 0, high = loader->n_runs;

    while (high - low > 1) {
        int mid = low + (high - low) / 2;
        if (loader->runs[mid].first_item <= item)
            low = mid;
        else
            high = mid;
    }
    return &loader->runs[low];
}

/* Panels [*begin, *end) of an item; the number of its first row and the one behind its last. */
static void item_rows(const struct run *run, int item, int *begin, int *end, int *row_begin, int *row_end)
{
    bool vectors = run->job->kind == SY_JOB_VECTORS;

    *begin = run->panel_begin + (item - run->first_item) * run->step;
    *end = min_int(*begin + run->step, run->panel_end);
    *row_begin = vectors ? 0 : *begin * SY_PANEL;
    *row_end = vectors ? run->job->n : (int)(*end * (int64_t)SY_PANEL < run->job->n ? *end * SY_PANEL : run->job->n);
}

/* What rows [begin, end) of a run have in its segment s. False when that is nothing. */
static bool span_of(const struct run *run, int s, int begin, int end, struct span *span)
{
    const struct sy_source *source = segments_of(run);
    int base = 0; /* the run's row that is the segment's first */

    for (; s > 0; s--)
        base += (source++)->n;
    int from = begin > base ? begin - base : 0, to = min_int(end - base, source->n);
    if (!source->tensor || from >= to)
        return false;
    size_t row_bytes = (size_t)source->k * sy_dtype_bytes(source->tensor->dtype);
    uint64_t row = (uint64_t)source->row_begin + (uint64_t)from;
    if (source->slice)
        row += (uint64_t)source->slice * (uint64_t)source->tensor->dims[source->tensor->n_dims - 2];
    *span = (struct span){source->tensor, row * row_bytes, (size_t)(to - from) * row_bytes, base + from, to - from};
    return true;
}

static void ask_for(const struct loader *loader, int item)
{
    int begin, end, row_begin, row_end;
    struct span span;

    if (item >= loader->n_items)
        return;
    const struct run *run = run_of(loader, item);
    item_rows(run, item, &begin, &end, &row_begin, &row_end);
    for (int s = 0; s < run->job->n_segments; s++)
        if (span_of(run, s, row_begin, row_end, &span))
            sy_checkpoint_prefetch(loader->ckpt, span.tensor, span.begin, span.bytes);
}

static enum sy_status load_vectors(struct loader *loader, const struct run *run, uint8_t *raw, struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    float *dst = (float *)job->dst;
    struct span span;

    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(run, s, 0, job->n, &span))
            continue;
        enum sy_status st = sy_checkpoint_fetch(loader->ckpt, span.tensor, span.begin, span.bytes, raw, err);
        if (st)
            return st;
        loader->shard->kernels->convert(NULL, dst + span.row, SY_F32, raw, span.tensor->dtype, (size_t)span.n_rows);
        atomic_fetch_add_explicit(&loader->done, span.bytes, memory_order_relaxed);
    }
    return SY_OK;
}

static enum sy_status load_panels(struct loader *loader, const struct run *run, int item, uint8_t *raw,
                                  struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_kernels *kernels = loader->shard->kernels;
    enum sy_dtype from = segments_of(run)->tensor->dtype;
    size_t k = (size_t)job->k, raw_row = k * sy_dtype_bytes(from), row = k * sy_dtype_bytes(job->dtype);
    size_t panel_bytes = kernels->panel_bytes(job->dtype, job->k);
    int begin, end, row_begin, row_end;
    uint8_t *rows = raw;
    struct span span;

    item_rows(run, item, &begin, &end, &row_begin, &row_end);
    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(run, s, row_begin, row_end, &span))
            continue;
        enum sy_status st = sy_checkpoint_fetch(loader->ckpt, span.tensor, span.begin, span.bytes,
                                                raw + (size_t)(span.row - row_begin) * raw_row, err);
        if (st)
            return st;
        atomic_fetch_add_explicit(&loader->done, span.bytes, memory_order_relaxed);
    }
    if (from != job->dtype) {
        rows = raw + loader->raw_bytes;
        for (int r = 0; r < row_end - row_begin; r++)
            kernels->convert(NULL, rows + (size_t)r * row, job->dtype, raw + (size_t)r * raw_row, from, k);
    }
    for (int panel = begin; panel < end; panel++)
        kernels->pack_panel(job->dtype, job->k, min_int(SY_PANEL, job->n - panel * SY_PANEL),
                            rows + (size_t)(panel - begin) * SY_PANEL * row, row,
                            job->dst + ((size_t)panel * (size_t)job->n_streams + (size_t)run->stream) * panel_bytes);
    return SY_OK;
}

static void fail(struct loader *loader, int item, const struct sy_error *err)
{
    pthread_mutex_lock(&loader->lock);
    if (item < atomic_load(&loader->failed)) {
        loader->error = *err;
        atomic_store(&loader->failed, item);
    }
    pthread_mutex_unlock(&loader->lock);
}

static void load_item(void *arg, int item, int thread)
{
    struct loader *loader = arg;
    uint8_t *raw = loader->scratch + (size_t)thread * (loader->raw_bytes + loader->wide_bytes);
    struct sy_error err = SY_ERROR_INIT;

    /* Items are handed out in order, so those before a failed one are under way, and the first of all errors is found. */
    if (item > atomic_load(&loader->failed))
        return;
    ask_for(loader, item + AHEAD_ITEMS);
    const struct run *run = run_of(loader, item);
    enum sy_status st = run->job->kind == SY_JOB_VECTORS ? load_vectors(loader, run, raw, &err)
                                                         : load_panels(loader, run, item, raw, &err);
    if (st)
        fail(loader, item, &err);
    if (thread == 0 && loader->progress)
        sy_progress_update(loader->progress, atomic_load_explicit(&loader->done, memory_order_relaxed));
}

/* Note panels [begin, end) of a stream, if there are any. */
static void add_run(struct loader *loader, const struct sy_shard_job *job, int stream, int begin, int end)
{
    struct run run = {.job = job, .stream = stream, .panel_begin = begin, .panel_end = end, .step = 1};
    bool vectors = job->kind == SY_JOB_VECTORS, found = false;
    size_t raw = 0, wide = 0;
    struct span span;

    if (begin >= end)
        return;
    if (!vectors) {
        size_t from = sy_dtype_bytes(segments_of(&run)->tensor->dtype), panel = (size_t)job->k * from * SY_PANEL;
        run.step = panel < ITEM_BYTES ? min_int((int)(ITEM_BYTES / panel), end - begin) : 1;
        raw = panel * (size_t)run.step;
        if (segments_of(&run)->tensor->dtype != job->dtype)
            wide = raw / from * sy_dtype_bytes(job->dtype);
    }
    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(&run, s, vectors ? 0 : begin * SY_PANEL, job->n, &span))
            continue;
        if (!found) {
            run.shard = span.tensor->shard;
            run.offset = span.tensor->offset + span.begin;
            found = true;
        }
        if (vectors && raw < span.bytes)
            raw = span.bytes;
    }
    if (loader->raw_bytes < round_up(raw))
        loader->raw_bytes = round_up(raw);
    if (loader->wide_bytes < round_up(wide))
        loader->wide_bytes = round_up(wide);
    loader->runs[loader->n_runs++] = run;
}

static int by_place(const void *left, const void *right)
{
    const struct run *a = left, *b = right;

    if (a->shard != b->shard)
        return a->shard < b->shard ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* List the runs of this rank's part in the order of the files, and number their items. */
static enum sy_status lay_out(struct loader *loader, int part, int n_parts, int n_threads, struct sy_error *err)
{
    const struct sy_shard *shard = loader->shard;
    int n_vectors = 0;

    loader->runs = calloc((size_t)shard->n_jobs * 2 + 1, sizeof *loader->runs);
    if (!loader->runs)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the list of what to load");
    for (int i = 0; i < shard->n_jobs; i++) {
        const struct sy_shard_job *job = &shard->jobs[i];
        int64_t n_panels = ((int64_t)job->n + SY_PANEL - 1) / SY_PANEL;
        if (job->kind == SY_JOB_VECTORS)
            add_run(loader, job, 0, 0, n_vectors++ % n_parts == part);
        for (int stream = 0; stream < job->n_streams; stream++)
            add_run(loader, job, stream, job->expert ? 0 : (int)(n_panels * part / n_parts),
                    job->expert ? (int)n_panels : (int)(n_panels * (part + 1) / n_parts));
    }
    qsort(loader->runs, (size_t)loader->n_runs, sizeof *loader->runs, by_place);
    for (int i = 0; i < loader->n_runs; i++) {
        struct run *run = &loader->runs[i];
        run->first_item = loader->n_items;
        loader->n_items += (run->panel_end - run->panel_begin + run->step - 1) / run->step;
    }
    size_t bytes = loader->raw_bytes + loader->wide_bytes;
    loader->scratch = aligned_alloc(ALIGN, (size_t)n_threads * bytes + ALIGN);
    return loader->scratch
               ? SY_OK
               : sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d buffers of %zu bytes", n_threads, bytes);
}

enum sy_status sy_shard_load(struct sy_shard *shard, struct sy_checkpoint *ckpt, int part, int n_parts,
                             struct sy_pool *pool, struct sy_progress *progress, struct sy_error *err)
{
    struct loader loader = {.shard = shard, .ckpt = ckpt, .progress = progress, .error = SY_ERROR_INIT};
    enum sy_status st = lay_out(&loader, part, n_parts, sy_pool_n_threads(pool), err);

    atomic_init(&loader.done, 0);
    atomic_init(&loader.failed, INT_MAX);
    pthread_mutex_init(&loader.lock, NULL);
    if (!st) {
        for (int item = 0; item < AHEAD_ITEMS; item++)
            ask_for(&loader, item);
        sy_pool_run(pool, loader.n_items, load_item, &loader);
        if (atomic_load(&loader.failed) != INT_MAX) {
            st = loader.error.status;
            if (err)
                *err = loader.error;
        }
    }
    pthread_mutex_destroy(&loader.lock);
    free(loader.scratch);
    free(loader.runs);
    return st;
}

/* SPDX-License-Identifier: Apache-2.0
 * load.c - read a rank's share of the weights in the order of the files, and pack it
 *
 * The share is cut into items of a few hundred kilobytes, in the order in which they lie in the checkpoint. A compute
 * thread that takes an item first asks the system for the item a window further on, then reads its own, which somebody
 * asked for earlier, and packs it while it is still in the core's cache. So the disk works ahead of the packing without a
 * thread for it, with one compute thread too, and a rank needs one item's memory for each thread beside its weights.
 */
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "half.h"
#include "model/shard.h"
#include "model/shard_job.h"

#define ITEM_BYTES  ((size_t)256 << 10) /* of the checkpoint; half of a small second-level cache */
#define AHEAD_ITEMS 128                 /* asked for and not yet read: 32 MiB keep any disk busy */
#define ALIGN       64

/* What lies together in the checkpoint: panels of one stream of a matrix, or of both where they are interleaved, or a stack
 * of vectors. A matrix that is stored transposed is cut along its inputs, so that an item is one stretch of the file. */
struct run {
    const struct sy_shard_job *job;
    int stream, n_streams;
    bool by_input;
    int begin, end; /* panels, or inputs; vectors are one whole */
    int step;       /* of an item */
    int first_item; /* number of its first item among all */
    int shard;      /* where it begins */
    uint64_t offset;
};

/* What an item covers of its run. */
struct part {
    int row, row_end, k, k_end;
};

/* Where a part's rows of one segment lie. */
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

static const struct sy_source *segments_of(const struct run *run, int stream)
{
    return run->job->segments + stream * run->job->n_segments;
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

static struct part part_of(const struct run *run, int item)
{
    const struct sy_shard_job *job = run->job;
    int begin = run->begin + (item - run->first_item) * run->step, end = min_int(begin + run->step, run->end);

    if (job->kind == SY_JOB_VECTORS)
        return (struct part){0, job->n, 0, 1};
    if (run->by_input)
        return (struct part){0, job->n, begin, end};
    return (struct part){begin * SY_PANEL, end * (int64_t)SY_PANEL < job->n ? end * SY_PANEL : job->n, 0, job->k};
}

static struct sy_stretch stretch_of(const struct run *run, const struct sy_source *source, const struct part *part,
                                    int row, int row_end)
{
    return run->job->kind == SY_JOB_SCALES ? sy_scales_stretch(source, row, row_end)
                                           : sy_source_stretch(source, row, row_end, part->k, part->k_end);
}

/* A run's row as one of its segment s. */
static int segment_row(const struct run *run, int s, int row)
{
    while (s-- > 0)
        row -= segments_of(run, run->stream)[s].n;
    return row;
}

/* What a part has in segment s of its run. False when that is nothing. */
static bool span_of(const struct run *run, const struct part *part, int s, struct span *span)
{
    const struct sy_source *source = segments_of(run, run->stream) + s;
    int base = -segment_row(run, s, 0); /* the run's row that is the segment's first */

    int from = part->row > base ? part->row - base : 0, to = min_int(part->row_end - base, source->n);
    if (!source->tensor || from >= to)
        return false;
    struct sy_stretch all = stretch_of(run, source, part, from, to);
    for (int stream = 1; stream < run->n_streams; stream++) {
        source = segments_of(run, run->stream + stream) + s;
        all.end = stretch_of(run, source, part, from, to).end;
    }
    *span = (struct span){run->job->kind == SY_JOB_SCALES ? source->scales.tensor : source->tensor, all.begin,
                          (size_t)(all.end - all.begin), base + from, to - from};
    return true;
}

static void ask_for(const struct loader *loader, int item)
{
    struct span span;

    if (item >= loader->n_items)
        return;
    const struct run *run = run_of(loader, item);
    struct part part = part_of(run, item);
    for (int s = 0; s < run->job->n_segments; s++)
        if (span_of(run, &part, s, &span))
            sy_checkpoint_prefetch(loader->ckpt, span.tensor, span.begin, span.bytes);
}

static enum sy_status fetch(struct loader *loader, const struct span *span, uint8_t *raw, struct sy_error *err)
{
    enum sy_status st = sy_checkpoint_fetch(loader->ckpt, span->tensor, span->begin, span->bytes, raw, err);

    if (!st)
        atomic_fetch_add_explicit(&loader->done, span->bytes, memory_order_relaxed);
    return st;
}

static enum sy_status load_vectors(struct loader *loader, const struct run *run, int item, uint8_t *raw,
                                   struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    struct part part = part_of(run, item);
    float *wide = (float *)(raw + loader->raw_bytes);
    struct span span;

    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(run, &part, s, &span))
            continue;
        enum sy_status st = fetch(loader, &span, raw, err);
        if (st)
            return st;
        float *dst = (float *)job->dst + span.row;
        int64_t stride = segments_of(run, 0)[s].row_stride;
        loader->shard->kernels->convert(NULL, stride == 1 ? dst : wide, SY_F32, raw, span.tensor->dtype,
                                        span.bytes / sy_dtype_bytes(span.tensor->dtype));
        for (int r = 0; stride != 1 && r < span.n_rows; r++)
            dst[r] = wide[r * stride];
    }
    return SY_OK;
}

/* Scales of a span's rows of one stream, from raw ones (or, if they were floats, as they are in wide), to their panels. */
static enum sy_status pack_scales(const struct loader *loader, const struct run *run, const struct span *span, int s,
                                  int stream, const uint8_t *raw, struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_source *source = segments_of(run, stream) + s;
    const struct sy_scales *scales = &source->scales;
    const float *wide = (const float *)(raw + loader->raw_bytes);
    int n_blocks = sy_scales_blocks(source), from = segment_row(run, s, span->row);
    int64_t begin = (int64_t)(span->begin / sy_dtype_bytes(scales->tensor->dtype)) - scales->offset;

    for (int r = 0; r < span->n_rows; r++) {
        int64_t at = (scales->row + (int64_t)(from + r) * scales->row_step) / scales->block_n * scales->row_stride -
                     begin;
        size_t panel = (size_t)((span->row + r) / SY_PANEL) * (size_t)job->n_streams + (size_t)stream;
        size_t to = panel * (size_t)n_blocks * SY_PANEL + (size_t)((span->row + r) % SY_PANEL);
        for (int block = 0; block < n_blocks; block++, at++, to += SY_PANEL) {
            bool good = job->dtype == SY_U8 ? raw[at] != 0xff : fabsf(wide[at]) <= SY_SCALE_MAX;
            if (!good)
                return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s has a scale that is not a number or over 2^100",
                                    sy_checkpoint_shard_path(loader->ckpt, scales->tensor->shard),
                                    scales->tensor->name);
            if (job->dtype == SY_U8)
                ((uint8_t *)job->dst)[to] = raw[at];
            else
                ((float *)job->dst)[to] = wide[at];
        }
    }
    return SY_OK;
}

static enum sy_status load_scales(struct loader *loader, const struct run *run, int item, uint8_t *raw,
                                  struct sy_error *err)
{
    struct part part = part_of(run, item);
    struct span span;
    enum sy_status st = SY_OK;

    for (int s = 0; s < run->job->n_segments && !st; s++) {
        if (!span_of(run, &part, s, &span))
            continue;
        st = fetch(loader, &span, raw, err);
        if (!st && run->job->dtype == SY_F32)
            loader->shard->kernels->convert(NULL, raw + loader->raw_bytes, SY_F32, raw, span.tensor->dtype,
                                            span.bytes / sy_dtype_bytes(span.tensor->dtype));
        for (int i = 0; i < run->n_streams && !st; i++)
            st = pack_scales(loader, run, &span, s, run->stream + i, raw, err);
    }
    return st;
}

/* Widen a part's codes, which begin at raw, with their scales. The few scales of a part are fetched here: such a matrix,
 * which is multiplied by its transpose too, is one of a layer. */
static enum sy_status decode(struct loader *loader, const struct sy_source *source, const struct part *part,
                             const uint8_t *raw, float *wide, struct sy_error *err)
{
    const struct sy_tensor *tensor = source->scales.tensor;
    int64_t first = sy_scale_at(source, part->row, part->k);
    int64_t n = sy_scale_at(source, part->row_end - 1, part->k_end - 1) + 1 - first;
    size_t element = sy_dtype_bytes(tensor->dtype);
    uint8_t *published = malloc((size_t)n * (element + sizeof(float)) + ALIGN);

    if (!published)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %lld scales of %s", (long long)n, tensor->name);
    float *scales = (float *)(published + round_up((size_t)n * element));
    enum sy_status st = sy_checkpoint_fetch(loader->ckpt, tensor, (uint64_t)first * element, (size_t)n * element,
                                            published, err);
    if (!st)
        loader->shard->kernels->convert(NULL, scales, SY_F32, published, tensor->dtype, (size_t)n);
    for (int64_t i = 0; !st && i < n; i++)
        if (!(fabsf(scales[i]) <= SY_SCALE_MAX))
            st = sy_error_set(err, SY_ERR_DATA, "%s: tensor %s has a scale that is not a number or over 2^100",
                              sy_checkpoint_shard_path(loader->ckpt, tensor->shard), tensor->name);
    for (int row = part->row; !st && row < part->row_end; row++) {
        for (int k = part->k; k < part->k_end; k++) {
            int64_t at = (row - part->row) * source->row_stride + (k - part->k) * source->k_stride;
            wide[at] = sy_float_at(sy_source_dtype(source), raw, (size_t)at) *
                       scales[sy_scale_at(source, row, k) - first];
        }
    }
    free(published);
    return st;
}

/* Pack a part of one stream from `rows`, elements of the job's type, where it begins at element `at`. */
static void pack(const struct loader *loader, const struct run *run, const struct part *part, int stream,
                 const uint8_t *rows, size_t at)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_kernels *kernels = loader->shard->kernels;
    const struct sy_source *source = segments_of(run, stream);
    /* MXFP4's strides count bytes. */
    size_t element = job->dtype == SY_MXFP4 ? 1 : sy_dtype_bytes(job->dtype);
    size_t panel_bytes = kernels->panel_bytes(job->dtype, job->k);
    size_t row_stride = (size_t)source->row_stride * element, k_stride = (size_t)source->k_stride * element;

    rows += at * element;
    for (int row = part->row; row < part->row_end; row += SY_PANEL, rows += SY_PANEL * row_stride) {
        size_t panel = (size_t)(row / SY_PANEL) * (size_t)job->n_streams + (size_t)stream;
        kernels->pack_panel(job->dtype, job->k, part->k, part->k_end, min_int(SY_PANEL, part->row_end - row), rows,
                            row_stride, k_stride, job->dst + panel * panel_bytes);
    }
}

/* Rows of several segments come to stand one after the other. */
static enum sy_status load_panels(struct loader *loader, const struct run *run, int item, uint8_t *raw,
                                  struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    enum sy_dtype from = sy_source_dtype(segments_of(run, run->stream));
    size_t raw_row = sy_dtype_array_bytes(from, (size_t)job->k), n_bytes = 0;
    struct part part = part_of(run, item);
    uint8_t *rows = raw;
    struct span span;

    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(run, &part, s, &span))
            continue;
        size_t at = (size_t)(span.row - part.row) * raw_row;
        enum sy_status st = fetch(loader, &span, raw + at, err);
        if (st)
            return st;
        n_bytes = at + span.bytes;
    }
    if (from != job->dtype)
        rows = raw + loader->raw_bytes;
    if (from != job->dtype && sy_dtype_quantised(from)) {
        enum sy_status st = decode(loader, segments_of(run, run->stream), &part, raw, (float *)rows, err);
        if (st)
            return st;
    } else if (from != job->dtype) {
        loader->shard->kernels->convert(NULL, rows, job->dtype, raw, from, n_bytes / sy_dtype_bytes(from));
    }
    for (int i = 0; i < run->n_streams; i++)
        pack(loader, run, &part, run->stream + i, rows,
             (size_t)(segments_of(run, run->stream + i)->offset - segments_of(run, run->stream)->offset));
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
    enum sy_status st = run->job->kind == SY_JOB_VECTORS  ? load_vectors(loader, run, item, raw, &err)
                        : run->job->kind == SY_JOB_SCALES ? load_scales(loader, run, item, raw, &err)
                                                          : load_panels(loader, run, item, raw, &err);
    if (st)
        fail(loader, item, &err);
    if (thread == 0 && loader->progress)
        sy_progress_update(loader->progress, atomic_load_explicit(&loader->done, memory_order_relaxed));
}

/* Bytes of an item of a run, as published and as they are widened to. */
static void item_bytes(const struct run *run, size_t *raw, size_t *wide)
{
    const struct sy_shard_job *job = run->job;
    struct part part = part_of(run, run->first_item);
    size_t sum = 0, largest = 0;
    struct span span;

    *raw = *wide = 0;
    for (int s = 0; s < job->n_segments; s++) {
        if (!span_of(run, &part, s, &span))
            continue;
        size_t element = sy_dtype_bytes(span.tensor->dtype);
        bool as_it_is = job->kind == SY_JOB_VECTORS  ? segments_of(run, run->stream)[s].row_stride == 1
                        : job->kind == SY_JOB_SCALES ? job->dtype == SY_U8
                                                     : sy_source_dtype(segments_of(run, run->stream)) == job->dtype;
        sum += span.bytes;
        largest = span.bytes > largest ? span.bytes : largest;
        if (!as_it_is)
            *wide += span.bytes / element * sizeof(float);
    }
    *raw = job->kind == SY_JOB_PANELS ? sum : largest;
}

/* Note panels or inputs [begin, end) of some streams, if there are any. */
static void add_run(struct loader *loader, struct run run)
{
    const struct sy_shard_job *job = run.job;
    size_t raw, wide;
    struct span span;

    if (run.begin >= run.end)
        return;
    run.step = 1;
    if (job->kind == SY_JOB_SCALES) {
        const struct sy_scales *scales = &segments_of(&run, run.stream)->scales;
        int64_t rows = (int64_t)SY_PANEL * scales->row_step / scales->block_n,
                unit = (rows ? rows : 1) * scales->row_stride;
        int64_t step = (int64_t)(ITEM_BYTES / sizeof(float)) / unit;
        run.step = step < 1 ? 1 : step < run.end - run.begin ? (int)step : run.end - run.begin;
    }
    if (job->kind == SY_JOB_PANELS) {
        const struct sy_source *source = segments_of(&run, run.stream);
        int64_t unit = run.by_input ? source->k_stride : SY_PANEL * source->row_stride;
        int64_t step = (int64_t)(ITEM_BYTES / sy_dtype_bytes(source->tensor->dtype)) / unit;
        /* A panel can be packed in pieces of an even number of inputs. */
        step = run.by_input ? (step < 2 ? 2 : step / 2 * 2) : step < 1 ? 1 : step;
        run.step = step < run.end - run.begin ? (int)step : run.end - run.begin;
    }
    item_bytes(&run, &raw, &wide);
    if (loader->raw_bytes < round_up(raw))
        loader->raw_bytes = round_up(raw);
    if (loader->wide_bytes < round_up(wide))
        loader->wide_bytes = round_up(wide);
    struct part part = part_of(&run, run.first_item);
    for (int s = job->n_segments - 1; s >= 0; s--) {
        if (!span_of(&run, &part, s, &span))
            continue;
        run.shard = span.tensor->shard;
        run.offset = span.tensor->offset + span.begin;
    }
    loader->runs[loader->n_runs++] = run;
}

/* The runs of a matrix, of which a dense one is shared among n_parts. */
static void add_matrix(struct loader *loader, const struct sy_shard_job *job, int part, int n_parts)
{
    const struct sy_source *first = &job->segments[0];
    struct run run = {
        .job = job, .n_streams = 1, .by_input = job->kind == SY_JOB_PANELS && first->k_stride > 1 && job->k > 1};
    int64_t n_panels = ((int64_t)job->n + SY_PANEL - 1) / SY_PANEL, unit = run.by_input ? 2 : 1;
    int64_t n_units = run.by_input ? ((int64_t)job->k + 1) / 2 : n_panels;

    if (job->expert) {
        part = 0;
        n_parts = 1;
    }
    if (job->n_streams == 2 && job->n_segments == 1 && sy_source_interleaved(first, &job->segments[1]))
        run.n_streams = 2;
    run.begin = (int)(n_units * part / n_parts * unit);
    run.end = (int)(n_units * (part + 1) / n_parts * unit);
    if (run.by_input && run.end > job->k)
        run.end = job->k;
    for (; run.stream < job->n_streams; run.stream += run.n_streams)
        add_run(loader, run);
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
        if (job->kind != SY_JOB_VECTORS)
            add_matrix(loader, job, part, n_parts);
        else if (job->expert || n_vectors++ % n_parts == part)
            add_run(loader, (struct run){.job = job, .n_streams = 1, .end = 1});
    }
    qsort(loader->runs, (size_t)loader->n_runs, sizeof *loader->runs, by_place);
    for (int i = 0; i < loader->n_runs; i++) {
        struct run *run = &loader->runs[i];
        run->first_item = loader->n_items;
        loader->n_items += (run->end - run->begin + run->step - 1) / run->step;
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

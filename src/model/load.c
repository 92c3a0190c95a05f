/* SPDX-License-Identifier: Apache-2.0
 * load.c - read a rank's share of the weights in the order of load_order.c, and pack it
 *
 * A compute thread that takes an item first asks the system for the item some megabytes further on, then reads its own, which
 * somebody asked for earlier, and packs it while it is still in the core's cache. So the disk works ahead of the packing
 * without a thread for it, with one compute thread too, and a rank needs one item's memory for each thread beside its
 * weights; or where those belong into a device's memory, beside windows of them.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"
#include "model/loading.h"

#define AHEAD_ITEMS 128 /* asked for and not yet read: 32 MiB keep any disk busy */

static size_t round_up(size_t bytes)
{
    return (bytes + SY_LOAD_ALIGN - 1) / SY_LOAD_ALIGN * SY_LOAD_ALIGN;
}

/* The run that an item belongs to. */
static const struct sy_load_run *run_of(const struct sy_loader *loader, int item)
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

static void ask_for(const struct sy_loader *loader, int item)
{
    struct sy_load_span span;

    if (item >= loader->n_items)
        return;
    const struct sy_load_run *run = run_of(loader, item);
    struct sy_load_part part = sy_load_part(run, item);
    for (int s = 0; s < run->job->n_segments; s++)
        if (sy_load_span(run, &part, s, &span))
            sy_checkpoint_prefetch(loader->ckpt, span.tensor, span.begin, span.bytes);
}

static enum sy_status fetch(struct sy_loader *loader, const struct sy_load_span *span, uint8_t *raw,
                            struct sy_error *err)
{
    enum sy_status st = sy_checkpoint_fetch(loader->ckpt, span->tensor, span->begin, span->bytes, raw, err);

    if (!st)
        atomic_fetch_add_explicit(&loader->done, span->bytes, memory_order_relaxed);
    return st;
}

static enum sy_status load_vectors(struct sy_loader *loader, const struct sy_load_run *run, int item, uint8_t *raw,
                                   struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    struct sy_load_part part = sy_load_part(run, item);
    float *wide = (float *)(raw + loader->raw_bytes);
    struct sy_load_span span;

    /* Vectors that are missing are zeros. */
    memset(sy_load_place(run, 0), 0, job->bytes);
    for (int s = 0; s < job->n_segments; s++) {
        if (!sy_load_span(run, &part, s, &span))
            continue;
        enum sy_status st = fetch(loader, &span, raw, err);
        if (st)
            return st;
        float *dst = (float *)sy_load_place(run, 0) + span.row;
        int64_t stride = sy_load_segments(run, 0)[s].row_stride;
        loader->shard->kernels->convert(NULL, stride == 1 ? dst : wide, SY_F32, raw, span.tensor->dtype,
                                        span.bytes / sy_dtype_bytes(span.tensor->dtype));
        for (int r = 0; stride != 1 && r < span.n_rows; r++)
            dst[r] = wide[r * stride];
    }
    return SY_OK;
}

/* Where the scale of a row's input block is packed. */
static uint8_t *scale_place(const struct sy_load_run *run, int stream, int row, int n_blocks, int block)
{
    const struct sy_shard_job *job = run->job;
    size_t panel = (size_t)(row / SY_PANEL) * (size_t)job->n_streams + (size_t)stream;
    size_t at = (panel * (size_t)n_blocks + (size_t)block) * SY_PANEL + (size_t)(row % SY_PANEL);

    return sy_load_place(run, at * sy_dtype_bytes(job->dtype));
}

/* Scales of a span's rows of one stream, from raw ones (or, if they were floats, as they are in wide), to their panels. */
static enum sy_status pack_scales(const struct sy_loader *loader, const struct sy_load_run *run,
                                  const struct sy_load_span *span, int s, int stream, const uint8_t *raw,
                                  struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_matrix *source = sy_load_segments(run, stream) + s;
    const struct sy_scales *scales = &source->scales;
    const float *wide = (const float *)(raw + loader->raw_bytes);
    int n_blocks = sy_scales_blocks(source), from = sy_load_segment_row(run, s, span->row);
    int64_t begin = (int64_t)(span->begin / sy_dtype_bytes(scales->tensor->dtype)) - scales->offset;

    for (int r = 0; r < span->n_rows; r++) {
        int64_t at = (scales->row + (int64_t)(from + r) * scales->row_step) / scales->block_n * scales->row_stride -
                     begin;
        for (int block = 0; block < n_blocks; block++, at++) {
            uint8_t *to = scale_place(run, stream, span->row + r, n_blocks, block);
            bool good = job->dtype == SY_U8 ? raw[at] != 0xff : fabsf(wide[at]) <= SY_SCALE_MAX;
            if (!good)
                return sy_error_set(err, SY_ERR_DATA, "%s: tensor %s has a scale that is not a number or over 2^100",
                                    sy_checkpoint_shard_path(loader->ckpt, scales->tensor->shard),
                                    scales->tensor->name);
            if (job->dtype == SY_U8)
                *to = raw[at];
            else
                *(float *)to = wide[at];
        }
    }
    /* Rows that are missing from the last panel. */
    for (int row = job->n; span->row + span->n_rows == job->n && row % SY_PANEL; row++)
        for (int block = 0; block < n_blocks; block++)
            memset(scale_place(run, stream, row, n_blocks, block), 0, sy_dtype_bytes(job->dtype));
    return SY_OK;
}

static enum sy_status load_scales(struct sy_loader *loader, const struct sy_load_run *run, int item, uint8_t *raw,
                                  struct sy_error *err)
{
    struct sy_load_part part = sy_load_part(run, item);
    struct sy_load_span span;
    enum sy_status st = SY_OK;

    for (int s = 0; s < run->job->n_segments && !st; s++) {
        if (!sy_load_span(run, &part, s, &span))
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
static enum sy_status decode(struct sy_loader *loader, const struct sy_matrix *source, const struct sy_load_part *part,
                             const uint8_t *raw, float *wide, struct sy_error *err)
{
    const struct sy_tensor *tensor = source->scales.tensor;
    int64_t first = sy_scale_at(source, part->row, part->k);
    int64_t n = sy_scale_at(source, part->row_end - 1, part->k_end - 1) + 1 - first;
    size_t element = sy_dtype_bytes(tensor->dtype);
    uint8_t *published = malloc((size_t)n * (element + sizeof(float)) + SY_LOAD_ALIGN);

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
            wide[at] = sy_float_at(sy_matrix_dtype(source), raw, (size_t)at) *
                       scales[sy_scale_at(source, row, k) - first];
        }
    }
    free(published);
    return st;
}

/* Pack a part of one stream from `rows`, elements of the job's type, where it begins at element `at`. */
static void pack(const struct sy_loader *loader, const struct sy_load_run *run, const struct sy_load_part *part,
                 int stream, const uint8_t *rows, size_t at)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_kernels *kernels = loader->shard->kernels;
    const struct sy_matrix *source = sy_load_segments(run, stream);
    /* MXFP4's strides count bytes. */
    size_t element = job->dtype == SY_MXFP4 ? 1 : sy_dtype_bytes(job->dtype);
    size_t panel_bytes = kernels->panel_bytes(job->dtype, job->k);
    size_t row_stride = (size_t)source->row_stride * element, k_stride = (size_t)source->k_stride * element;

    rows += at * element;
    for (int row = part->row; row < part->row_end; row += SY_PANEL, rows += SY_PANEL * row_stride) {
        int n_rows = part->row_end - row < SY_PANEL ? part->row_end - row : SY_PANEL;
        size_t panel = (size_t)(row / SY_PANEL) * (size_t)job->n_streams + (size_t)stream;
        kernels->pack_panel(job->dtype, job->k, part->k, part->k_end, n_rows, rows, row_stride, k_stride,
                            sy_load_place(run, panel * panel_bytes));
    }
}

/* Rows of several segments come to stand one after the other. */
static enum sy_status load_panels(struct sy_loader *loader, const struct sy_load_run *run, int item, uint8_t *raw,
                                  struct sy_error *err)
{
    const struct sy_shard_job *job = run->job;
    enum sy_dtype from = sy_matrix_dtype(sy_load_segments(run, run->stream));
    size_t raw_row = sy_dtype_array_bytes(from, (size_t)job->k), n_bytes = 0;
    struct sy_load_part part = sy_load_part(run, item);
    uint8_t *rows = raw;
    struct sy_load_span span;

    for (int s = 0; s < job->n_segments; s++) {
        if (!sy_load_span(run, &part, s, &span))
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
        enum sy_status st = decode(loader, sy_load_segments(run, run->stream), &part, raw, (float *)rows, err);
        if (st)
            return st;
    } else if (from != job->dtype) {
        loader->shard->kernels->convert(NULL, rows, job->dtype, raw, from, n_bytes / sy_dtype_bytes(from));
    }
    for (int i = 0; i < run->n_streams; i++)
        pack(loader, run, &part, run->stream + i, rows,
             (size_t)(sy_load_segments(run, run->stream + i)->offset - sy_load_segments(run, run->stream)->offset));
    return SY_OK;
}

static void fail(struct sy_loader *loader, int item, const struct sy_error *err)
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
    struct sy_loader *loader = arg;
    uint8_t *raw = loader->scratch + (size_t)thread * (loader->raw_bytes + loader->wide_bytes);
    struct sy_error err = SY_ERROR_INIT;

    item += loader->item_base;
    /* Items are handed out in order, so those before a failed one are under way, and the first of all errors is found. */
    if (item > atomic_load(&loader->failed))
        return;
    ask_for(loader, item + AHEAD_ITEMS);
    const struct sy_load_run *run = run_of(loader, item);
    enum sy_status st = run->job->kind == SY_JOB_VECTORS  ? load_vectors(loader, run, item, raw, &err)
                        : run->job->kind == SY_JOB_SCALES ? load_scales(loader, run, item, raw, &err)
                                                          : load_panels(loader, run, item, raw, &err);
    if (st)
        fail(loader, item, &err);
    if (thread == 0 && loader->progress)
        sy_progress_update(loader->progress, atomic_load_explicit(&loader->done, memory_order_relaxed));
}

static enum sy_status failure(struct sy_loader *loader, struct sy_error *err)
{
    if (atomic_load(&loader->failed) == INT_MAX)
        return SY_OK;
    if (err)
        *err = loader->error;
    return loader->error.status;
}

static void load_items(struct sy_loader *loader, int window, struct sy_pool *pool)
{
    loader->item_base = loader->window_items[window];
    sy_pool_run(pool, loader->window_items[window + 1] - loader->item_base, load_item, loader);
}

/* Have a window's runs packed into memory whose content may be anything, so that what is between matrices is cleared. Windows
 * come in order. */
static void land(struct sy_loader *loader, int window, uint8_t *memory)
{
    const struct sy_window *w = &loader->windows[window];

    for (; loader->n_landed < loader->n_runs && loader->runs[loader->n_landed].window == window; loader->n_landed++) {
        struct sy_load_run *run = &loader->runs[loader->n_landed];
        size_t bytes = run->job->bytes, end = run->job->offset + bytes - w->begin;
        run->memory = memory;
        run->memory_begin = w->begin;
        if (end <= w->bytes)
            memset(memory + end, 0, round_up(bytes) - bytes);
    }
}

/* Window by window. Others may wait for each of them, so all are given, good or not. */
static enum sy_status load_windows(struct sy_loader *loader, const struct sy_windows *windows, struct sy_pool *pool,
                                   struct sy_error *err)
{
    enum sy_status st = SY_OK;

    for (int w = 0; w < loader->n_windows; w++) {
        struct sy_error lost = SY_ERROR_INIT;
        uint8_t *memory = NULL;
        if (!st)
            st = windows->take(windows->ctx, &loader->windows[w], &memory, err);
        if (!st) {
            land(loader, w, memory);
            load_items(loader, w, pool);
            st = failure(loader, err);
        }
        enum sy_status given = windows->give(windows->ctx, &loader->windows[w], st ? NULL : memory, &lost);
        if (given && !st && err)
            *err = lost;
        if (given)
            return st ? st : given;
    }
    return st;
}

enum sy_status sy_shard_load(struct sy_shard *shard, struct sy_checkpoint *ckpt, int part, int n_parts,
                             struct sy_pool *pool, struct sy_progress *progress, const struct sy_windows *windows,
                             struct sy_error *err)
{
    struct sy_loader loader = {.shard = shard, .ckpt = ckpt, .progress = progress, .error = SY_ERROR_INIT};
    enum sy_status st = sy_load_list(&loader, part, n_parts, sy_pool_n_threads(pool), windows ? windows->bytes : 0,
                                     err);

    atomic_init(&loader.done, 0);
    atomic_init(&loader.failed, INT_MAX);
    pthread_mutex_init(&loader.lock, NULL);
    for (int item = 0; item < AHEAD_ITEMS && !st; item++)
        ask_for(&loader, item);
    if (!st && windows) {
        st = load_windows(&loader, windows, pool, err);
    } else if (!st) {
        load_items(&loader, 0, pool);
        st = failure(&loader, err);
    }
    pthread_mutex_destroy(&loader.lock);
    free(loader.scratch);
    free(loader.window_items);
    free(loader.windows);
    free(loader.runs);
    return st;
}

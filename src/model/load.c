/* SPDX-License-Identifier: Apache-2.0
 * load.c - read a rank's share of the weights in large pieces and pack it
 */
#include <stdlib.h>
#include <string.h>

#include "model/shard.h"
#include "model/shard_job.h"

#define PIECE_BYTES ((size_t)8 << 20) /* one read, and one round of packing */

struct loader {
    struct sy_shard *shard;
    struct sy_checkpoint *ckpt;
    struct sy_pool *pool;
    struct sy_progress *progress;
    uint64_t done;
    struct sy_buf raw[2];  /* rows of each stream as published */
    struct sy_buf wide[2]; /* the same as FP32, where the packed type asks for it */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* What the packing threads need to know of one piece. */
struct piece {
    const struct sy_shard *shard;
    const struct sy_shard_job *job;
    const uint8_t *rows[2];
    size_t row_bytes;
    int first_panel, n_panels; /* of each stream */
};

static void pack_item(void *arg, int item, int thread)
{
    const struct piece *piece = arg;
    const struct sy_shard_job *job = piece->job;
    int stream = item % job->n_streams, i = item / job->n_streams;
    int panel = piece->first_panel + i;
    int left = job->n - panel * SY_PANEL;
    size_t bytes = piece->shard->kernels->panel_bytes(job->dtype, job->k);
    const uint8_t *rows = piece->rows[stream] + (size_t)i * SY_PANEL * piece->row_bytes;
    char *dst = job->dst + ((size_t)panel * (size_t)job->n_streams + (size_t)stream) * bytes;

    (void)thread;
    piece->shard->kernels->pack_panel(job->dtype, job->k, left < SY_PANEL ? left : SY_PANEL, rows, piece->row_bytes,
                                      dst);
}

/* Read rows [begin, end) of a stream, which may span several segments. */
static enum sy_status read_rows(struct loader *loader, const struct sy_source *segments, int n_segments, int begin,
                                int end, struct sy_buf *out, struct sy_error *err)
{
    int base = 0;

    out->len = 0;
    for (int s = 0; s < n_segments; s++) {
        const struct sy_source *source = &segments[s];
        int from = begin > base ? begin - base : 0, to = end - base < source->n ? end - base : source->n;
        base += source->n;
        if (from >= to)
            continue;
        const struct sy_tensor *tensor = source->tensor;
        size_t row_bytes = (size_t)source->k * sy_dtype_bytes(tensor->dtype), n = (size_t)(to - from) * row_bytes;
        uint64_t rows_per_slice = (uint64_t)tensor->dims[tensor->n_dims - 2];
        uint64_t row = (uint64_t)source->slice * rows_per_slice + (uint64_t)source->row_begin + (uint64_t)from;
        if (!sy_buf_reserve(out, n))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a piece of %zu bytes", n);
        enum sy_status st = sy_checkpoint_fetch(loader->ckpt, tensor, row * row_bytes, n, out->data + out->len, err);
        if (st)
            return st;
        out->len += n;
        loader->done += n;
    }
    return SY_OK;
}

/* Widen a piece to FP32 when the packed type is FP32 and the published one is not (routers). */
static enum sy_status widen(const struct sy_shard *shard, enum sy_dtype from, const struct sy_buf *raw,
                            struct sy_buf *wide, struct sy_error *err)
{
    size_t n = raw->len / sy_dtype_bytes(from);

    wide->len = 0;
    if (!sy_buf_reserve(wide, n * sizeof(float)))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a piece of %zu bytes", n * sizeof(float));
    shard->kernels->convert(NULL, wide->data, SY_F32, raw->data, from, n);
    wide->len = n * sizeof(float);
    return SY_OK;
}

static enum sy_status load_panels(struct loader *loader, const struct sy_shard_job *job, int panel_begin, int panel_end,
                                  struct sy_error *err)
{
    enum sy_dtype from = job->segments[0].tensor->dtype;
    size_t row_bytes = (size_t)job->k * sy_dtype_bytes(from);
    size_t panels_per_piece = PIECE_BYTES / (row_bytes * SY_PANEL * (size_t)job->n_streams);
    int step = panels_per_piece ? (int)min_size(panels_per_piece, 1 << 20) : 1;

    for (int panel = panel_begin; panel < panel_end; panel += step) {
        int last = panel + step < panel_end ? panel + step : panel_end;
        int row_end = last * SY_PANEL < job->n ? last * SY_PANEL : job->n;
        struct piece piece = {.shard = loader->shard, .job = job, .first_panel = panel, .n_panels = last - panel};
        for (int stream = 0; stream < job->n_streams; stream++) {
            struct sy_buf *raw = &loader->raw[stream], *wide = &loader->wide[stream];
            enum sy_status st = read_rows(loader, job->segments + stream * job->n_segments, job->n_segments,
                                          panel * SY_PANEL, row_end, raw, err);
            if (!st && from != job->dtype)
                st = widen(loader->shard, from, raw, wide, err);
            if (st)
                return st;
            piece.rows[stream] = from != job->dtype ? wide->data : raw->data;
        }
        piece.row_bytes = (size_t)job->k * sy_dtype_bytes(job->dtype);
        sy_pool_run(loader->pool, piece.n_panels * job->n_streams, pack_item, &piece);
        if (loader->progress)
            sy_progress_update(loader->progress, loader->done);
    }
    return SY_OK;
}

static enum sy_status load_vectors(struct loader *loader, const struct sy_shard_job *job, struct sy_error *err)
{
    float *dst = (float *)job->dst;

    for (int s = 0; s < job->n_segments; s++) {
        const struct sy_source *source = &job->segments[s];
        if (source->tensor) {
            struct sy_buf *raw = &loader->raw[0];
            raw->len = 0;
            if (!sy_buf_reserve(raw, source->tensor->bytes))
                return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a vector");
            enum sy_status st = sy_checkpoint_fetch(loader->ckpt, source->tensor, 0, source->tensor->bytes, raw->data,
                                                    err);
            if (st)
                return st;
            loader->shard->kernels->convert(NULL, dst, SY_F32, raw->data, source->tensor->dtype, (size_t)source->n);
            loader->done += source->tensor->bytes;
        }
        dst += source->n;
    }
    return SY_OK;
}

enum sy_status sy_shard_load(struct sy_shard *shard, struct sy_checkpoint *ckpt, int part, int n_parts,
                             struct sy_pool *pool, struct sy_progress *progress, struct sy_error *err)
{
    struct loader loader = {.shard = shard, .ckpt = ckpt, .pool = pool, .progress = progress};
    enum sy_status st = SY_OK;
    int n_vectors = 0;

    for (int i = 0; i < shard->n_jobs && !st; i++) {
        const struct sy_shard_job *job = &shard->jobs[i];
        int64_t n_panels = (job->n + SY_PANEL - 1) / SY_PANEL;
        if (job->kind == SY_JOB_VECTORS) {
            if (n_vectors++ % n_parts == part)
                st = load_vectors(&loader, job, err);
        } else if (job->expert) {
            st = load_panels(&loader, job, 0, (int)n_panels, err);
        } else {
            st = load_panels(&loader, job, (int)(n_panels * part / n_parts), (int)(n_panels * (part + 1) / n_parts),
                             err);
        }
    }
    for (int i = 0; i < 2; i++) {
        sy_buf_fini(&loader.raw[i]);
        sy_buf_fini(&loader.wide[i]);
    }
    return st;
}

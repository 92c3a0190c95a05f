/* SPDX-License-Identifier: Apache-2.0
 * load_order.c - what a rank reads, in the order in which it reads it
 *
 * In place that is the order of the files. Windows follow the packed blocks instead, and each is read in the order of the
 * files: a matrix still lies in one stretch of them.
 */
#include <stdlib.h>

#include "model/loading.h"

static size_t round_up(size_t bytes)
{
    return (bytes + SY_LOAD_ALIGN - 1) / SY_LOAD_ALIGN * SY_LOAD_ALIGN;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

/* Is the matrix stored transposed, so that it is cut along its inputs? */
static bool is_by_input(const struct sy_shard_job *job)
{
    return job->kind == SY_JOB_PANELS && job->segments[0].k_stride > 1 && job->k > 1;
}

struct sy_load_part sy_load_part(const struct sy_load_run *run, int item)
{
    const struct sy_shard_job *job = run->job;
    int begin = run->begin + (item - run->first_item) * run->step, end = min_int(begin + run->step, run->end);

    if (job->kind == SY_JOB_VECTORS)
        return (struct sy_load_part){0, job->n, 0, 1};
    if (run->by_input)
        return (struct sy_load_part){0, job->n, begin, end};
    return (struct sy_load_part){begin * SY_PANEL, end * (int64_t)SY_PANEL < job->n ? end * SY_PANEL : job->n, 0,
                                 job->k};
}

static struct sy_stretch stretch_of(const struct sy_load_run *run, const struct sy_matrix *source,
                                    const struct sy_load_part *part, int row, int row_end)
{
    return run->job->kind == SY_JOB_SCALES ? sy_scales_stretch(source, row, row_end)
                                           : sy_matrix_stretch(source, row, row_end, part->k, part->k_end);
}

int sy_load_segment_row(const struct sy_load_run *run, int s, int row)
{
    while (s-- > 0)
        row -= sy_load_segments(run, run->stream)[s].n;
    return row;
}

bool sy_load_span(const struct sy_load_run *run, const struct sy_load_part *part, int s, struct sy_load_span *span)
{
    const struct sy_matrix *source = sy_load_segments(run, run->stream) + s;
    int base = -sy_load_segment_row(run, s, 0); /* the run's row that is the segment's first */

    int from = part->row > base ? part->row - base : 0, to = min_int(part->row_end - base, source->n);
    if (!source->tensor || from >= to)
        return false;
    struct sy_stretch all = stretch_of(run, source, part, from, to);
    for (int stream = 1; stream < run->n_streams; stream++) {
        source = sy_load_segments(run, run->stream + stream) + s;
        all.end = stretch_of(run, source, part, from, to).end;
    }
    *span = (struct sy_load_span){run->job->kind == SY_JOB_SCALES ? source->scales.tensor : source->tensor, all.begin,
                                  (size_t)(all.end - all.begin), base + from, to - from};
    return true;
}

/* Bytes of an item of a run, as published and as they are widened to. */
static void item_bytes(const struct sy_load_run *run, size_t *raw, size_t *wide)
{
    const struct sy_shard_job *job = run->job;
    struct sy_load_part part = sy_load_part(run, run->first_item);
    size_t sum = 0, largest = 0;
    struct sy_load_span span;

    *raw = *wide = 0;
    for (int s = 0; s < job->n_segments; s++) {
        if (!sy_load_span(run, &part, s, &span))
            continue;
        size_t element = sy_dtype_bytes(span.tensor->dtype);
        bool as_it_is = job->kind == SY_JOB_VECTORS ? sy_load_segments(run, run->stream)[s].row_stride == 1
                        : job->kind == SY_JOB_SCALES
                            ? job->dtype == SY_U8
                            : sy_matrix_dtype(sy_load_segments(run, run->stream)) == job->dtype;
        sum += span.bytes;
        largest = span.bytes > largest ? span.bytes : largest;
        if (!as_it_is)
            *wide += span.bytes / element * sizeof(float);
    }
    *raw = job->kind == SY_JOB_PANELS ? sum : largest;
}

/* How many panels, or inputs, of a run make an item. */
static int step_of(const struct sy_load_run *run)
{
    const struct sy_shard_job *job = run->job;
    const struct sy_matrix *source = sy_load_segments(run, run->stream);
    int64_t step = 1;

    if (job->kind == SY_JOB_SCALES) {
        int64_t rows = (int64_t)SY_PANEL * source->scales.row_step / source->scales.block_n;
        step = (int64_t)(SY_ITEM_BYTES / sizeof(float)) / ((rows ? rows : 1) * source->scales.row_stride);
    }
    if (job->kind == SY_JOB_PANELS) {
        int64_t unit = run->by_input ? source->k_stride : SY_PANEL * source->row_stride;
        step = (int64_t)(SY_ITEM_BYTES / sy_dtype_bytes(source->tensor->dtype)) / unit;
    }
    /* A panel can be packed in pieces of an even number of inputs. */
    if (run->by_input)
        step = step < 2 ? 2 : step / 2 * 2;
    step = step < 1 ? 1 : step;
    return step < run->end - run->begin ? (int)step : run->end - run->begin;
}

/* Note panels or inputs [begin, end) of some streams, if there are any. False without memory. */
static bool add_run(struct sy_loader *loader, struct sy_load_run run)
{
    const struct sy_shard_job *job = run.job;
    size_t raw, wide;
    struct sy_load_span span;

    if (run.begin >= run.end)
        return true;
    if (loader->n_runs == loader->max_runs) {
        int max = loader->max_runs ? 2 * loader->max_runs : 256;
        struct sy_load_run *runs = realloc(loader->runs, (size_t)max * sizeof *runs);
        if (!runs)
            return false;
        loader->runs = runs;
        loader->max_runs = max;
    }
    run.window = loader->n_windows - 1;
    run.step = step_of(&run);
    item_bytes(&run, &raw, &wide);
    if (loader->raw_bytes < round_up(raw))
        loader->raw_bytes = round_up(raw);
    if (loader->wide_bytes < round_up(wide))
        loader->wide_bytes = round_up(wide);
    struct sy_load_part part = sy_load_part(&run, run.first_item);
    for (int s = job->n_segments - 1; s >= 0; s--) {
        if (!sy_load_span(&run, &part, s, &span))
            continue;
        run.shard = span.tensor->shard;
        run.offset = span.tensor->offset + span.begin;
    }
    loader->runs[loader->n_runs++] = run;
    return true;
}

/* The runs of panels [first, last) of a matrix, or of all of one that is cut along its inputs. A dense one is shared among
 * n_parts. */
static bool add_matrix(struct sy_loader *loader, const struct sy_shard_job *job, int first, int last, int part,
                       int n_parts)
{
    const struct sy_matrix *source = &job->segments[0];
    struct sy_load_run run = {
        .job = job, .n_streams = 1, .by_input = is_by_input(job), .memory = job->dst, .memory_begin = job->offset};
    int64_t unit = run.by_input ? 2 : 1, n_units = run.by_input ? ((int64_t)job->k + 1) / 2 : last - first;
    bool added = true;

    if (job->expert) {
        part = 0;
        n_parts = 1;
    }
    if (job->n_streams == 2 && job->n_segments == 1 && sy_matrix_interleaved(source, &job->segments[1]))
        run.n_streams = 2;
    first = run.by_input ? 0 : first;
    run.begin = first + (int)(n_units * part / n_parts * unit);
    run.end = first + (int)(n_units * (part + 1) / n_parts * unit);
    if (run.by_input && run.end > job->k)
        run.end = job->k;
    for (; run.stream < job->n_streams && added; run.stream += run.n_streams)
        added = add_run(loader, run);
    return added;
}

/* Let the last window reach from byte `begin` of its block to `end`, or begin another where that would be too large. False
 * without memory. */
static bool extend(struct sy_loader *loader, bool expert, size_t begin, size_t end, size_t window_bytes)
{
    struct sy_window *last = loader->n_windows ? &loader->windows[loader->n_windows - 1] : NULL;

    if (last && last->expert == expert && end - last->begin <= window_bytes) {
        last->bytes = end - last->begin;
        return true;
    }
    if (loader->n_windows == loader->max_windows) {
        int max = loader->max_windows ? 2 * loader->max_windows : 16;
        struct sy_window *windows = realloc(loader->windows, (size_t)max * sizeof *windows);
        if (!windows)
            return false;
        loader->windows = windows;
        loader->max_windows = max;
    }
    loader->windows[loader->n_windows++] = (struct sy_window){expert, begin, end - begin};
    return true;
}

static int panels_of(const struct sy_shard_job *job)
{
    return job->n / SY_PANEL + (job->n % SY_PANEL != 0);
}

/* What is never cut. */
static bool is_whole(const struct sy_shard_job *job)
{
    return job->kind == SY_JOB_VECTORS || is_by_input(job);
}

static bool add_job(struct sy_loader *loader, const struct sy_shard_job *job, int vector, int part, int n_parts,
                    size_t window_bytes)
{
    int n_panels = panels_of(job), count = n_panels;
    size_t unit = job->bytes / (size_t)n_panels;

    if (job->kind == SY_JOB_VECTORS) {
        bool mine = job->expert || vector % n_parts == part;
        return (!window_bytes ||
                extend(loader, job->expert, job->offset, job->offset + round_up(job->bytes), window_bytes)) &&
               (!mine ||
                add_run(loader,
                        (struct sy_load_run){
                            .job = job, .n_streams = 1, .end = 1, .memory = job->dst, .memory_begin = job->offset}));
    }
    for (int first = 0; first < n_panels; first += count) {
        size_t begin = job->offset + (size_t)first * unit, left = window_bytes;
        const struct sy_window *last = loader->n_windows ? &loader->windows[loader->n_windows - 1] : NULL;
        if (last && last->expert == job->expert && begin + unit - last->begin <= window_bytes)
            left = last->begin + window_bytes - begin;
        count = n_panels - first;
        if (window_bytes && !is_whole(job) && (size_t)count > left / unit)
            count = left / unit ? (int)(left / unit) : 1;
        size_t end = first + count < n_panels ? begin + (size_t)count * unit : job->offset + round_up(job->bytes);
        if (window_bytes && !extend(loader, job->expert, begin, end, window_bytes))
            return false;
        if (!add_matrix(loader, job, first, first + count, part, n_parts))
            return false;
    }
    return true;
}

size_t sy_shard_window_bytes(const struct sy_shard *shard, bool expert, size_t least)
{
    size_t most = least, all = expert ? shard->expert_bytes : shard->dense_bytes;

    for (int i = 0; i < shard->n_jobs; i++) {
        const struct sy_shard_job *job = &shard->jobs[i];
        size_t need = round_up(is_whole(job) ? job->bytes : job->bytes / (size_t)panels_of(job) + SY_LOAD_ALIGN);
        if (job->expert == expert && need > most)
            most = need;
    }
    return most < all ? most : all;
}

static int by_place(const void *left, const void *right)
{
    const struct sy_load_run *a = left, *b = right;

    if (a->window != b->window)
        return a->window < b->window ? -1 : 1;
    if (a->shard != b->shard)
        return a->shard < b->shard ? -1 : 1;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

/* Number the items of the runs, which are in order. False without memory. */
static bool number(struct sy_loader *loader)
{
    int r = 0;

    loader->window_items = calloc((size_t)loader->n_windows + 1, sizeof *loader->window_items);
    for (int w = 0; w < loader->n_windows && loader->window_items; w++) {
        loader->window_items[w] = loader->n_items;
        for (; r < loader->n_runs && loader->runs[r].window == w; r++) {
            struct sy_load_run *run = &loader->runs[r];
            run->first_item = loader->n_items;
            loader->n_items += (run->end - run->begin + run->step - 1) / run->step;
        }
        loader->window_items[w + 1] = loader->n_items;
    }
    return loader->window_items != NULL;
}

enum sy_status sy_load_list(struct sy_loader *loader, int part, int n_parts, int n_threads, size_t window_bytes,
                            struct sy_error *err)
{
    const struct sy_shard *shard = loader->shard;
    bool enough = window_bytes || extend(loader, false, 0, 0, 0);

    for (int i = 0, n_vectors = 0; i < shard->n_jobs && enough; i++) {
        const struct sy_shard_job *job = &shard->jobs[i];
        int vector = job->kind == SY_JOB_VECTORS && !job->expert ? n_vectors++ : 0;
        enough = add_job(loader, job, vector, part, n_parts, window_bytes);
    }
    if (enough && loader->n_runs)
        qsort(loader->runs, (size_t)loader->n_runs, sizeof *loader->runs, by_place);
    if (!enough || !number(loader))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the list of what to load");
    size_t bytes = loader->raw_bytes + loader->wide_bytes;
    loader->scratch = aligned_alloc(SY_LOAD_ALIGN, (size_t)n_threads * bytes + SY_LOAD_ALIGN);
    return loader->scratch
               ? SY_OK
               : sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d buffers of %zu bytes", n_threads, bytes);
}

/* SPDX-License-Identifier: Apache-2.0
 * loading.h - what load_order.c lists and load.c reads (private to the two)
 *
 * A rank's share is cut into runs, what lies together in the checkpoint: panels of one stream of a matrix, or of both where
 * they are interleaved, or a stack of vectors. A run is cut into items of a few hundred kilobytes. Where the packed blocks are
 * not in the host's memory, runs belong to windows, which are loaded one after the other; items are numbered through all.
 */
#ifndef SY_MODEL_LOADING_H
#define SY_MODEL_LOADING_H

#include <pthread.h>
#include <stdatomic.h>

#include "model/shard.h"
#include "model/shard_job.h"

#define SY_ITEM_BYTES ((size_t)256 << 10) /* of the checkpoint; half of a small second-level cache */
#define SY_LOAD_ALIGN 64

/* A matrix that is stored transposed is cut along its inputs, so that an item is one stretch of the file. */
struct sy_load_run {
    const struct sy_shard_job *job;
    int stream, n_streams;
    bool by_input;
    int begin, end; /* panels, or inputs; vectors are one whole */
    int step;       /* of an item */
    int first_item; /* number of its first item among all */
    int shard;      /* where it begins */
    uint64_t offset;
    int window;
    uint8_t *memory; /* where it is packed: the place in its block that is memory_begin bytes on */
    size_t memory_begin;
};

/* What an item covers of its run. */
struct sy_load_part {
    int row, row_end, k, k_end;
};

/* Where a part's rows of one segment lie. */
struct sy_load_span {
    const struct sy_tensor *tensor;
    uint64_t begin; /* in the tensor's data */
    size_t bytes;
    int row, n_rows; /* of the run */
};

struct sy_loader {
    struct sy_shard *shard;
    struct sy_checkpoint *ckpt;
    struct sy_progress *progress;
    struct sy_load_run *runs; /* window by window, in order of file and offset */
    int n_runs, max_runs, n_items;
    struct sy_window *windows; /* in place there is one, for which nothing is asked */
    int *window_items;         /* [n_windows + 1] number of each one's first item */
    int n_windows, max_windows;
    int n_landed;                 /* runs that have memory, where there are windows */
    size_t raw_bytes, wide_bytes; /* of the largest item: as published, and as FP32 where it is widened */
    uint8_t *scratch;             /* [n_threads][raw_bytes + wide_bytes] */
    int item_base;                /* of the window that is being loaded */
    atomic_ullong done;           /* bytes */
    atomic_int failed;            /* the lowest item that failed */
    pthread_mutex_t lock;         /* of error */
    struct sy_error error;        /* that item's */
};

static inline const struct sy_matrix *sy_load_segments(const struct sy_load_run *run, int stream)
{
    return run->job->segments + stream * run->job->n_segments;
}

/* The place of byte `at` of a run's packed matrix. */
static inline uint8_t *sy_load_place(const struct sy_load_run *run, size_t at)
{
    return run->memory + (run->job->offset + at - run->memory_begin);
}

/* What item `item` of all covers of its run, and what of that lies in the run's segment s: false when that is nothing. */
struct sy_load_part sy_load_part(const struct sy_load_run *run, int item);
bool sy_load_span(const struct sy_load_run *run, const struct sy_load_part *part, int s, struct sy_load_span *span);

/* A run's row as one of its segment s. */
int sy_load_segment_row(const struct sy_load_run *run, int s, int row);

/* List what this rank reads: its experts, and part `part` of n_parts of the dense weights, in windows of at most so many bytes
 * (0: in place). Makes runs, windows and scratch; the caller frees them. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_load_list(struct sy_loader *loader, int part, int n_parts, int n_threads, size_t window_bytes,
                            struct sy_error *err);

#endif

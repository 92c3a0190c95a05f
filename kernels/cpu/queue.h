/* SPDX-License-Identifier: Apache-2.0
 * queue.h - buffers, queues and packing that all CPU backends share
 *
 * A CPU queue is the rank's thread pool: a call is done when it returns, on one calling thread at a time. Nothing here
 * allocates after sy_cpu_queue_create(): kernels keep what they need on the stack (under 400 KB in any thread).
 */
#ifndef SY_KERNELS_CPU_QUEUE_H
#define SY_KERNELS_CPU_QUEUE_H

#include "kernels.h"

struct sy_queue {
    struct sy_pool *pool;
};

/* Zeroed memory at a page boundary, in huge pages where it is large and the system has them. NULL when there is not
 * enough. free wants the same number of bytes. */
void *sy_cpu_alloc(size_t bytes);
void sy_cpu_free(void *buffer, size_t bytes);

enum sy_status sy_cpu_share_host(void *memory, size_t bytes, struct sy_error *err);
void sy_cpu_unshare_host(void *memory);
void sy_cpu_copy(struct sy_queue *q, void *dst, const void *src, size_t bytes);
void sy_cpu_clear(struct sy_queue *q, void *dst, size_t bytes);
enum sy_status sy_cpu_queue_create(struct sy_pool *pool, struct sy_queue **q, struct sy_error *err);
enum sy_status sy_cpu_queue_sync(struct sy_queue *q, struct sy_error *err);
void sy_cpu_queue_destroy(struct sy_queue *q);

/* Panels of SY_LAYOUT_PANELS, for element types of 1, 2, 4 and 8 bytes. */
size_t sy_cpu_panel_bytes(enum sy_dtype dtype, int k);
void sy_cpu_pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                       size_t row_stride, size_t k_stride, void *dst);

/* Bytes of a page of the KV cache, as layout.h has it. */
size_t sy_cpu_kv_page_bytes(const struct sy_kv_layer *kv);

/* sy_pool_run() for n_items that cost about `cost` multiply-adds together: what is over before a worker has woken runs
 * on the caller alone. */
void sy_queue_run(struct sy_queue *q, int n_items, double cost, sy_pool_fn fn, void *arg);

/* How many rows of `width` elements make one item of a loop over rows. */
static inline int sy_row_step(int width)
{
    return width < 8192 ? 8192 / (width > 0 ? width : 1) : 1;
}

#endif

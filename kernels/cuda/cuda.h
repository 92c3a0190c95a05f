/* SPDX-License-Identifier: Apache-2.0
 * cuda.h - what the CUDA kernels share: the queue, checks of launches, and their list
 *
 * A queue is a stream. Launches return at once; the first error of a queue is kept in it, later calls do nothing, and
 * queue_sync() tells. Nothing here allocates after queue_create(). Small tables that the host makes for one launch (tiles,
 * pointers) go to the device through a ring of pinned memory: sy_cuda_table().
 */
#ifndef SY_KERNELS_CUDA_CUDA_H
#define SY_KERNELS_CUDA_CUDA_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "cuda/layout.h"
#include "kernels.h"
}

#define SY_CUDA_TABLE_BYTES ((size_t)4 << 20) /* of the ring of small tables */

struct sy_queue {
    cudaStream_t stream;
    cudaStream_t beside;                /* for what goes on while `stream` does: from `fork` on */
    cudaEvent_t fork, join;             /* join: of a recording, where `beside` ends */
    int device, n_sms, major, minor;
    bool wgmma;                         /* sy_cuda_has_wgmma() */
    bool early;                         /* kernels were compiled so that they wait for the one before (launch.cuh) */
    size_t shared_bytes;                /* that a block of threads can have */
    uint8_t *table_host, *table_device; /* [SY_CUDA_TABLE_BYTES] pinned, and its copy */
    size_t table_used;
    void *scratch;                      /* of kernels that split their work; SY_CUDA_SCRATCH_BYTES */
    uint32_t *counters;                 /* [SY_CUDA_COUNTERS] of kernels whose last block does more; zero otherwise */
    struct sy_cuda_maps *maps;          /* map.cu */
    struct sy_recording *recording;     /* that is being made, else NULL */
    struct sy_error error;              /* the first one */
};

#define SY_CUDA_SCRATCH_BYTES ((size_t)64 << 20)
#define SY_CUDA_COUNTERS      32768

/* False once something went wrong in q; notes `code` if it is an error, with what was asked for. */
bool sy_cuda_check(struct sy_queue *q, cudaError_t code, const char *what);

/* After a launch: sy_cuda_check() of its error. */
static inline bool sy_cuda_launched(struct sy_queue *q, const char *kernel)
{
    return sy_cuda_check(q, cudaGetLastError(), kernel);
}

/* Whether q still works: every kernel asks first. */
static inline bool sy_cuda_works(const struct sy_queue *q)
{
    return q->error.status == SY_OK;
}

/* Whether this GPU runs code that was compiled for sm_90a, and can be given tensor maps. */
static inline bool sy_cuda_has_wgmma(const struct sy_queue *q)
{
    return q->wgmma;
}

bool sy_cuda_find_wgmma(const struct sy_queue *q);

/* A function of the driver's, as CUDA 12.0 has it, looked up so that nothing links to the driver; NULL: it has none. */
void *sy_cuda_driver(const char *name);

/* Copy a small table of the host's to the device, where it stays until what was launched before the ring comes round is
 * done. Returns its address there, aligned to 256 bytes; NULL after an error. */
void *sy_cuda_table(struct sy_queue *q, const void *table, size_t bytes);

/* record.cu: sy_cuda_table() while a recording is made. Its tables live as long as it does. */
void *sy_cuda_record_table(struct sy_queue *q, const void *table, size_t bytes);

extern "C" {
bool sy_cuda_record(struct sy_queue *q);
struct sy_recording *sy_cuda_record_end(struct sy_queue *q);
void sy_cuda_replay(struct sy_queue *q, struct sy_recording *recording);
void sy_cuda_record_free(struct sy_recording *recording);

/* queue.cu */
void *sy_cuda_alloc(size_t bytes);
void sy_cuda_free(void *buffer, size_t bytes);
void sy_cuda_say_free(char *text, size_t bytes);
void *sy_cuda_alloc_host(size_t bytes);
void sy_cuda_free_host(void *buffer, size_t bytes);
enum sy_status sy_cuda_share_host(void *memory, size_t bytes, struct sy_error *err);
void sy_cuda_unshare_host(void *memory);
void sy_cuda_copy(struct sy_queue *q, void *dst, const void *src, size_t bytes);
void sy_cuda_clear(struct sy_queue *q, void *dst, size_t bytes);
enum sy_status sy_cuda_queue_create(struct sy_pool *pool, struct sy_queue **q, struct sy_error *err);
bool sy_cuda_queue_done(struct sy_queue *q);
enum sy_status sy_cuda_copy_now(void *dst, const void *src, size_t bytes, struct sy_error *err);
enum sy_status sy_cuda_queue_sync(struct sy_queue *q, struct sy_error *err);
void sy_cuda_queue_destroy(struct sy_queue *q);

/* lend.cu */
const struct sy_lender *sy_cuda_lender(void);

/* nccl.cu. NULL: left out of this build. */
const struct sy_courier *sy_cuda_courier(void);

/* porter.cu */
const struct sy_courier *sy_cuda_porter(void);

/* rows.cu */
void sy_cuda_rmsnorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                     const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void sy_cuda_layernorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                       const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void sy_cuda_weigh(struct sy_queue *q, float *x, int T, int width, const float *logits);
void sy_cuda_scale(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor);
void sy_cuda_clamp(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit);
void sy_cuda_add(struct sy_queue *q, float *x, const float *y, int T, int width);
void sy_cuda_convert(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                     size_t n);
void sy_cuda_split(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride);
void sy_cuda_copy_rows(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                       const uint32_t *src_rows, int n, size_t row_bytes);
void sy_cuda_combine(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K,
                     int D, const float *shared, bool reverse_k, float *x);

/* rope.cu */
void sy_cuda_rope(struct sy_queue *q, const struct sy_rotation *r);
void sy_cuda_embed(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x);

/* gemm.cu */
void sy_cuda_gemm(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                  int T, int n_begin, int n_end, bool add, float *y, size_t y_stride);
void sy_cuda_gemm_heads(struct sy_queue *q, const struct sy_head_gemm *h);

/* kv.cu */
size_t sy_cuda_kv_page_bytes(const struct sy_kv_layer *kv);
void sy_cuda_heads(struct sy_queue *q, const struct sy_heads *heads);
void sy_cuda_kv_write(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride);

/* attention.cu */
void sy_cuda_attention(struct sy_queue *q, const struct sy_attention *a);

/* router.cu */
void sy_cuda_router_logits(struct sy_queue *q, const struct sy_weight *w, const float *x, int T, float *logits);
void sy_cuda_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights);

/* logits.cu */
void sy_cuda_scan_logits(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans);

/* pick.cu */
void sy_cuda_pick_logits(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                         struct sy_logit_pick *picks, int n_picks);

/* experts.cu, moe.cu */
void sy_cuda_expert_gate_up(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                            enum sy_dtype dtype, const struct sy_glu *glu, void *act);
void sy_cuda_expert_down(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                         enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype);
size_t sy_cuda_moe_bytes(const struct sy_moe_shape *shape);
size_t sy_cuda_moe_table_bytes(int n_experts);
void sy_cuda_moe_table(struct sy_queue *q, const struct sy_expert *experts, int n_experts, void *table);
size_t sy_cuda_across_bytes(const struct sy_moe_across *across);
void sy_cuda_across(struct sy_queue *q, const struct sy_moe_across *across, enum sy_across_part part);
void sy_cuda_moe_run(struct sy_queue *q, const struct sy_moe_run *run);

/* probe.cu */
double sy_cuda_probe(struct sy_queue *q, enum sy_probe what, const void *buffer, size_t bytes, int rounds);

/* pack.cu */
size_t sy_cuda_panel_bytes(enum sy_dtype dtype, int k);
void sy_cuda_pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                        size_t row_stride, size_t k_stride, void *dst);
}

#endif

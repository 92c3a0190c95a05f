/* SPDX-License-Identifier: Apache-2.0
 * cuda.h - what the CUDA kernels share: the queue, checks of launches, and where an element of a packed matrix lies
 *
 * A queue is a stream. Launches return at once; the first error of a queue is kept in it, later calls do nothing, and
 * queue_sync() tells. Nothing here allocates after queue_create(). Small tables that the host makes for one launch (tiles,
 * pointers) go to the device through a ring of pinned memory: sy_cuda_table().
 *
 * Layout of a matrix. A panel is SY_PANEL outputs, as everywhere. Inputs come in blocks of SY_CUDA_BLOCK, the last one
 * filled up with zeros. A block of a panel is two atoms, of its first and its last 8 outputs; an atom is
 * [pieces][8 outputs][16 bytes]: a piece is 16 bytes of one output's inputs. So every 8 outputs by 16 bytes that a tensor
 * core instruction takes are 128 bytes in one place, which ldmatrix reads from shared memory without conflicts and wgmma
 * takes as they are (no swizzle: leading offset 128 bytes, stride the atom's size), and a tile is a few large copies.
 *   bytes of an atom: SY_F32 2048, 16-bit types 1024, 8-bit types 512, SY_MXFP4 256
 * Scales lie as sy_weight says: [panels][blocks of scale_block inputs][SY_PANEL].
 */
#ifndef SY_KERNELS_CUDA_CUDA_H
#define SY_KERNELS_CUDA_CUDA_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include "kernels.h"
}

#define SY_CUDA_BLOCK 64                   /* inputs of a block */
#define SY_CUDA_ATOM_ROWS 8                /* outputs of an atom */
#define SY_CUDA_TABLE_BYTES ((size_t)4 << 20) /* of the ring of small tables */

struct sy_queue {
    cudaStream_t stream;
    int device, n_sms, major, minor;
    uint8_t *table_host, *table_device; /* [SY_CUDA_TABLE_BYTES] pinned, and its copy */
    size_t table_used;
    void *scratch;                      /* of kernels that split their work, zeroed; SY_CUDA_SCRATCH_BYTES */
    struct sy_error error;              /* the first one */
};

#define SY_CUDA_SCRATCH_BYTES ((size_t)64 << 20)

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

/* Copy a small table of the host's to the device, where it stays until what was launched before the ring comes round is
 * done. Returns its address there, aligned to 256 bytes; NULL after an error. */
void *sy_cuda_table(struct sy_queue *q, const void *table, size_t bytes);

/* Inputs of one piece of 16 bytes. */
__host__ __device__ static inline int sy_cuda_piece(enum sy_dtype dtype)
{
    return dtype == SY_MXFP4                      ? 32
           : dtype == SY_F32                      ? 4
           : dtype == SY_BF16 || dtype == SY_F16 ? 8
                                                  : 16;
}

__host__ __device__ static inline size_t sy_cuda_atom_bytes(enum sy_dtype dtype)
{
    return (size_t)(SY_CUDA_BLOCK / sy_cuda_piece(dtype)) * SY_CUDA_ATOM_ROWS * 16;
}

__host__ __device__ static inline int sy_cuda_blocks(int k)
{
    return (k + SY_CUDA_BLOCK - 1) / SY_CUDA_BLOCK;
}

__host__ __device__ static inline size_t sy_cuda_panel_size(enum sy_dtype dtype, int k)
{
    return (size_t)sy_cuda_blocks(k) * 2 * sy_cuda_atom_bytes(dtype);
}

/* Byte of a packed matrix of k_all inputs where the 16 bytes of output n that have input k begin. */
__host__ __device__ static inline size_t sy_cuda_piece_at(enum sy_dtype dtype, int k_all, int n, int k)
{
    size_t atom = sy_cuda_atom_bytes(dtype), row = (size_t)(n % SY_PANEL);

    return (size_t)(n / SY_PANEL) * sy_cuda_panel_size(dtype, k_all) + (size_t)(k / SY_CUDA_BLOCK) * 2 * atom +
           row / SY_CUDA_ATOM_ROWS * atom + (size_t)(k % SY_CUDA_BLOCK / sy_cuda_piece(dtype)) * 128 +
           row % SY_CUDA_ATOM_ROWS * 16;
}

/* queue.cu */
extern "C" {
void *sy_cuda_alloc(size_t bytes);
void sy_cuda_free(void *buffer, size_t bytes);
void *sy_cuda_alloc_host(size_t bytes);
void sy_cuda_free_host(void *buffer, size_t bytes);
enum sy_status sy_cuda_share_host(void *memory, size_t bytes, struct sy_error *err);
void sy_cuda_unshare_host(void *memory);
void sy_cuda_copy(struct sy_queue *q, void *dst, const void *src, size_t bytes);
void sy_cuda_clear(struct sy_queue *q, void *dst, size_t bytes);
enum sy_status sy_cuda_queue_create(struct sy_pool *pool, struct sy_queue **q, struct sy_error *err);
enum sy_status sy_cuda_queue_sync(struct sy_queue *q, struct sy_error *err);
void sy_cuda_queue_destroy(struct sy_queue *q);

/* pack.c */
size_t sy_cuda_panel_bytes(enum sy_dtype dtype, int k);
void sy_cuda_pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                        size_t row_stride, size_t k_stride, void *dst);
}

#endif

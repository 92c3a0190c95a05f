/* SPDX-License-Identifier: Apache-2.0
 * layout.h - where an element of a matrix that is packed for a GPU lies
 *
 * A panel is SY_PANEL outputs, as everywhere. Inputs come in blocks of SY_CUDA_BLOCK, the last one filled up with zeros. A
 * block of a panel is two atoms, of its first and its last 8 outputs; an atom is [pieces][8 outputs][16 bytes]: a piece is
 * 16 bytes of one output's inputs. So every 8 outputs by 16 bytes that a tensor core instruction takes are 128 bytes in one
 * place, which ldmatrix reads from shared memory without conflicts and wgmma takes as they are (no swizzle: leading offset
 * 128 bytes, stride the atom's size), and a tile is a few large copies.
 *   bytes of an atom: SY_F32 2048, 16-bit types 1024, 8-bit types 512, SY_MXFP4 256
 * Scales lie as sy_weight says: [panels][blocks of scale_block inputs][SY_PANEL].
 *
 * A page of the KV cache is, for each KV head, SY_KV_PAGE keys one after the other, then as many values unless those are in
 * the keys; each is filled up to a multiple of 16 bytes.
 */
#ifndef SY_KERNELS_CUDA_LAYOUT_H
#define SY_KERNELS_CUDA_LAYOUT_H

#include "kernels.h"

#ifdef __CUDACC__
#define SY_CUDA_INLINE __host__ __device__ static inline
#else
#define SY_CUDA_INLINE static inline
#endif

#define SY_CUDA_BLOCK     64 /* inputs of a block */
#define SY_CUDA_ATOM_ROWS 8  /* outputs of an atom */

/* Inputs of one piece of 16 bytes. */
SY_CUDA_INLINE int sy_cuda_piece(enum sy_dtype dtype)
{
    return dtype == SY_MXFP4                      ? 32
           : dtype == SY_F32                      ? 4
           : dtype == SY_BF16 || dtype == SY_F16 ? 8
                                                  : 16;
}

SY_CUDA_INLINE size_t sy_cuda_atom_bytes(enum sy_dtype dtype)
{
    return (size_t)(SY_CUDA_BLOCK / sy_cuda_piece(dtype)) * SY_CUDA_ATOM_ROWS * 16;
}

SY_CUDA_INLINE int sy_cuda_blocks(int k)
{
    return (k + SY_CUDA_BLOCK - 1) / SY_CUDA_BLOCK;
}

SY_CUDA_INLINE size_t sy_cuda_panel_size(enum sy_dtype dtype, int k)
{
    return (size_t)sy_cuda_blocks(k) * 2 * sy_cuda_atom_bytes(dtype);
}

/* Byte of a packed matrix of k_all inputs where the 16 bytes of output n that have input k begin. */
SY_CUDA_INLINE size_t sy_cuda_piece_at(enum sy_dtype dtype, int k_all, int n, int k)
{
    size_t atom = sy_cuda_atom_bytes(dtype), row = (size_t)(n % SY_PANEL);

    return (size_t)(n / SY_PANEL) * sy_cuda_panel_size(dtype, k_all) + (size_t)(k / SY_CUDA_BLOCK) * 2 * atom +
           row / SY_CUDA_ATOM_ROWS * atom + (size_t)(k % SY_CUDA_BLOCK / sy_cuda_piece(dtype)) * 128 +
           row % SY_CUDA_ATOM_ROWS * 16;
}

/* Elements from one key (dim: k_dim) or value (v_dim) to the next. */
SY_CUDA_INLINE size_t sy_cuda_kv_row(enum sy_dtype dtype, int dim)
{
    int unit = dtype == SY_F32 ? 4 : 8;

    return (size_t)((dim + unit - 1) / unit * unit);
}

/* Elements of a head in a page, and where in the page the key or value of a position begins. */
SY_CUDA_INLINE size_t sy_cuda_kv_head(const struct sy_kv_layer *kv)
{
    size_t values = kv->v_in_k ? 0 : sy_cuda_kv_row(kv->dtype, kv->v_dim);

    return SY_KV_PAGE * (sy_cuda_kv_row(kv->dtype, kv->k_dim) + values);
}

SY_CUDA_INLINE size_t sy_cuda_kv_key(const struct sy_kv_layer *kv, int head, int slot)
{
    return (size_t)head * sy_cuda_kv_head(kv) + (size_t)slot * sy_cuda_kv_row(kv->dtype, kv->k_dim);
}

SY_CUDA_INLINE size_t sy_cuda_kv_value(const struct sy_kv_layer *kv, int head, int slot)
{
    if (kv->v_in_k)
        return sy_cuda_kv_key(kv, head, slot);
    return (size_t)head * sy_cuda_kv_head(kv) + SY_KV_PAGE * sy_cuda_kv_row(kv->dtype, kv->k_dim) +
           (size_t)slot * sy_cuda_kv_row(kv->dtype, kv->v_dim);
}

#endif

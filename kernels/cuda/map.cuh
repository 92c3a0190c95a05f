/* SPDX-License-Identifier: Apache-2.0
 * map.cuh - tensor maps: what a copy of a box from memory to shared memory needs to know, on Hopper and later
 */
#ifndef SY_KERNELS_CUDA_MAP_CUH
#define SY_KERNELS_CUDA_MAP_CUH

#include <cuda.h>

#include "cuda/cuda.h"

/* Numbers in memory, BF16 or words of 4 bytes, the first dimension's one after the other. What of a box is outside becomes
 * zero. */
struct sy_cuda_tensor {
    int n_dims;
    uint64_t sizes[5], strides[4]; /* strides: bytes, of all dimensions but the first; multiples of 16 */
    uint32_t box[5];
    bool words;
    bool swizzled; /* in shared memory piece p (16 bytes) of row r is at p ^ r % 8; rows of a box are 128 bytes */
};

/* Whether the driver makes maps. */
bool sy_cuda_can_map(void);

/* False: q has an error. data: a multiple of 16. */
bool sy_cuda_make_map(struct sy_queue *q, CUtensorMap *map, const void *data, const struct sy_cuda_tensor *tensor);

/* The map of an expert's packed BF16 matrix, of which a box is one block of inputs of two panels: dimensions are words of an
 * atom, atoms of a panel, panels and blocks. Where panels alternate, of gate and of up, the panels of a box do too: dimensions
 * are words, panels, atoms and blocks. They are kept in q. */
#define SY_CUDA_MAP_PANELS 2

bool sy_cuda_panel_map(struct sy_queue *q, CUtensorMap *map, const void *data, int n_panels, int k, bool alternate);
void sy_cuda_maps_free(struct sy_queue *q);

#endif

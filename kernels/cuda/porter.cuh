/* SPDX-License-Identifier: Apache-2.0
 * porter.cuh - a stream beside the queues of kernels, on which rows that were brought to the GPU go to their places
 */
#ifndef SY_KERNELS_CUDA_PORTER_CUH
#define SY_KERNELS_CUDA_PORTER_CUH

#include "cuda/cuda.h"

struct sy_courier_link {
    struct sy_queue queue; /* for copy_rows: its stream, and what a launch asks for */
    cudaEvent_t marks[SY_COURIER_MARKS];
    void *comm; /* NCCL's; NULL: none */
};

/* As the functions of struct sy_courier. */
int64_t sy_cuda_porter_device(void);
enum sy_status sy_cuda_porter_open(const struct sy_courier_name *name, int rank, int size,
                                   struct sy_courier_link **link, struct sy_error *err);
enum sy_status sy_cuda_porter_lay(struct sy_courier_link *link, void *to, const uint32_t *rows, const void *from, int n,
                                  size_t row_bytes, struct sy_error *err);
enum sy_status sy_cuda_porter_mark(struct sy_courier_link *link, int which, struct sy_error *err);
enum sy_status sy_cuda_porter_reached(struct sy_courier_link *link, int which, struct sy_error *err);
void sy_cuda_porter_close(struct sy_courier_link *link);

#endif

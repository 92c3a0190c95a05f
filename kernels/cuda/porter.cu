/* SPDX-License-Identifier: Apache-2.0
 * porter.cu - rows that NCCL or MPI has brought to the GPU go to their places
 */
#include "cuda/porter.cuh"

#include <stdlib.h>

static enum sy_status check(cudaError_t code, const char *what, struct sy_error *err)
{
    if (code == cudaSuccess)
        return SY_OK;
    (void)cudaGetLastError();
    return sy_error_set(err, SY_ERR_SYSTEM, "rows to their places: %s: %s", what, cudaGetErrorString(code));
}

int64_t sy_cuda_porter_device(void)
{
    int number = 0;

    return cudaGetDevice(&number) == cudaSuccess ? sy_cuda_pci(number) : -1;
}

void sy_cuda_porter_close(struct sy_courier_link *link)
{
    if (!link)
        return;
    for (int i = 0; i < SY_COURIER_MARKS; i++)
        if (link->marks[i])
            cudaEventDestroy(link->marks[i]);
    if (link->queue.stream)
        cudaStreamDestroy(link->queue.stream);
    free(link);
}

/* A stream that the rows of others do not wait for, when kernels have the GPU. */
static enum sy_status open_stream(struct sy_courier_link *link, struct sy_error *err)
{
    int least, most;
    enum sy_status st = check(cudaGetDevice(&link->queue.device), "finding the GPU", err);

    link->queue.error.rank = -1;
    cudaDeviceGetAttribute(&link->queue.n_sms, cudaDevAttrMultiProcessorCount, link->queue.device);
    if (!st)
        st = check(cudaDeviceGetStreamPriorityRange(&least, &most), "making a stream", err);
    if (!st)
        st = check(cudaStreamCreateWithPriority(&link->queue.stream, cudaStreamNonBlocking, most), "making a stream",
                   err);
    for (int i = 0; i < SY_COURIER_MARKS && !st; i++)
        st = check(cudaEventCreateWithFlags(&link->marks[i], cudaEventDisableTiming), "making an event", err);
    return st;
}

enum sy_status sy_cuda_porter_open(const struct sy_courier_name *name, int rank, int size, struct sy_courier_link **out,
                                   struct sy_error *err)
{
    struct sy_courier_link *link = (struct sy_courier_link *)calloc(1, sizeof *link);

    (void)name;
    (void)rank;
    (void)size;
    if (!link)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for what brings rows to their places");
    enum sy_status st = open_stream(link, err);
    if (st)
        sy_cuda_porter_close(link);
    else
        *out = link;
    return st;
}

enum sy_status sy_cuda_porter_lay(struct sy_courier_link *link, void *to, const uint32_t *rows, const void *from, int n,
                                  size_t row_bytes, struct sy_error *err)
{
    sy_cuda_copy_rows(&link->queue, to, rows, from, NULL, n, row_bytes);
    if (link->queue.error.status && err)
        *err = link->queue.error;
    return link->queue.error.status;
}

enum sy_status sy_cuda_porter_mark(struct sy_courier_link *link, int which, struct sy_error *err)
{
    return check(cudaEventRecord(link->marks[which], link->queue.stream), "marking", err);
}

enum sy_status sy_cuda_porter_reached(struct sy_courier_link *link, int which, struct sy_error *err)
{
    cudaError_t code = cudaEventQuery(link->marks[which]);

    return code == cudaErrorNotReady ? SY_AGAIN : check(code, "waiting", err);
}

const struct sy_courier *sy_cuda_porter(void)
{
    static const struct sy_courier porter = {sy_cuda_porter_device,
                                             NULL,
                                             sy_cuda_porter_open,
                                             NULL,
                                             NULL,
                                             sy_cuda_porter_lay,
                                             sy_cuda_porter_mark,
                                             sy_cuda_porter_reached,
                                             sy_cuda_porter_close,
                                             sy_cuda_alloc,
                                             sy_cuda_free,
                                             sy_cuda_alloc_host,
                                             sy_cuda_free_host,
                                             SY_MEMORY_CUDA};

    return &porter;
}

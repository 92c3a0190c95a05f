/* SPDX-License-Identifier: Apache-2.0
 * across_words.cu - to tell other ranks, and to wait for what they say
 */
#include <cuda.h>
#include <string.h>

#include "cuda/across.cuh"

typedef CUresult (*memory_ops)(CUstream, unsigned, CUstreamBatchMemOpParams *, unsigned);

static memory_ops find_memory_ops(void)
{
    static memory_ops found;

    if (!found)
        found = (memory_ops)sy_cuda_driver("cuStreamBatchMemOp");
    return found;
}

static void run_ops(struct sy_queue *q, cudaStream_t stream, CUstreamBatchMemOpParams *ops, int n)
{
    memory_ops run = find_memory_ops();

    if (sy_cuda_works(q) && (!run || run((CUstream)stream, (unsigned)n, ops, 0) != CUDA_SUCCESS))
        sy_error_set(&q->error, SY_ERR_SYSTEM, "GPU %d: its stream cannot wait for other ranks", q->device);
}

/* A rank's words of a piece, [R], as the host has their addresses. */
static uint32_t *words_of(const struct sy_moe_across *given, const struct sy_moe_window *window, enum sy_moe_news news,
                          int piece)
{
    return window->arrived + (news * given->pieces_most + piece) * given->n_ranks;
}

void sy_cuda_stream_wait(struct sy_queue *q, const struct sy_moe_across *given, enum sy_moe_news news, int piece)
{
    CUstreamBatchMemOpParams ops[SY_ACROSS_RANKS_MAX];

    memset(ops, 0, sizeof ops);
    for (int i = 0; i < given->n_ranks; i++) {
        ops[i].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
        ops[i].waitValue.address = (CUdeviceptr)(words_of(given, &given->own, news, piece) + i);
        ops[i].waitValue.value = 1;
        ops[i].waitValue.flags = CU_STREAM_WAIT_VALUE_EQ;
    }
    run_ops(q, q->stream, ops, given->n_ranks);
}

void sy_cuda_tell_beside(struct sy_queue *q, const struct sy_moe_across *given, int p)
{
    CUstreamBatchMemOpParams op;

    memset(&op, 0, sizeof op);
    op.writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    op.writeValue.address = (CUdeviceptr)(words_of(given, &given->peers[p], SY_NEWS_ROWS, given->piece) + given->rank);
    op.writeValue.value = 1;
    run_ops(q, q->beside, &op, 1);
}

/* Until all have; of results their words are free again. A thread for each rank. */
static __global__ void wait_kernel(const struct sy_across a, enum sy_moe_news news)
{
    int r = (int)threadIdx.x;

    sy_begin();
    if (r < a.R)
        sy_await(a, news, r);
    /* Whoever looks for a rank that is missing finds this one's own word set. */
    __syncthreads();
    if (r < a.R && news == SY_NEWS_RESULTS)
        *sy_word_of(a, a.rank, news, r) = 0;
}

void sy_cuda_wait_for(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a,
                      enum sy_moe_news news)
{
    if (!given->alone)
        sy_cuda_stream_wait(q, given, news, a->piece);
    sy_launch(q, "waiting for other ranks", wait_kernel, 1, SY_ACROSS_RANKS_MAX, 0, *a, news);
}

/* Results are stored by the kernel before, and nothing here asks any more for what a rank sent, which it may send anew when it
 * has been told. */
static __global__ void tell_kernel(const struct sy_across a)
{
    int r = (int)threadIdx.x;

    sy_begin();
    if (r >= a.R)
        return;
    *sy_word_of(a, a.rank, SY_NEWS_ROWS, r) = 0;
    *sy_word_of(a, a.rank, SY_NEWS_CHOICES, r) = 0;
    sy_tell(a, r, SY_NEWS_RESULTS);
}

void sy_cuda_tell_results(struct sy_queue *q, const struct sy_across *a)
{
    sy_launch(q, "results of other ranks", tell_kernel, 1, SY_ACROSS_RANKS_MAX, 0, *a);
}

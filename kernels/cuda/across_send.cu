/* SPDX-License-Identifier: Apache-2.0
 * across_send.cu - rows to the ranks that have their experts, and what they are for
 */
#include "cuda/across.cuh"

/* Eight numbers of this rank's rows. */
static __device__ __forceinline__ uint4 piece(const struct sy_across &a, size_t at)
{
    if (a.rows)
        return *(const uint4 *)(a.rows + at);
    const float4 *h = (const float4 *)(a.h + at);
    float4 f = h[0], g = h[1];
    return make_uint4(sy_narrow_bf16(f.x) | (uint32_t)sy_narrow_bf16(f.y) << 16,
                      sy_narrow_bf16(f.z) | (uint32_t)sy_narrow_bf16(f.w) << 16,
                      sy_narrow_bf16(g.x) | (uint32_t)sy_narrow_bf16(g.y) << 16,
                      sy_narrow_bf16(g.z) | (uint32_t)sy_narrow_bf16(g.w) << 16);
}

/* Where the experts of token t are. Returns the ranks as bits. */
static __device__ unsigned long long find_homes(const struct sy_across &a, int t, int *home, int *slot)
{
    __shared__ unsigned long long targets;
    int i = (int)threadIdx.x;

    if (i == 0)
        targets = 0;
    __syncthreads();
    if (i < a.K) {
        const int32_t *at = a.homes + 2 * a.ids[t * a.K + i];
        home[i] = at[0];
        slot[i] = at[1];
        atomicOr(&targets, 1ull << at[0]);
    }
    __syncthreads();
    return targets;
}

/* Of token t, which `n_rows` other ranks get; by one thread. */
static __device__ void count_sent(const struct sy_across &a, const int *home, int n_rows)
{
    int n_results = 0;

    if (!a.counts)
        return;
    for (int k = 0; k < a.K; k++)
        n_results += home[k] != a.rank;
    atomicAdd(&a.counts[2], (unsigned long long)n_rows);
    atomicAdd(&a.counts[3], (unsigned long long)n_results);
}

static __device__ __forceinline__ size_t row_of(const struct sy_across &a, int t)
{
    return (size_t)(a.rank * a.rows_each + a.first + t);
}

static __device__ void send_token(const struct sy_across &a, int t)
{
    __shared__ int home[SY_ACROSS_CHOICES_MAX], slot[SY_ACROSS_CHOICES_MAX];
    unsigned long long targets = find_homes(a, t, home, slot);

    for (int j = (int)threadIdx.x; j < a.R * a.K; j += SY_ACROSS_THREADS) {
        int p = j / a.K, k = j % a.K;
        a.windows[p].slots[row_of(a, t) * (size_t)a.K + (size_t)k] = home[k] == p ? slot[k] : -1;
    }
    if (threadIdx.x == 0)
        count_sent(a, home, __popcll(targets & ~(1ull << a.rank)));
    size_t row = row_of(a, t) * (size_t)a.D;
    for (int d = (int)threadIdx.x * 8; d < a.D; d += SY_ACROSS_THREADS * 8) {
        uint4 narrow = piece(a, (size_t)t * (size_t)a.D + (size_t)d);
        for (unsigned long long left = targets; left; left &= left - 1)
            *(uint4 *)((uint16_t *)a.windows[__ffsll((long long)left) - 1].rows + row + (size_t)d) = narrow;
    }
}

/* The last block says at all ranks what is there. */
static __device__ void say_sent(const struct sy_across &a, enum sy_moe_news news)
{
    if (!sy_comes_last(a.counter, gridDim.x) || (int)threadIdx.x >= a.R)
        return;
    a.windows[threadIdx.x].n_tokens[a.piece * a.R + a.rank] = a.T;
    sy_tell(a, (int)threadIdx.x, news);
}

static __global__ void __launch_bounds__(SY_ACROSS_THREADS) send_kernel(const struct sy_across a)
{
    sy_begin();
    if ((int)blockIdx.x < a.T)
        send_token(a, (int)blockIdx.x);
    say_sent(a, SY_NEWS_ROWS);
}

/* Rows to this rank's own window, or to all, which the last block says. */
template <bool ALL>
static __global__ void __launch_bounds__(SY_ACROSS_THREADS, SY_ORDER_EACH + 1) ahead_kernel(const struct sy_across a)
{
    size_t n = (size_t)a.T * (size_t)a.D, row = row_of(a, 0) * (size_t)a.D,
           step = (size_t)gridDim.x * SY_ACROSS_THREADS * 8;
    int begin = ALL ? 0 : a.rank, end = ALL ? a.R : a.rank + 1;
    /* Several at once, for blocks are few; where they go to others the links are what takes time. */
    constexpr int AT_ONCE = ALL ? 1 : 4;

    for (size_t i = ((size_t)blockIdx.x * SY_ACROSS_THREADS + threadIdx.x) * 8; i < n; i += AT_ONCE * step) {
        uint4 narrow[AT_ONCE];
#pragma unroll
        for (int j = 0; j < AT_ONCE; j++)
            if (i + (size_t)j * step < n)
                narrow[j] = piece(a, i + (size_t)j * step);
        for (int p = begin; p < end; p++) {
            uint16_t *rows = (uint16_t *)a.windows[p].rows + row + i;
#pragma unroll
            for (int j = 0; j < AT_ONCE; j++)
                if (i + (size_t)j * step < n)
                    __stcg((uint4 *)(rows + (size_t)j * step), narrow[j]); /* an assignment becomes four stores */
        }
    }
    if (ALL && sy_comes_last(a.counter_ahead, gridDim.x) && (int)threadIdx.x < a.R)
        sy_tell(a, (int)threadIdx.x, SY_NEWS_ROWS);
}

/* What they are for. */
static __global__ void __launch_bounds__(SY_ACROSS_THREADS) choices_kernel(const struct sy_across a)
{
    int i = (int)(blockIdx.x * SY_ACROSS_THREADS + threadIdx.x);
    bool mine = i < a.T * a.K;

    sy_begin();
    const int32_t *home = a.homes + 2 * (mine ? a.ids[i] : 0);
    for (int p = 0; p < a.R && mine; p++)
        a.windows[p].slots[row_of(a, 0) * (size_t)a.K + (size_t)i] = home[0] == p ? home[1] : -1;
    int elsewhere = __syncthreads_count(mine && home[0] != a.rank);
    if (threadIdx.x == 0 && a.counts) {
        atomicAdd(&a.counts[3], (unsigned long long)elsewhere);
        if (blockIdx.x == 0)
            atomicAdd(&a.counts[2], (unsigned long long)a.T * (unsigned long long)(a.R - 1));
    }
    say_sent(a, SY_NEWS_CHOICES);
}

/* From this rank's own window; in step i every rank sends to the i-th after it, so that none gets from two at once. */
static void copy_ahead(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    size_t bytes = (size_t)a->D * sizeof(uint16_t), at = (size_t)(a->rank * a->rows_each + a->first) * bytes;

    for (int i = 0; i < a->R; i++) {
        int p = (a->rank + i) % a->R;
        if (i && a->T &&
            !sy_cuda_check(q,
                           cudaMemcpyAsync((uint8_t *)given->peers[p].rows + at, (uint8_t *)given->own.rows + at,
                                           (size_t)a->T * bytes, cudaMemcpyDefault, q->beside),
                           "rows to other ranks"))
            return;
        sy_cuda_tell_beside(q, given, p);
    }
}

void sy_cuda_rows_ahead(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a)
{
    const void *kernels[] = {(const void *)ahead_kernel<false>, (const void *)ahead_kernel<true>};

    SY_RANGE("dispatch");
    /* A multiprocessor divides its memory anew only when it is idle, and the router's kernels want much of it shared. */
    for (const void *kernel : kernels)
        if (!sy_cuda_check(q,
                           cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                                cudaSharedmemCarveoutMaxShared),
                           "rows to other ranks"))
            return;
    if (!sy_cuda_check(q, cudaEventRecord(q->fork, q->stream), "rows to other ranks") ||
        !sy_cuda_check(q, cudaStreamWaitEvent(q->beside, q->fork, 0), "rows to other ranks"))
        return;
    if (a->copied) {
        ahead_kernel<false><<<(unsigned)q->n_sms, SY_ACROSS_THREADS, 0, q->beside>>>(*a);
        copy_ahead(q, given, a);
    } else {
        ahead_kernel<true><<<(unsigned)q->n_sms, SY_ACROSS_THREADS, 0, q->beside>>>(*a);
    }
    sy_cuda_launched(q, "rows to other ranks");
}

void sy_cuda_rows_send(struct sy_queue *q, const struct sy_across *a)
{
    SY_RANGE("dispatch");
    if (!a->ahead) {
        sy_launch(q, "rows to other ranks", send_kernel, (unsigned)(a->T ? a->T : 1), SY_ACROSS_THREADS, 0, *a);
        return;
    }
    unsigned n_blocks = (unsigned)(a->T * a->K) / SY_ACROSS_THREADS + 1;
    if (!q->recording) {
        sy_launch(q, "choices of rows", choices_kernel, n_blocks, SY_ACROSS_THREADS, 0, *a);
        return;
    }
    /* Branches of a graph need not run beside each other: there nothing waits for words before this rank's rows are gone. */
    if (!sy_cuda_check(q, cudaEventRecord(q->join, q->beside), "rows to other ranks") ||
        !sy_cuda_check(q, cudaStreamWaitEvent(q->stream, q->join, 0), "rows to other ranks"))
        return;
    choices_kernel<<<n_blocks, SY_ACROSS_THREADS, 0, q->stream>>>(*a);
    sy_cuda_launched(q, "choices of rows");
}

/* SPDX-License-Identifier: Apache-2.0
 * probe.cu - what the GPU reads and computes at most
 */
#include "cuda/hopper.cuh"
#include "cuda/mma.cuh"

#define THREADS 256
#define BLOCKS  8    /* of an SM */
#define LOOPS   1024 /* of a thread in a round */

/* Of wgmma: two warpgroups to a multiprocessor, each with 64 outputs by 256 rows over 64 inputs of its own. */
#define WGMMA_N     256
#define WGMMA_GROUP ((64 + WGMMA_N) * 128)
#define WGMMA_BYTES (THREADS / 128 * WGMMA_GROUP)

static __global__ void read_kernel(const uint4 *buffer, size_t n, uint32_t *sink)
{
    uint32_t all = 0;

    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < n; i += (size_t)gridDim.x * THREADS) {
        const uint4 u = __ldcs(buffer + i);
        all |= u.x ^ u.y ^ u.z ^ u.w;
    }
    /* Never, but the compiler cannot know. */
    if (all == 0x9e3779b9u)
        *sink = all;
}

static __global__ void fp32_kernel(float *sink)
{
    float sums[16], x = 1.0f - 1e-7f * (float)threadIdx.x;

    for (int j = 0; j < 16; j++)
        sums[j] = (float)j;
    for (int i = 0; i < LOOPS; i++)
#pragma unroll
        for (int j = 0; j < 16; j++)
            sums[j] = __fmaf_rn(sums[j], x, 1e-3f);
    float all = 0.0f;
    for (int j = 0; j < 16; j++)
        all += sums[j];
    if (all == 12345.678f)
        *sink = all;
}

static __global__ void bf16_kernel(float *sink)
{
    uint32_t a[4], b = 0x3f803f80u + threadIdx.x;
    float sums[8][4] = {};

    for (int j = 0; j < 4; j++)
        a[j] = 0x3f013f81u * (uint32_t)(j + 1);
    for (int i = 0; i < LOOPS; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            sy_mma(sums[j], a, b, b + (uint32_t)j);
    float all = 0.0f;
    for (int j = 0; j < 8; j++)
        all += sums[j][0] + sums[j][3];
    if (all == 12345.678f)
        *sink = all;
}

/* Numbers of all signs and fractions: tensor cores get slower with the bits that change in them. */
static __global__ void __launch_bounds__(THREADS, 1) wgmma_kernel(float *sink)
{
#if SY_HAVE_WGMMA
    extern __shared__ __align__(1024) uint8_t operands[];
    float sums[WGMMA_N / 2] = {};

    for (uint32_t i = threadIdx.x; i < WGMMA_BYTES / 4; i += THREADS) {
        uint32_t bits = (i + 1) * 0x9e3779b9u;
        ((uint32_t *)operands)[i] = ((bits ^ bits >> 15) & 0x807f807fu) | 0x3f003f00u;
    }
    __syncthreads();
    sy_fence_proxy();
    uint32_t at = sy_shared(operands) + threadIdx.x / 128 * WGMMA_GROUP;
    uint64_t weights = sy_operand_atoms(at + WGMMA_N * 128, 1024), rows = sy_operand_swizzled(at);
    for (int i = 0; i < LOOPS; i++) {
        sy_wgmma_begin();
#pragma unroll
        for (int step = 0; step < 4; step++)
            sy_wgmma<WGMMA_N>::run(sums, weights + (uint64_t)(step * 16), rows + (uint64_t)(step * 2), 1);
        sy_wgmma_commit();
        sy_wgmma_wait<1>();
    }
    sy_wgmma_wait<0>();
    float all = 0.0f;
#pragma unroll
    for (int j = 0; j < WGMMA_N / 2; j++) {
        asm volatile("" : "+f"(sums[j])::"memory");
        all += sums[j];
    }
    if (all == 12345.678f)
        *sink = all;
#endif
}

static __global__ void int8_kernel(int32_t *sink)
{
    uint32_t a = 0x01020304u + threadIdx.x, b = 0x05060708u;
    int32_t sums[8][4] = {};

    for (int i = 0; i < LOOPS; i++)
#pragma unroll
        for (int j = 0; j < 8; j++)
            asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %4, %4, %4}, "
                         "{%5, %5}, {%0, %1, %2, %3};"
                         : "+r"(sums[j][0]), "+r"(sums[j][1]), "+r"(sums[j][2]), "+r"(sums[j][3])
                         : "r"(a), "r"(b + (uint32_t)j));
    int32_t all = 0;
    for (int j = 0; j < 8; j++)
        all += sums[j][0] ^ sums[j][3];
    if (all == 123456789)
        *sink = all;
}

/* What one round of BF16 does, by the instruction that products of this GPU have. */
static double bf16_round(struct sy_queue *q, unsigned n_blocks)
{
    if (!q->wgmma) {
        bf16_kernel<<<n_blocks, THREADS, 0, q->stream>>>((float *)q->scratch);
        return (double)n_blocks * (THREADS / 32) * LOOPS * 8 * (16 * 8 * 16 * 2);
    }
    cudaError_t code = cudaFuncSetAttribute(wgmma_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, WGMMA_BYTES);
    if (!sy_cuda_check(q, code, "shared memory of a probe"))
        return 0.0;
    wgmma_kernel<<<(unsigned)q->n_sms, THREADS, WGMMA_BYTES, q->stream>>>((float *)q->scratch);
    return (double)q->n_sms * (THREADS / 128) * LOOPS * 4 * (64.0 * WGMMA_N * 16 * 2);
}

double sy_cuda_probe(struct sy_queue *q, enum sy_probe what, const void *buffer, size_t bytes, int rounds)
{
    unsigned n_blocks = (unsigned)(q->n_sms * BLOCKS);
    double threads = (double)n_blocks * THREADS, done = 0.0;

    for (int i = 0; i < rounds && sy_cuda_works(q); i++) {
        switch (what) {
        case SY_PROBE_READ:
            read_kernel<<<n_blocks, THREADS, 0, q->stream>>>((const uint4 *)buffer, bytes / 16, (uint32_t *)q->scratch);
            done += (double)bytes;
            break;
        case SY_PROBE_FP32:
            fp32_kernel<<<n_blocks, THREADS, 0, q->stream>>>((float *)q->scratch);
            done += threads * LOOPS * 16 * 2;
            break;
        case SY_PROBE_BF16:
            done += bf16_round(q, n_blocks);
            break;
        default:
            int8_kernel<<<n_blocks, THREADS, 0, q->stream>>>((int32_t *)q->scratch);
            done += threads / 32 * LOOPS * 8 * (16 * 8 * 32 * 2);
            break;
        }
        sy_cuda_launched(q, "a probe");
    }
    (void)sy_cuda_queue_sync(q, NULL);
    return done;
}

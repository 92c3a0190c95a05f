/* SPDX-License-Identifier: Apache-2.0
 * hopper.cuh - what sm_90a has and C has not: barriers in shared memory, bulk copies, and products of a warpgroup
 *
 * A warpgroup (4 warps, the first a multiple of 4) multiplies 64 outputs of a matrix by N rows of activations: weights are
 * always the operand of 64, rows the other one, so that a row's sums come from the same instructions whatever N is.
 */
#ifndef SY_KERNELS_CUDA_HOPPER_CUH
#define SY_KERNELS_CUDA_HOPPER_CUH

#include <stdint.h>

/* Compiled for a GPU of this kind alone; elsewhere these kernels have no body. */
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define SY_HAVE_WGMMA 1
#else
#define SY_HAVE_WGMMA 0
#endif

#if SY_HAVE_WGMMA

__device__ __forceinline__ uint32_t sy_shared(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* ---- barriers ---- */

__device__ __forceinline__ void sy_barrier_init(uint64_t *barrier, int count)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sy_shared(barrier)), "r"(count) : "memory");
}

/* Barriers that were made before it are there for all blocks of the cluster that this one meets after it. */
__device__ __forceinline__ void sy_fence_barriers(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void sy_barrier_arrive(uint64_t *barrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sy_shared(barrier)) : "memory");
}

/* Arrive, and let `bytes` of bulk copies come before the barrier opens. */
__device__ __forceinline__ void sy_barrier_expect(uint64_t *barrier, uint32_t bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sy_shared(barrier)), "r"(bytes)
                 : "memory");
}

/* Arrive when all of this thread's cp.async so far are done; counts as one of the barrier's. */
__device__ __forceinline__ void sy_barrier_arrive_copies(uint64_t *barrier)
{
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(sy_shared(barrier)) : "memory");
}

/* At most, of sleep: a thread that looks again and again takes others' turns and power. */
#define SY_BARRIER_NS 10000000

#define SY_ARRIVE_AT(barrier, rank, semantics)                                    \
    asm volatile("{\n"                                                            \
                 ".reg .b32 there;\n"                                             \
                 "mapa.shared::cluster.u32 there, %0, %1;\n"                      \
                 "mbarrier.arrive" semantics ".shared::cluster.b64 _, [there];\n" \
                 "}" ::"r"(sy_shared(barrier)),                                   \
                 "r"(rank)                                                        \
                 : "memory")

#define SY_WAIT(barrier, parity, semantics)                                                    \
    asm volatile("{\n"                                                                         \
                 ".reg .pred done;\n"                                                          \
                 "again:\n"                                                                    \
                 "mbarrier.try_wait.parity" semantics ".shared::cta.b64 done, [%0], %1, %2;\n" \
                 "@done bra over;\n"                                                           \
                 "bra again;\n"                                                                \
                 "over:\n"                                                                     \
                 "}" ::"r"(sy_shared(barrier)),                                                \
                 "r"(parity), "r"(SY_BARRIER_NS)                                               \
                 : "memory")

/* Arrive at the barrier that is in the same place in block `rank` of the cluster. */
__device__ __forceinline__ void sy_barrier_arrive_at(uint64_t *barrier, int rank)
{
    SY_ARRIVE_AT(barrier, rank, "");
}

/* Until the barrier's phase of this parity is over. */
__device__ __forceinline__ void sy_barrier_wait(uint64_t *barrier, uint32_t parity)
{
    SY_WAIT(barrier, parity, "");
}

/* The same; and what threads of other blocks of the cluster did before they arrived is seen. */
__device__ __forceinline__ void sy_barrier_release_at(uint64_t *barrier, int rank)
{
    SY_ARRIVE_AT(barrier, rank, ".release.cluster");
}

__device__ __forceinline__ void sy_barrier_wait_cluster(uint64_t *barrier, uint32_t parity)
{
    SY_WAIT(barrier, parity, ".acquire.cluster");
}

#undef SY_ARRIVE_AT
#undef SY_WAIT

/* Store a number in block `rank` of the cluster, in the place that `to` has in this one. */
__device__ __forceinline__ void sy_store_at(int *to, int value, int rank)
{
    asm volatile("{\n"
                 ".reg .b32 there;\n"
                 "mapa.shared::cluster.u32 there, %0, %2;\n"
                 "st.shared::cluster.b32 [there], %1;\n"
                 "}" ::"r"(sy_shared(to)),
                 "r"(value), "r"(rank)
                 : "memory");
}

/* Threads of some warps wait for each other; number 0 is __syncthreads()'s. */
__device__ __forceinline__ void sy_sync_some(int number, int n_threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(n_threads) : "memory");
}

/* As sy_sync_some(); whether `mine` holds for all of them. */
__device__ __forceinline__ bool sy_sync_all(int number, int n_threads, bool mine)
{
    int all;

    asm volatile("{\n"
                 ".reg .pred mine, all;\n"
                 "setp.ne.b32 mine, %3, 0;\n"
                 "barrier.cta.red.and.pred all, %1, %2, mine;\n"
                 "selp.b32 %0, 1, 0, all;\n"
                 "}"
                 : "=r"(all)
                 : "r"(number), "r"(n_threads), "r"((int)mine)
                 : "memory");
    return all;
}

/* Stores to shared memory before it are seen by the tensor cores and bulk copies after it. */
__device__ __forceinline__ void sy_fence_proxy(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* The same of stores to all memory, also those that another thread was told of. */
__device__ __forceinline__ void sy_fence_proxy_all(void)
{
    asm volatile("fence.proxy.async;" ::: "memory");
}

/* ---- blocks of a grid ---- */

/* What this thread did or was told of is seen by whoever sees the sum. */
__device__ __forceinline__ void sy_add_release(uint32_t *to, uint32_t n)
{
    asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(to), "r"(n) : "memory");
}

__device__ __forceinline__ uint32_t sy_load_acquire(const uint32_t *from)
{
    uint32_t value;

    asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(from) : "memory");
    return value;
}

/* ---- blocks of a cluster ---- */

__device__ __forceinline__ int sy_cluster_rank(void)
{
    int rank;

    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}

__device__ __forceinline__ void sy_cluster_sync(void)
{
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

/* ---- copies to shared memory ---- */

/* A box of a tensor of 2, 4 or 5 dimensions (map.cuh), by its first element's place. */
__device__ __forceinline__ void sy_load_box(uint32_t dst, const void *map, uint64_t *barrier, int c0, int c1)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
                 "%4}], [%2];" ::"r"(dst),
                 "l"(map), "r"(sy_shared(barrier)), "r"(c0), "r"(c1)
                 : "memory");
}

__device__ __forceinline__ void sy_load_box(uint32_t dst, const void *map, uint64_t *barrier, int c0, int c1, int c2,
                                            int c3)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
                 "%5, %6}], [%2];" ::"r"(dst),
                 "l"(map), "r"(sy_shared(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3)
                 : "memory");
}

__device__ __forceinline__ void sy_load_box(uint32_t dst, const void *map, uint64_t *barrier, int c0, int c1, int c2,
                                            int c3, int c4)
{
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, "
                 "%5, %6, %7}], [%2];" ::"r"(dst),
                 "l"(map), "r"(sy_shared(barrier)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
                 : "memory");
}

/* A box to the same place in all blocks of the cluster that `blocks` has bits of; each one's barrier counts its bytes. */
__device__ __forceinline__ void sy_load_box_to_all(uint32_t dst, const void *map, uint64_t *barrier, int c0, int c1,
                                                   uint16_t blocks)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%3, %4}], [%2], %5;" ::"r"(dst),
                 "l"(map), "r"(sy_shared(barrier)), "r"(c0), "r"(c1), "h"(blocks)
                 : "memory");
}

/* Let what was written to a map in memory be seen by copies after it. */
__device__ __forceinline__ void sy_fence_map(const void *map)
{
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

/* ---- kernels that follow one another ---- */

/* What kernels before this one wrote may be read from here on. */
__device__ __forceinline__ void sy_wait_for_previous(void)
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

/* The next kernel's blocks may start where there is room. */
__device__ __forceinline__ void sy_let_next_start(void)
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* ---- products ---- */

__device__ __forceinline__ void sy_wgmma_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void sy_wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

template <int N_GROUPS> __device__ __forceinline__ void sy_wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N_GROUPS) : "memory");
}

/* Operands in shared memory with inputs together: atoms of layout.h (8 outputs by 64 inputs, unswizzled), `stride` bytes from
 * one to the next; and rows of 128 bytes whose pieces of 16 are swizzled (piece p of row r is at p ^ r % 8), 8 rows to 1024
 * bytes. Addresses have the block's number in its cluster in their high bits, descriptors have no place for it. */
#define SY_OPERAND_AT 0x3ffffu

__device__ __forceinline__ uint64_t sy_operand_atoms(uint32_t at, uint32_t stride)
{
    return (uint64_t)((at & SY_OPERAND_AT) >> 4) | (uint64_t)(128 >> 4) << 16 | (uint64_t)(stride >> 4) << 32;
}

__device__ __forceinline__ uint64_t sy_operand_swizzled(uint32_t at)
{
    return (uint64_t)((at & SY_OPERAND_AT) >> 4) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

/* sums (+)= 64 outputs by N rows over 16 inputs. Thread t of the warpgroup holds of output 16 (t / 32) + t % 32 / 4 and of
 * that plus 8: sums[4 i], [4 i + 1] and sums[4 i + 2], [4 i + 3] of rows 8 i + 2 (t % 4) and the next. There may be more. */
template <int N> struct sy_wgmma;

/* The registers of N = 8 n rows, as the instruction names them and as operands. */
#define SY_FOUR(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SY_R1      "%0, %1, %2, %3"
#define SY_R2      SY_R1 ", %4, %5, %6, %7"
#define SY_R3      SY_R2 ", %8, %9, %10, %11"
#define SY_R4      SY_R3 ", %12, %13, %14, %15"
#define SY_R5      SY_R4 ", %16, %17, %18, %19"
#define SY_R6      SY_R5 ", %20, %21, %22, %23"
#define SY_R7      SY_R6 ", %24, %25, %26, %27"
#define SY_R8      SY_R7 ", %28, %29, %30, %31"
#define SY_R9      SY_R8 ", %32, %33, %34, %35"
#define SY_R10     SY_R9 ", %36, %37, %38, %39"
#define SY_R11     SY_R10 ", %40, %41, %42, %43"
#define SY_R12     SY_R11 ", %44, %45, %46, %47"
#define SY_R13     SY_R12 ", %48, %49, %50, %51"
#define SY_R14     SY_R13 ", %52, %53, %54, %55"
#define SY_R15     SY_R14 ", %56, %57, %58, %59"
#define SY_R16     SY_R15 ", %60, %61, %62, %63"
#define SY_R17     SY_R16 ", %64, %65, %66, %67"
#define SY_R18     SY_R17 ", %68, %69, %70, %71"
#define SY_R19     SY_R18 ", %72, %73, %74, %75"
#define SY_R20     SY_R19 ", %76, %77, %78, %79"
#define SY_R21     SY_R20 ", %80, %81, %82, %83"
#define SY_R22     SY_R21 ", %84, %85, %86, %87"
#define SY_R23     SY_R22 ", %88, %89, %90, %91"
#define SY_R24     SY_R23 ", %92, %93, %94, %95"
#define SY_R25     SY_R24 ", %96, %97, %98, %99"
#define SY_R26     SY_R25 ", %100, %101, %102, %103"
#define SY_R27     SY_R26 ", %104, %105, %106, %107"
#define SY_R28     SY_R27 ", %108, %109, %110, %111"
#define SY_R29     SY_R28 ", %112, %113, %114, %115"
#define SY_R30     SY_R29 ", %116, %117, %118, %119"
#define SY_R31     SY_R30 ", %120, %121, %122, %123"
#define SY_R32     SY_R31 ", %124, %125, %126, %127"
#define SY_D1      SY_FOUR(0)
#define SY_D2      SY_D1, SY_FOUR(4)
#define SY_D3      SY_D2, SY_FOUR(8)
#define SY_D4      SY_D3, SY_FOUR(12)
#define SY_D5      SY_D4, SY_FOUR(16)
#define SY_D6      SY_D5, SY_FOUR(20)
#define SY_D7      SY_D6, SY_FOUR(24)
#define SY_D8      SY_D7, SY_FOUR(28)
#define SY_D9      SY_D8, SY_FOUR(32)
#define SY_D10     SY_D9, SY_FOUR(36)
#define SY_D11     SY_D10, SY_FOUR(40)
#define SY_D12     SY_D11, SY_FOUR(44)
#define SY_D13     SY_D12, SY_FOUR(48)
#define SY_D14     SY_D13, SY_FOUR(52)
#define SY_D15     SY_D14, SY_FOUR(56)
#define SY_D16     SY_D15, SY_FOUR(60)
#define SY_D17     SY_D16, SY_FOUR(64)
#define SY_D18     SY_D17, SY_FOUR(68)
#define SY_D19     SY_D18, SY_FOUR(72)
#define SY_D20     SY_D19, SY_FOUR(76)
#define SY_D21     SY_D20, SY_FOUR(80)
#define SY_D22     SY_D21, SY_FOUR(84)
#define SY_D23     SY_D22, SY_FOUR(88)
#define SY_D24     SY_D23, SY_FOUR(92)
#define SY_D25     SY_D24, SY_FOUR(96)
#define SY_D26     SY_D25, SY_FOUR(100)
#define SY_D27     SY_D26, SY_FOUR(104)
#define SY_D28     SY_D27, SY_FOUR(108)
#define SY_D29     SY_D28, SY_FOUR(112)
#define SY_D30     SY_D29, SY_FOUR(116)
#define SY_D31     SY_D30, SY_FOUR(120)
#define SY_D32     SY_D31, SY_FOUR(124)
#define SY_WGMMA(n, N, A, B, ADD)                                                                                   \
    template <> struct sy_wgmma<N> {                                                                                \
        template <int N_SUMS>                                                                                       \
        static __device__ __forceinline__ void run(float (&d)[N_SUMS], uint64_t a, uint64_t b, int add)             \
        {                                                                                                           \
            static_assert(N_SUMS >= N / 2, "sums of all rows");                                                     \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #ADD ", 0;\n"                                         \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" SY_R##n "}, %" #A ", %" #B    \
                                                                                              ", p, 1, 1, 0, 0;\n}" \
                         : SY_D##n                                                                                  \
                         : "l"(a), "l"(b), "r"(add));                                                               \
        }                                                                                                           \
    };

SY_WGMMA(1, 8, 4, 5, 6)
SY_WGMMA(2, 16, 8, 9, 10)
SY_WGMMA(4, 32, 16, 17, 18)
SY_WGMMA(6, 48, 24, 25, 26)
SY_WGMMA(8, 64, 32, 33, 34)
SY_WGMMA(10, 80, 40, 41, 42)
SY_WGMMA(12, 96, 48, 49, 50)
SY_WGMMA(14, 112, 56, 57, 58)
SY_WGMMA(16, 128, 64, 65, 66)
SY_WGMMA(18, 144, 72, 73, 74)
SY_WGMMA(20, 160, 80, 81, 82)
SY_WGMMA(22, 176, 88, 89, 90)
SY_WGMMA(24, 192, 96, 97, 98)
SY_WGMMA(26, 208, 104, 105, 106)
SY_WGMMA(28, 224, 112, 113, 114)
SY_WGMMA(30, 240, 120, 121, 122)
SY_WGMMA(32, 256, 128, 129, 130)

#undef SY_WGMMA

#endif
#endif

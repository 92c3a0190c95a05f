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

/* Until the barrier's phase of this parity is over. */
__device__ __forceinline__ void sy_barrier_wait(uint64_t *barrier, uint32_t parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra over;\n"
                 "bra again;\n"
                 "over:\n"
                 "}" ::"r"(sy_shared(barrier)),
                 "r"(parity)
                 : "memory");
}

/* Threads of some warps wait for each other; number 0 is __syncthreads()'s. */
__device__ __forceinline__ void sy_sync_some(int number, int n_threads)
{
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(n_threads) : "memory");
}

/* Stores to shared memory before it are seen by the tensor cores and bulk copies after it. */
__device__ __forceinline__ void sy_fence_proxy(void)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
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
 * that plus 8: sums[4 i], [4 i + 1] and sums[4 i + 2], [4 i + 3] of rows 8 i + 2 (t % 4) and the next. */
template <int N> struct sy_wgmma;

#define SY_R0     "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define SY_R1     "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SY_R2     "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define SY_R3     "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SY_R4     "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define SY_R5     "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define SY_R6     "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111"
#define SY_R7     "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define SY_D4(i)  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define SY_D16(i) SY_D4(i), SY_D4(i + 4), SY_D4(i + 8), SY_D4(i + 12)
#define SY_WGMMA(N, REGISTERS, A, B, ADD, ...)                                                                   \
    template <> struct sy_wgmma<N> {                                                                             \
        static __device__ __forceinline__ void run(float (&d)[N / 2], uint64_t a, uint64_t b, int add)           \
        {                                                                                                        \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" ADD ", 0;\n"                                       \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.bf16.bf16 {" REGISTERS "}, %" A ", %" B \
                         ", p, 1, 1, 0, 0;\n}"                                                                   \
                         : __VA_ARGS__                                                                           \
                         : "l"(a), "l"(b), "r"(add));                                                            \
        }                                                                                                        \
    };

SY_WGMMA(8, "%0, %1, %2, %3", "4", "5", "6", SY_D4(0))
SY_WGMMA(16, "%0, %1, %2, %3, %4, %5, %6, %7", "8", "9", "10", SY_D4(0), SY_D4(4))
SY_WGMMA(32, SY_R0, "16", "17", "18", SY_D16(0))
SY_WGMMA(64, SY_R0 ", " SY_R1, "32", "33", "34", SY_D16(0), SY_D16(16))
SY_WGMMA(96, SY_R0 ", " SY_R1 ", " SY_R2, "48", "49", "50", SY_D16(0), SY_D16(16), SY_D16(32))
SY_WGMMA(128, SY_R0 ", " SY_R1 ", " SY_R2 ", " SY_R3, "64", "65", "66", SY_D16(0), SY_D16(16), SY_D16(32), SY_D16(48))
SY_WGMMA(160, SY_R0 ", " SY_R1 ", " SY_R2 ", " SY_R3 ", " SY_R4, "80", "81", "82", SY_D16(0), SY_D16(16), SY_D16(32),
         SY_D16(48), SY_D16(64))
SY_WGMMA(192, SY_R0 ", " SY_R1 ", " SY_R2 ", " SY_R3 ", " SY_R4 ", " SY_R5, "96", "97", "98", SY_D16(0), SY_D16(16),
         SY_D16(32), SY_D16(48), SY_D16(64), SY_D16(80))
SY_WGMMA(224, SY_R0 ", " SY_R1 ", " SY_R2 ", " SY_R3 ", " SY_R4 ", " SY_R5 ", " SY_R6, "112", "113", "114", SY_D16(0),
         SY_D16(16), SY_D16(32), SY_D16(48), SY_D16(64), SY_D16(80), SY_D16(96))
SY_WGMMA(256, SY_R0 ", " SY_R1 ", " SY_R2 ", " SY_R3 ", " SY_R4 ", " SY_R5 ", " SY_R6 ", " SY_R7, "128", "129", "130",
         SY_D16(0), SY_D16(16), SY_D16(32), SY_D16(48), SY_D16(64), SY_D16(80), SY_D16(96), SY_D16(112))

#undef SY_WGMMA
#undef SY_D16
#undef SY_D4

#undef SY_R0
#undef SY_R1
#undef SY_R2
#undef SY_R3
#undef SY_R4
#undef SY_R5
#undef SY_R6
#undef SY_R7

#endif
#endif

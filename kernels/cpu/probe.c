/* SPDX-License-Identifier: Apache-2.0
 * probe.c - what this machine does at most with this instruction set: bytes read, operations done
 *
 * A benchmark shows its times as a share of these ceilings. Each loop has nothing in it but the instruction that a good
 * kernel would issue most, on registers, with more independent sums than its latency needs.
 */
#include "cpu/cpu.h"

#include <stdatomic.h>
#include <string.h>

#ifndef SY_ISA_portable
#include <immintrin.h>
#endif

/* Turns of an arithmetic loop in a round: some ten microseconds. */
#define TURNS 4096

/* Independent sums of an arithmetic loop: two pipes with a latency of up to six cycles. */
#define SUMS 12

/* One item of a read: long enough that starting the hardware's prefetch does not count, short enough to share out. */
#define READ_ITEM  ((size_t)1 << 20)
#define READ_STEP  256
#define READ_AHEAD 4096

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* The compiler must take x for something new from here on: else equal sums and products would be done once for all. */
#if defined(__AVX512F__)
#define HIDE(x) __asm__ volatile("" : "+v"(x))
#elif defined(__x86_64__)
#define HIDE(x) __asm__ volatile("" : "+x"(x))
#elif defined(__aarch64__)
#define HIDE(x) __asm__ volatile("" : "+w"(x))
#else
#define HIDE(x) __asm__ volatile("" : "+m"(x))
#endif

typedef uint64_t word __attribute__((vector_size(32)));

struct job {
    enum sy_probe what;
    const uint8_t *buffer;
    size_t bytes;
    int rounds;
    atomic_ullong done; /* operations */
};

/* All of this is read: the compiler must write it first. */
static void keep(const void *data, size_t bytes)
{
    __asm__ volatile("" : : "r"(data), "r"(bytes) : "memory");
}

static void read_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    size_t n_items = (job->bytes + READ_ITEM - 1) / READ_ITEM, first = (size_t)item % n_items * READ_ITEM;
    size_t last = first + READ_ITEM < job->bytes ? first + READ_ITEM : job->bytes;
    word sums[READ_STEP / sizeof(word)] = {{0}};

    (void)thread;
    for (size_t at = first; at + READ_STEP <= last; at += READ_STEP) {
        const word *from = (const word *)(job->buffer + at);
        for (size_t line = 0; line < READ_STEP; line += 64)
            __builtin_prefetch(job->buffer + at + READ_AHEAD + line, 0, 2);
        UNROLL
        for (size_t i = 0; i < READ_STEP / sizeof(word); i++)
            sums[i] ^= from[i];
    }
    keep(sums, sizeof sums);
}

/* A function of this name that repeats `sum` on SUMS sums and returns the operations done. */
#define ARITHMETIC(name, type, zero, first, second, sum, ops)            \
    static double name(int rounds)                                       \
    {                                                                    \
        type acc[SUMS], a = (first), b = (second);                       \
                                                                         \
        UNROLL                                                           \
        for (int i = 0; i < SUMS; i++) {                                 \
            acc[i] = (zero);                                             \
            HIDE(acc[i]);                                                \
        }                                                                \
        for (int64_t turn = 0; turn < (int64_t)rounds * TURNS; turn++) { \
            UNROLL                                                       \
            for (int i = 0; i < SUMS; i++) {                             \
                HIDE(a);                                                 \
                acc[i] = (sum);                                          \
            }                                                            \
        }                                                                \
        keep(acc, sizeof acc);                                           \
        return (double)rounds * TURNS * SUMS * (ops);                    \
    }

#if defined(SY_ISA_avx512) || defined(SY_ISA_amx)
ARITHMETIC(fp32, __m512, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), _mm512_set1_ps(0x1p-10f),
           _mm512_fmadd_ps(a, b, acc[i]), 32)
#elif defined(SY_ISA_avx2)
ARITHMETIC(fp32, __m256, _mm256_setzero_ps(), _mm256_set1_ps(0.5f), _mm256_set1_ps(0x1p-10f),
           _mm256_fmadd_ps(a, b, acc[i]), 16)
/* BF16 weights are widened in registers and multiplied as FP32. */
#define bf16 fp32
ARITHMETIC(int8, __m256i, _mm256_setzero_si256(), _mm256_set1_epi8(1), _mm256_set1_epi8(1),
           _mm256_add_epi32(acc[i], _mm256_madd_epi16(_mm256_maddubs_epi16(a, b), b)), 64)
#else
typedef float quad __attribute__((vector_size(16)));
ARITHMETIC(fp32, quad, ((quad){0}), ((quad){0.5f, 0.5f, 0.5f, 0.5f}), ((quad){0x1p-10f, 0x1p-10f, 0x1p-10f, 0x1p-10f}),
           acc[i] + a * b, 8)
/* Everything is widened. */
#define bf16 fp32
#define int8 fp32
#endif

#if defined(SY_ISA_avx512)
ARITHMETIC(bf16, __m512, _mm512_setzero_ps(), _mm512_set1_ps(0.5f), _mm512_set1_ps(0x1p-10f),
           _mm512_dpbf16_ps(acc[i], (__m512bh)a, (__m512bh)b), 64)
ARITHMETIC(int8, __m512i, _mm512_setzero_si512(), _mm512_set1_epi8(1), _mm512_set1_epi8(1),
           _mm512_dpbusd_epi32(acc[i], a, b), 128)
#elif defined(SY_ISA_amx)
/* What LDTILECFG reads. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t n_rows[16];
};

/* Four sums of a 2 x 2 block of tiles, as a kernel would have them: tiles 0 to 3 from tiles 4, 5 and 6, 7. */
static void open_tiles(void)
{
    struct tile_config config __attribute__((aligned(64))) = {.palette = 1};
    uint8_t data[16 * 64] __attribute__((aligned(64)));

    memset(data, 1, sizeof data);
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.n_rows[i] = 16;
    }
    /* gcc 12 thinks that the instructions read less of this than they do. */
    keep(&config, sizeof config);
    keep(data, sizeof data);
    _tile_loadconfig(&config);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, data, 64);
    _tile_loadd(5, data, 64);
    _tile_loadd(6, data, 64);
    _tile_loadd(7, data, 64);
}

/* 16 x 16 sums of 32 BF16 or 64 INT8 products. */
#define TILES(name, multiply, ops)                                              \
    static double name(int rounds)                                              \
    {                                                                           \
        open_tiles();                                                           \
        for (int64_t turn = 0; turn < (int64_t)rounds * (TURNS / 16); turn++) { \
            multiply(0, 4, 6);                                                  \
            multiply(1, 4, 7);                                                  \
            multiply(2, 5, 6);                                                  \
            multiply(3, 5, 7);                                                  \
        }                                                                       \
        _tile_release();                                                        \
        return (double)rounds * (TURNS / 16) * 4 * (ops);                       \
    }

TILES(bf16, _tile_dpbf16ps, 16.0 * 16 * 32 * 2)
TILES(int8, _tile_dpbssd, 16.0 * 16 * 64 * 2)
#endif

static void arithmetic_item(void *arg, int item, int thread)
{
    struct job *job = arg;
    double (*const loops[SY_N_PROBES])(int rounds) = {
        [SY_PROBE_FP32] = fp32, [SY_PROBE_BF16] = bf16, [SY_PROBE_INT8] = int8};

    (void)item;
    (void)thread;
    atomic_fetch_add(&job->done, (uint64_t)loops[job->what](job->rounds));
}

double SY_CPU(probe)(struct sy_queue *q, enum sy_probe what, const void *buffer, size_t bytes, int rounds)
{
    struct job job = {.what = what, .buffer = buffer, .bytes = bytes / READ_STEP * READ_STEP, .rounds = rounds};

    if (what != SY_PROBE_READ) {
        sy_pool_run(q->pool, sy_pool_n_threads(q->pool), arithmetic_item, &job);
        return (double)atomic_load(&job.done);
    }
    sy_pool_run(q->pool, (int)((job.bytes + READ_ITEM - 1) / READ_ITEM) * rounds, read_item, &job);
    return (double)job.bytes * rounds;
}

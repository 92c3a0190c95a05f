/* SPDX-License-Identifier: Apache-2.0
 * common.h - what the kernel tests share: random inputs, matrices, guarded outputs, the backends of this machine
 */
#ifndef SY_TESTS_KERNELS_COMMON_H
#define SY_TESTS_KERNELS_COMMON_H

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "half.h"
#include "kernels.h"
#include "layout.h"
#include "tap.h"

#define EPS ((double)FLT_EPSILON / 2) /* largest relative error of one FP32 rounding */

/* ---- random numbers: a new seed each time, printed; SY_SEED repeats a run ---- */

static uint64_t random_state;

static inline uint64_t random_u64(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline void random_begin(void)
{
    const char *given = getenv("SY_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    random_state = given ? strtoull(given, NULL, 10) : (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    diag("seed %llu (SY_SEED=%llu repeats this run)", (unsigned long long)random_state,
         (unsigned long long)random_state);
}

/* low .. high */
static inline int random_int(int low, int high)
{
    return low + (int)(random_u64() % (uint64_t)(high - low + 1));
}

/* -1 .. 1 */
static inline float random_float(void)
{
    return (float)((double)(int64_t)random_u64() / 9223372036854775808.0);
}

/* ---- memory: plain, so that a sanitizer or valgrind sees who leaves an allocation; where a GPU takes part, pieces of one
 * large block that its kernels can use too ---- */

#define SLAB_BYTES   ((size_t)1 << 30)
#define SLAB_HEADER  256 /* before each piece: its class; keeps pieces aligned */
#define SLAB_CLASSES 31

static struct {
    uint8_t *base;
    size_t used;
    void *left[SLAB_CLASSES]; /* freed pieces of 2^class bytes, each with the address of the next one */
} slab;

static inline void *new_bytes(size_t bytes)
{
    int class = 8;

    while (((size_t)1 << class) < bytes)
        class++;
    size_t size = ((size_t)1 << class) + SLAB_HEADER;
    uint8_t *p = slab.base ? slab.left[class] : calloc(bytes ? bytes : 1, 1);
    if (slab.base && p) {
        memcpy(&slab.left[class], p, sizeof(void *));
    } else if (slab.base && size <= SLAB_BYTES - slab.used) {
        p = slab.base + slab.used + SLAB_HEADER;
        slab.used += size;
        p[-SLAB_HEADER] = (uint8_t)class;
    }
    if (!p)
        bail("no memory for %zu bytes", bytes);
    return slab.base ? memset(p, 0, bytes) : p;
}

static inline void free_bytes(void *p)
{
    uint8_t *piece = p;

    if (!slab.base || piece < slab.base || piece >= slab.base + SLAB_BYTES) {
        free(p);
        return;
    }
    memcpy(piece, &slab.left[piece[-SLAB_HEADER]], sizeof(void *));
    slab.left[piece[-SLAB_HEADER]] = piece;
}

static inline float *new_floats(size_t n)
{
    return new_bytes(n * sizeof(float));
}

static inline float *random_floats(size_t n)
{
    float *p = new_floats(n);
    for (size_t i = 0; i < n; i++)
        p[i] = random_float();
    return p;
}

/* ---- outputs: filled with a NaN that no kernel makes, and fenced on both sides with it ---- */

#define POISON 0x7fc5ffc5 /* NaN as F32, and both halves as BF16 and F16 */
#define FENCE  1024       /* at least what one tile of a matrix instruction reads */

static inline void poison(void *data, size_t bytes)
{
    const uint32_t word = POISON;
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)data)[i] = ((const uint8_t *)&word)[i % 4];
}

static inline void *new_output(size_t bytes)
{
    uint8_t *p = new_bytes(bytes + 2 * FENCE);
    poison(p, bytes + 2 * FENCE);
    return p + FENCE;
}

/* Bytes begin .. end - 1 of an output were not written. */
static inline bool is_untouched(const void *output, size_t begin, size_t end)
{
    const uint32_t word = POISON;
    for (size_t i = begin; i < end; i++) {
        if (((const uint8_t *)output)[i] != ((const uint8_t *)&word)[i % 4])
            return false;
    }
    return true;
}

/* Nothing was written just before or behind an output of so many bytes. */
static inline bool fences_hold(const void *output, size_t bytes)
{
    return is_untouched((const uint8_t *)output - FENCE, 0, FENCE) && is_untouched(output, bytes, bytes + FENCE);
}

static inline void free_output(void *output)
{
    if (output)
        free_bytes((uint8_t *)output - FENCE);
}

/* ---- inputs: random values of a type, with NaN before them and in every second one behind them; behind the others
 * the allocation ends, so that a sanitizer or valgrind sees who reads on ---- */

static inline void *new_input(size_t bytes)
{
    size_t behind = random_u64() % 2 ? FENCE : 0;
    uint8_t *p = new_bytes(FENCE + bytes + behind);

    poison(p, FENCE + bytes + behind);
    return p + FENCE;
}

/* One value in 16 is small, down to where a type's numbers end; F16 has exponents from subnormal to just under 1. Codes are
 * any that are numbers. */
static inline void random_element(enum sy_dtype dtype, void *data, size_t i)
{
    float f = random_float();
    uint8_t *code = (uint8_t *)data + (dtype == SY_MXFP4 ? i / 2 : i);

    if (sy_dtype_quantised(dtype)) {
        do
            *code = (uint8_t)random_u64();
        while (dtype == SY_F8_E4M3 && (*code & 0x7f) == 0x7f);
        return;
    }

    if (random_u64() % 16 == 0)
        f = ldexpf(f, -random_int(1, 150));
    if (dtype == SY_F32)
        ((float *)data)[i] = f;
    else if (dtype == SY_BF16)
        ((uint16_t *)data)[i] = sy_bf16_round(f);
    else
        ((uint16_t *)data)[i] = (uint16_t)(random_u64() & 0x83ff) | (uint16_t)(random_int(0, 14) << 10);
}

/* f as SY_BF16X2: its hi part is number i of data, its lo part number i + stride. */
static inline void store_parts(void *data, size_t i, size_t stride, float f)
{
    uint16_t *to = data;

    to[i] = sy_bf16_round(f);
    to[i + stride] = sy_bf16_round(f - sy_bf16_widen(to[i]));
}

static inline void random_elements(enum sy_dtype dtype, void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        random_element(dtype, data, i);
}

static inline void fill_rows(enum sy_dtype dtype, void *rows, int n_rows, int width, size_t stride)
{
    for (int t = 0; t < n_rows; t++) {
        for (int i = 0; i < width; i++) {
            size_t at = sy_row_index(dtype, stride, (size_t)t, (size_t)i);
            float f;
            if (dtype != SY_BF16X2) {
                random_element(dtype, rows, at);
                continue;
            }
            random_element(SY_F32, &f, 0);
            store_parts(rows, at, stride, f);
        }
    }
}

/* n_rows rows of width elements, stride elements from one to the next; what lies between them is NaN. */
static inline void *random_rows(enum sy_dtype dtype, int n_rows, int width, size_t stride)
{
    void *p = new_input((size_t)n_rows * stride * sy_dtype_bytes(dtype));

    fill_rows(dtype, p, n_rows, width, stride);
    return p;
}

/* ---- matrices: random values of a type, as published and packed ---- */

struct matrix {
    struct sy_weight rows, panels;
    void *published; /* [n][k] */
    double *values;  /* the same */
    void *packed;
    void *scales, *packed_scales; /* [n][blocks] and by panels; NULL where the type has none */
};

/* Scales as sy_weight has them for panels. Outputs that are missing have zeros, and their codes are zero too. */
static inline void matrix_pack_scales(struct matrix *m)
{
    size_t element = m->rows.dtype == SY_MXFP4 ? 1 : sizeof(float);
    size_t n_blocks = (size_t)((m->rows.k - 1) / m->rows.scale_block + 1),
           n_panels = ((size_t)m->rows.n + 15) / SY_PANEL;

    m->packed_scales = new_input(n_panels * n_blocks * SY_PANEL * element);
    memset(m->packed_scales, 0, n_panels * n_blocks * SY_PANEL * element);
    for (size_t n = 0; n < (size_t)m->rows.n; n++)
        for (size_t b = 0; b < n_blocks; b++)
            memcpy((uint8_t *)m->packed_scales + ((n / SY_PANEL * n_blocks + b) * SY_PANEL + n % SY_PANEL) * element,
                   (uint8_t *)m->scales + (n * n_blocks + b) * element, element);
    m->panels.scales = m->packed_scales;
}

/* A scale; one in 16 is far from the others. */
static inline void random_scale(enum sy_dtype dtype, void *scales, size_t i)
{
    int power = random_u64() % 16 ? random_int(-12, -4) : random_int(-140, 20);

    if (dtype == SY_MXFP4)
        ((uint8_t *)scales)[i] = (uint8_t)(power < -127 ? 0 : power + 127);
    else
        ((float *)scales)[i] = ldexpf(random_float(), power);
}

static inline void matrix_pack(const struct sy_kernels *backend, struct matrix *m)
{
    size_t element = m->rows.dtype == SY_MXFP4 ? 1 : sy_dtype_bytes(m->rows.dtype);
    size_t row = sy_dtype_array_bytes(m->rows.dtype, (size_t)m->rows.k);
    size_t panel = backend->panel_bytes(m->rows.dtype, m->rows.k);
    int n_panels = (m->rows.n + SY_PANEL - 1) / SY_PANEL;

    m->packed = new_input(panel * (size_t)n_panels);
    for (int p = 0; p < n_panels; p++) {
        int n_rows = m->rows.n - p * SY_PANEL < SY_PANEL ? m->rows.n - p * SY_PANEL : SY_PANEL;
        backend->pack_panel(m->rows.dtype, m->rows.k, 0, m->rows.k, n_rows,
                            (uint8_t *)m->published + (size_t)p * SY_PANEL * row, row, element,
                            (uint8_t *)m->packed + (size_t)p * panel);
    }
    m->panels = m->rows;
    m->panels.layout = SY_LAYOUT_PANELS;
    m->panels.data = m->packed;
    if (m->scales)
        matrix_pack_scales(m);
    for (int n = 0; n < m->rows.n; n++) {
        for (int k = 0; k < m->rows.k; k++) {
            float f = sy_float_at(m->rows.dtype, (uint8_t *)m->published + (size_t)n * row, (size_t)k);
            size_t at = m->scales ? (size_t)(n * ((m->rows.k - 1) / m->rows.scale_block + 1) + k / m->rows.scale_block)
                                  : 0;
            if (m->scales)
                f *= m->rows.dtype == SY_MXFP4 ? sy_e8m0_widen(((uint8_t *)m->scales)[at]) : ((float *)m->scales)[at];
            m->values[(size_t)n * (size_t)m->rows.k + (size_t)k] = (double)f;
        }
    }
}

/* After a change of what was published. */
static inline void matrix_pack_again(const struct sy_kernels *backend, struct matrix *m)
{
    free_output(m->packed);
    free_output(m->packed_scales);
    matrix_pack(backend, m);
}

static inline struct matrix new_matrix(const struct sy_kernels *backend, enum sy_dtype dtype, int n, int k)
{
    struct matrix m = {.scales = NULL};
    size_t row = sy_dtype_array_bytes(dtype, (size_t)k);

    m.published = new_bytes((size_t)n * row);
    m.values = new_bytes((size_t)n * (size_t)k * sizeof *m.values);
    for (int i = 0; i < n; i++)
        random_elements(dtype, (uint8_t *)m.published + (size_t)i * row, (size_t)k);
    m.rows = (struct sy_weight){.dtype = dtype, .layout = SY_LAYOUT_ROWS, .n = n, .k = k, .data = m.published};
    if (sy_dtype_quantised(dtype)) {
        /* A scale for each output, or for few and for many inputs. */
        int block = dtype == SY_MXFP4 ? SY_SCALE_UNIT : random_int(0, 2) ? random_int(1, 5) * SY_SCALE_UNIT : k;
        size_t n_scales = (size_t)n * (size_t)((k - 1) / block + 1);
        m.rows.scale_block = block;
        m.rows.scales = m.scales = new_bytes(n_scales * sizeof(float));
        for (size_t i = 0; i < n_scales; i++)
            random_scale(dtype, m.scales, i);
    }
    matrix_pack(backend, &m);
    return m;
}

static inline void free_matrix(struct matrix *m)
{
    free_bytes(m->published);
    free_bytes(m->values);
    free_output(m->packed);
    free_bytes(m->scales);
    free_output(m->packed_scales);
}

/* Set while a GPU is tested: its tensor cores add with numbers cut off, not rounded. */
static bool sums_are_cut;

/* x . row n in double, and how far an FP32 sum in any order may be from it: a term meets a rounding in each addition but
 * one, and one when it is made, unless the product of two 16-bit floats is exact. Products, sums and inputs below FLT_MIN
 * may count as zero. A quantised weight may be rounded to BF16 when the row is BF16, of one or two parts. Parts are terms of
 * their own. x: a row whose stride is x_stride. */
static inline double exact_dot(const struct matrix *m, int n, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                               double *bound)
{
    const double *w = m->values + (size_t)n * (size_t)m->rows.k;
    bool codes = sy_dtype_quantised(m->rows.dtype), exact = x_dtype == SY_BF16 && m->rows.dtype != SY_F32 && !codes;
    int n_parts = x_dtype == SY_BF16X2 ? 2 : 1, n_terms = m->rows.k * n_parts;
    double sum = 0.0, magnitude = 0.0, roundings = n_terms - exact, small = 0.0;

    if (sums_are_cut && x_dtype == SY_BF16)
        roundings = 4 * m->rows.k;

    for (int i = 0; i < n_terms; i++) {
        int k = i % m->rows.k;
        size_t at = (size_t)k + (size_t)(i / m->rows.k) * x_stride;
        double f = (double)sy_float_at(n_parts == 2 ? SY_BF16 : x_dtype, x, at), term = f * w[k];
        sum += term;
        magnitude += fabs(term);
        if (fabs(f) < (double)FLT_MIN || fabs(w[k]) < (double)FLT_MIN)
            small += fabs(term);
    }
    *bound = codes && x_dtype != SY_F32 ? magnitude * 0x1.01p-8 : 0.0;
    magnitude += *bound;
    *bound += roundings * EPS * (1 + roundings * EPS) * magnitude + small + 2 * n_terms * (double)FLT_MIN;
    return sum;
}

/* The bound once a value is stored as SY_F32, SY_BF16 or SY_BF16X2: half a unit in the last place of BF16 more, or half a
 * unit of a lo part, which is at most that half unit. */
static inline double stored_bound(enum sy_dtype dtype, double value, double bound)
{
    if (dtype == SY_F32)
        return bound;
    return bound + ldexp(1.0, ilogb(fmax(fabs(value) + bound, (double)FLT_MIN)) - (dtype == SY_BF16X2 ? 16 : 8));
}

/* Numbers of an output row of `stride` elements that are not those of elements begin .. end - 1 are untouched. */
static inline bool row_untouched_outside(enum sy_dtype dtype, const void *rows, size_t stride, size_t row, size_t begin,
                                         size_t end)
{
    size_t bytes = dtype == SY_F32 ? 4 : 2, at = sy_row_index(dtype, stride, row, 0);
    bool held = true;

    for (int part = 0; part < (dtype == SY_BF16X2 ? 2 : 1); part++, at += stride)
        held = held && is_untouched(rows, at * bytes, (at + begin) * bytes) &&
               is_untouched(rows, (at + end) * bytes, (at + stride) * bytes);
    return held;
}

/* Bytes of a part of a number. */
static inline size_t part_bytes(enum sy_dtype dtype)
{
    return dtype == SY_F32 ? sizeof(float) : sizeof(uint16_t);
}

/* ---- backends and queues ---- */

#define BACKENDS_MAX (2 + SY_N_ISAS)

static char no_gpu[128]; /* why not */
static bool queues_meet; /* set before all_backends(): kernels of a queue wait for those of others */

/* The GPU, whose kernels then are done when their calls return, like all others; unless queues meet, which need their own
 * ways to the GPU and queue_sync() then. */
static inline const struct sy_kernels *gpu_backend(void)
{
    struct sy_cuda_device found;
    struct sy_error err = SY_ERROR_INIT;

    setenv("CUDA_LAUNCH_BLOCKING", queues_meet ? "0" : "1", 1);
    setenv("CUDA_DEVICE_MAX_CONNECTIONS", queues_meet ? "32" : "8", 1);
    /* To load a kernel can take all queues to be idle. */
    setenv("CUDA_MODULE_LOADING", queues_meet ? "EAGER" : "LAZY", 1);
    if (!sy_cuda_count(no_gpu, sizeof no_gpu))
        return NULL;
    if (sy_cuda_open(0, &found, &err))
        bail("%s", err.text);
    slab.base = sy_kernels_cuda()->alloc_host(SLAB_BYTES);
    if (!slab.base)
        bail("no pinned memory");
    diag("GPU: %s", found.name);
    return sy_kernels_cuda();
}

static inline int all_backends(const struct sy_kernels **backends)
{
    int n = 0;

    backends[n++] = sy_kernels_ref();
    for (int isa = 0; isa < SY_N_ISAS; isa++) {
        const struct sy_kernels *backend = sy_kernels_cpu((enum sy_isa)isa);
        if (backend)
            backends[n++] = backend;
        else
            diag("no %s kernels on this machine", sy_isa_name((enum sy_isa)isa));
    }
    backends[n] = gpu_backend();
    return n + (backends[n] != NULL);
}

/* plan(), after all_backends(), and what is not tested. */
static inline void plan_backends(int n)
{
    plan(n + (no_gpu[0] != 0));
    if (no_gpu[0])
        skip("CUDA kernels: %s", no_gpu);
}

/* Tests of all backends: `always`, `x2` more of those that take rows of two parts, `f16` of those with FP16 pages; a skip
 * that says so for others. */
static inline int count_tests(const struct sy_kernels *const *backends, int n, int always, int x2, int f16)
{
    int n_tests = 0;

    for (int b = 0; b < n; b++)
        n_tests += always + (backends[b]->rows_x2 ? x2 : x2 > 0) + (backends[b]->pages_f16 ? f16 : f16 > 0);
    return n_tests;
}

static inline bool takes_x2(const struct sy_kernels *backend)
{
    if (!backend->rows_x2)
        skip("%s: no rows of two parts", backend->name);
    return backend->rows_x2;
}

static inline bool takes_f16(const struct sy_kernels *backend)
{
    if (!backend->pages_f16)
        skip("%s: no FP16 pages", backend->name);
    return backend->pages_f16;
}

#define THREADS_MAX 3

/* How much of a long check is done: all of it, or what valgrind, which takes hundreds of times as long, can do. */
static inline int fewer(int all, int under_valgrind)
{
    return getenv("SY_VALGRIND") ? under_valgrind : all;
}

/* queues[i] has i + 1 threads */
static struct sy_queue *queues[THREADS_MAX];
static struct sy_pool *pools[THREADS_MAX];

static inline void queues_begin(const struct sy_kernels *backend)
{
    struct sy_error err = SY_ERROR_INIT;

    sums_are_cut = backend->on_device;
    for (int i = 0; i < THREADS_MAX; i++) {
        if (sy_pool_create(i + 1, NULL, 0, &pools[i], &err) || backend->queue_create(pools[i], &queues[i], &err))
            bail("%s", err.text);
    }
}

static inline void queues_sync(const struct sy_kernels *backend)
{
    struct sy_error err = SY_ERROR_INIT;

    for (int i = 0; i < THREADS_MAX; i++)
        if (backend->queue_sync(queues[i], &err))
            bail("%s", err.text);
}

static inline void queues_end(const struct sy_kernels *backend)
{
    queues_sync(backend);
    for (int i = 0; i < THREADS_MAX; i++) {
        backend->queue_destroy(queues[i]);
        sy_pool_destroy(pools[i]);
    }
}

/* Largest |found - expected| / tolerance so far; NaN counts as infinitely wrong. */
static inline void worst(double *ratio, double found, double expected, double tolerance)
{
    double r = fabs(found - expected) / tolerance;
    if (!(r <= *ratio))
        *ratio = r == r ? r : INFINITY;
}

static inline bool ok_worst(double ratio, const char *backend, const char *what)
{
    bool held = ok(ratio <= 1.0, "%s: %s", backend, what);
    if (!held)
        diag("largest error is %.3g times its tolerance", ratio);
    return held;
}

#endif

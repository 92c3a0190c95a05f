/* SPDX-License-Identifier: Apache-2.0
 * cpu.h - the kernels of one instruction set, for its table
 *
 * Every file that includes this is compiled once for each instruction set, with -DSY_ISA_<name> and that set's compiler
 * flags. SY_CPU(x) is the name of x in this compilation; all else is static.
 */
#ifndef SY_KERNELS_CPU_CPU_H
#define SY_KERNELS_CPU_CPU_H

#include "cpu/queue.h"

#if defined(SY_ISA_amx)
#define SY_CPU(name) sy_cpu_amx_##name
#define SY_CPU_TABLE sy_kernels_cpu_amx
#define SY_CPU_NAME  "amx"
#elif defined(SY_ISA_avx512)
#define SY_CPU(name) sy_cpu_avx512_##name
#define SY_CPU_TABLE sy_kernels_cpu_avx512
#define SY_CPU_NAME  "avx512"
#elif defined(SY_ISA_avx2)
#define SY_CPU(name) sy_cpu_avx2_##name
#define SY_CPU_TABLE sy_kernels_cpu_avx2
#define SY_CPU_NAME  "avx2"
#elif defined(SY_ISA_portable)
#define SY_CPU(name) sy_cpu_portable_##name
#define SY_CPU_TABLE sy_kernels_cpu_portable
#define SY_CPU_NAME  "portable"
#else
#error "compile with -DSY_ISA_portable, -DSY_ISA_avx2, -DSY_ISA_avx512 or -DSY_ISA_amx"
#endif

extern const struct sy_kernels SY_CPU_TABLE;

/* embed.c */
void SY_CPU(embed)(struct sy_queue *q, const struct sy_weight *w, const int32_t *ids, int T, float *x);

/* rows.c: what works on a row or an element at a time */
void SY_CPU(rmsnorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                     const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void SY_CPU(layernorm)(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int width, const float *weight,
                       const float *bias, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride);
void SY_CPU(weigh)(struct sy_queue *q, float *x, int T, int width, const float *logits);
void SY_CPU(scale)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float factor);
void SY_CPU(clamp)(struct sy_queue *q, float *x, size_t x_stride, int T, int width, float limit);
void SY_CPU(add)(struct sy_queue *q, float *x, const float *y, int T, int width);
void SY_CPU(split)(struct sy_queue *q, const float *x, size_t x_stride, int T, int width, void *y, size_t y_stride);
void SY_CPU(convert)(struct sy_queue *q, void *dst, enum sy_dtype dst_dtype, const void *src, enum sy_dtype src_dtype,
                     size_t n);

/* rope.c */
void SY_CPU(rope)(struct sy_queue *q, const struct sy_rotation *r);

/* gemm.c */
void SY_CPU(gemm)(struct sy_queue *q, const struct sy_weight *w, const void *x, enum sy_dtype x_dtype, size_t x_stride,
                  int T, int n_begin, int n_end, bool add, float *y, size_t y_stride);

/* heads.c */
void SY_CPU(gemm_heads)(struct sy_queue *q, const struct sy_head_gemm *g);

/* kv.c, attention.c */
void SY_CPU(kv_write)(struct sy_queue *q, const struct sy_kv_layer *kv, const struct sy_attention_row *rows, int T,
                      const float *k, const float *v, size_t kv_stride);
void SY_CPU(attention)(struct sy_queue *q, const struct sy_attention *a);

/* router.c */
void SY_CPU(router)(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights);

/* experts.c */
void SY_CPU(copy_rows)(struct sy_queue *q, void *dst, const uint32_t *dst_rows, const void *src,
                       const uint32_t *src_rows, int n, size_t row_bytes);
void SY_CPU(expert_gate_up)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *x,
                            enum sy_dtype dtype, const struct sy_glu *glu, void *act);
void SY_CPU(expert_down)(struct sy_queue *q, const struct sy_tile *tiles, int n_tiles, const void *act,
                         enum sy_dtype act_dtype, void *y, void *const *y_rows, enum sy_dtype y_dtype);

/* combine.c */
void SY_CPU(combine)(struct sy_queue *q, const void *y, enum sy_dtype y_dtype, const float *weights, int T, int K,
                     int D, const float *shared, bool reverse_k, float *x);

/* logits.c */
void SY_CPU(scan_logits)(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans);

/* probe.c */
double SY_CPU(probe)(struct sy_queue *q, enum sy_probe what, const void *buffer, size_t bytes, int rounds);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * router.cu - which experts get a token, and with what weight
 */
#include "cuda/router.cuh"

/* A block of one warp for each token. */
static __global__ void choose_kernel(struct sy_router_rule rule, const float *logits, int32_t *ids, float *weights)
{
    extern __shared__ float shared[];
    size_t t = blockIdx.x, E = (size_t)rule.n_experts, K = (size_t)rule.top_k;

    for (size_t e = threadIdx.x; e < E; e += 32)
        shared[e] = logits[t * E + e];
    __syncwarp();
    sy_router_choose(rule, shared, ids + t * K, weights + t * K);
}

void sy_cuda_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights)
{
    size_t bytes = (size_t)sy_router_floats(*rule) * sizeof(float);

    sy_cuda_gemm(q, w, x, SY_F32, (size_t)w->k, T, 0, w->n, false, logits, (size_t)w->n);
    if (!sy_cuda_works(q) || T < 1)
        return;
    choose_kernel<<<(unsigned)T, 32, bytes, q->stream>>>(*rule, logits, ids, weights);
    sy_cuda_launched(q, "router");
}

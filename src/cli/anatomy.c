/* SPDX-License-Identifier: Apache-2.0
 * anatomy.c - tell a person what a checkpoint is
 */
#include "cli/anatomy.h"

#include <inttypes.h>
#include <string.h>

#include "base/amount.h"
#include "base/log.h"
#include "engine/holding.h"
#include "engine/kvcache.h"
#include "model/anatomy.h"

#define LIST_MAX  16
#define RANKS_MAX SY_EXPERTS_MAX

/* ---- shapes ---- */

static void print_attention(const struct sy_model *m)
{
    static const char *const norms[] = {"", ", q and k normed head by head", ", q and k normed as a whole"};
    const struct sy_mla *mla = &m->mla;

    if (!mla->kv_lora_rank) {
        printf("attention    %d query heads, %d key and value heads, of %d dims%s\n", m->n_heads, m->n_kv_heads,
               m->head_dim, norms[m->qk_norm]);
        return;
    }
    printf("attention    latent (MLA): %d heads of %d + %d rotary dims, values of %d; rank of keys and values %d, of "
           "queries ",
           m->n_heads, mla->qk_nope_head_dim, mla->qk_rope_head_dim, mla->v_head_dim, mla->kv_lora_rank);
    if (mla->q_lora_rank)
        printf("%d\n", mla->q_lora_rank);
    else
        printf("full\n");
}

static void print_rope(const struct sy_model *m)
{
    const struct sy_rope *rope = &m->rope;

    printf("RoPE         %s, theta %g, %d dims turn", sy_rope_kind_name(rope->kind), rope->theta, rope->rotary_dim);
    if (rope->kind != SY_ROPE_DEFAULT && rope->factor > 0)
        printf(", factor %g", rope->factor);
    if (rope->original_context > 0)
        printf(" from %.0f tokens", rope->original_context);
    printf("\n");
}

static void print_windows(const struct sy_model *m)
{
    int n_windowed = 0, shortest = 0, longest = 0;

    for (int i = 0; i < m->n_layers; i++) {
        int window = m->layers[i].window;
        n_windowed += window > 0;
        longest = window > longest ? window : longest;
        shortest = window && (!shortest || window < shortest) ? window : shortest;
    }
    if (!n_windowed)
        return;
    printf("windows      %d of %d layers see the last %d", n_windowed, m->n_layers, shortest);
    if (longest > shortest)
        printf(" to %d", longest);
    printf(" tokens\n");
}

static void print_experts(const struct sy_model *m)
{
    static const char *const routers[] = {"softmax", "sigmoid", "softmax of the chosen", "sparsemixer"};

    printf("experts      %d a layer, top-%d, width %d; router %s", m->n_experts, m->top_k, m->expert_width,
           routers[m->router.kind]);
    if (m->router.n_groups > 1)
        printf(", %d of %d groups", m->router.n_kept, m->router.n_groups);
    if (m->shared_width)
        printf("; shared expert of width %d", m->shared_width);
    printf("\n");
}

static void print_shapes(const struct sy_model *m)
{
    int n_dense = m->n_layers - m->n_moe_layers;

    printf("layers       %d: %d with experts", m->n_layers, m->n_moe_layers);
    if (n_dense)
        printf(", %d dense of width %d", n_dense, m->dense_width);
    printf("; hidden %d, vocabulary %d%s, context %d\n", m->hidden, m->vocab,
           m->tied ? " (lm_head is the embedding)" : "", m->max_context);
    print_attention(m);
    print_rope(m);
    print_windows(m);
    print_experts(m);
}

/* ---- parameters and bytes ---- */

/* "F8_E4M3 653.90 GB, scales 0.16 GB"; of one type alone its name. */
static void print_types(const struct sy_part_count *count, uint64_t bytes)
{
    char shown[32];
    int n = 0;

    for (int type = 0; type < SY_N_DTYPES; type++) {
        if (!count->bytes[type])
            continue;
        printf("%s%s", n++ ? ", " : "", sy_dtype_name((enum sy_dtype)type));
        if (count->bytes[type] < bytes)
            printf(" %s", sy_amount_bytes((double)count->bytes[type], shown, sizeof shown));
    }
    if (count->scale_bytes)
        printf(", scales %s", sy_amount_bytes((double)count->scale_bytes, shown, sizeof shown));
    printf("\n");
}

static void print_part(const char *name, const struct sy_part_count *count)
{
    char all[32], active[32], shown[32];
    uint64_t bytes = count->scale_bytes;

    for (int type = 0; type < SY_N_DTYPES; type++)
        bytes += count->bytes[type];
    printf("%-16s %11s %11s %11s  ", name, sy_amount_count((double)count->parameters, all, sizeof all),
           sy_amount_count((double)count->active, active, sizeof active),
           sy_amount_bytes((double)bytes, shown, sizeof shown));
    print_types(count, bytes);
}

static void print_parts(const struct sy_anatomy *a)
{
    printf("\n%-16s %11s %11s %11s  types\n", "part", "parameters", "active", "bytes");
    for (int part = 0; part < SY_N_PARTS; part++)
        if (a->parts[part].parameters)
            print_part(sy_part_name((enum sy_part)part), &a->parts[part]);
    print_part("all", &a->all);
}

static void print_unused(const struct sy_model *m, const struct sy_anatomy *a)
{
    char shown[32];

    for (int i = 0; i < a->n_aside; i++)
        printf("%s%-12s %s: %d tensor%s, %s; %s\n", i ? "" : "\n", i ? "" : "not loaded", a->aside[i].name,
               a->aside[i].n_tensors, a->aside[i].n_tensors == 1 ? "" : "s",
               sy_amount_bytes((double)a->aside[i].bytes, shown, sizeof shown), a->aside[i].why);
    printf("\nconfig.json  ");
    if (!m->n_ignored)
        printf("all keys are known\n");
    else
        printf("%d key%s not known, ignored: %s\n", m->n_ignored, m->n_ignored == 1 ? "" : "s", m->ignored);
}

/* ---- memory ---- */

/* A type of cache: what each token takes, and a sequence of the whole context that decodes. */
static void print_cache(const struct sy_setup *setup, enum sy_dtype compute, const char *name)
{
    const struct sy_model *m = setup->model;
    struct sy_kv_plan plan = sy_kv_plan(m, setup->kernels, compute);
    size_t full = sy_kv_token_bytes(setup->kernels, &plan, SY_KV_FULL);
    size_t windowed = sy_kv_token_bytes(setup->kernels, &plan, SY_KV_WINDOW);
    double most = (double)sy_kv_page_bytes(setup->kernels, &plan) * sy_kv_held_all(&plan, m->max_context, 1);
    char shown[32];

    printf("KV cache     --compute %-4s  %s, ", name, sy_dtype_name(plan.shape.dtype));
    if (full)
        printf("%zu bytes a token%s", full, windowed ? ", and " : "");
    if (windowed)
        printf("%zu bytes for each of the last %d", windowed, plan.window);
    printf("; at most %s for a sequence of %d tokens\n", sy_amount_bytes(most, shown, sizeof shown), m->max_context);
}

static void print_holding(const struct sy_holding *h)
{
    char experts[32] = "", bytes[32], dense[32], all[32];

    snprintf(experts, sizeof experts, h->experts_least < h->experts_most ? "%d or %d" : "%d", h->experts_most,
             h->experts_least);
    printf("%5d  %16s %17s %18s %16s\n", h->n_ranks, experts,
           sy_amount_bytes((double)h->expert_bytes_most, bytes, sizeof bytes),
           sy_amount_bytes((double)h->dense_bytes, dense, sizeof dense),
           sy_amount_bytes((double)(h->dense_bytes + h->expert_bytes_most), all, sizeof all));
}

/* What is in memory is not what is in the files: matrices are padded, vectors and latent projections widened. */
static enum sy_status print_holdings(const struct sy_setup *setup, const int *ranks, int n, struct sy_error *err)
{
    printf("\n%5s  %16s %17s %18s %16s\n", "ranks", "experts of layer", "experts, a rank", "all else, a node",
           "1 rank on a node");
    for (int i = 0; i < n; i++) {
        struct sy_holding holding;
        if (ranks[i] > setup->model->n_experts) {
            printf("%5d  more ranks than experts: cannot run\n", ranks[i]);
            continue;
        }
        enum sy_status st = sy_holding_count(setup->model, setup->kernels, ranks[i], &holding, err);
        if (st)
            return st;
        print_holding(&holding);
    }
    printf("\n");
    return SY_OK;
}

static enum sy_status read_list(const struct sy_setup *setup, const char *list, int *ranks, int *n,
                                struct sy_error *err)
{
    const char *at = list;

    *n = 0;
    if (!list)
        ranks[(*n)++] = setup->n_ranks;
    while (at && *at && *n < LIST_MAX) {
        at = sy_amount_read(at, RANKS_MAX, &ranks[*n]);
        *n += at != NULL;
        if (at && *at == ',' && at[1])
            at++;
        else if (at && *at)
            at = NULL;
    }
    if (!list || (*n && at && !*at))
        return SY_OK;
    return sy_error_set(err, SY_ERR_USAGE,
                        "--ranks: expected up to %d numbers from 1 to %d as in 1,2,4, found \"%.200s\"", LIST_MAX,
                        RANKS_MAX, list);
}

enum sy_status sy_anatomy_print(const struct sy_setup *setup, const char *list, struct sy_error *err)
{
    const struct sy_model *m = setup->model;
    int ranks[LIST_MAX], n;
    struct sy_anatomy a;
    char all[32], active[32], shown[80];

    enum sy_status st = read_list(setup, list, ranks, &n, err);
    if (!st)
        st = sy_anatomy_count(m, setup->ckpt, &a, err);
    if (st)
        return st;
    printf("\nmodel        %s, %s parameters (%" PRId64 "), %s active (%" PRId64 ")\n", m->architecture,
           sy_amount_count((double)a.all.parameters, all, sizeof all), a.all.parameters,
           sy_amount_count((double)a.all.active, active, sizeof active), a.all.active);
    print_shapes(m);
    printf("weights      %s%s\n", sy_quantization_show(&m->quantization, shown, sizeof shown),
           m->quantization.method ? "; activations are not quantised" : "");
    print_parts(&a);
    print_unused(m, &a);
    print_cache(setup, SY_BF16, "bf16");
    print_cache(setup, SY_F32, "f32");
    return print_holdings(setup, ranks, n, err);
}

/* ---- a job's start ---- */

void sy_anatomy_say(const struct sy_setup *setup)
{
    const struct sy_model *m = setup->model;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_anatomy a;
    char all[32], active[32], shown[32];

    /* Without memory for a byte a tensor, what comes next will say so. */
    if (sy_anatomy_count(m, setup->ckpt, &a, &err))
        return;
    sy_log(SY_LOG_INFO, "model %s: %s, %s parameters (%s active), %d layers, %d experts, top-%d, context %d",
           sy_checkpoint_dir(setup->ckpt), m->architecture, sy_amount_count((double)a.all.parameters, all, sizeof all),
           sy_amount_count((double)a.all.active, active, sizeof active), m->n_layers, m->n_experts, m->top_k,
           m->max_context);
    for (int i = 0; i < a.n_aside; i++)
        sy_log(SY_LOG_INFO, "not loaded: %s, %s (%s)", a.aside[i].name,
               sy_amount_bytes((double)a.aside[i].bytes, shown, sizeof shown), a.aside[i].why);
    if (m->n_ignored)
        sy_log(SY_LOG_INFO, "config.json: %d key%s not known, ignored: %s", m->n_ignored, m->n_ignored == 1 ? "" : "s",
               m->ignored);
}

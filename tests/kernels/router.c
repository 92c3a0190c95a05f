/* SPDX-License-Identifier: Apache-2.0
 * router.c - expert choice of every backend: values against double, ties, NaN, independence of other rows
 */
#include "common.h"

#define D           130

#define SOFTMAX(E, K, normalised, factor) \
    {.kind = SY_ROUTER_SOFTMAX, .n_experts = (E), .top_k = (K), .normalise = (normalised), .scale = (factor)}

#define EXPERTS_MAX 260

struct result {
    float *logits, *weights;
    int32_t *ids;
    int T, E, K;
};

static struct result new_result(int T, int E, int K)
{
    return (struct result){new_output(sizeof(float) * (size_t)(T * E)),
                           new_output(sizeof(float) * (size_t)(T * K)),
                           new_output(sizeof(int32_t) * (size_t)(T * K)),
                           T,
                           E,
                           K};
}

static void free_result(struct result *r)
{
    free_output(r->logits);
    free_output(r->weights);
    free_output(r->ids);
}

static bool result_fenced(const struct result *r)
{
    size_t n = (size_t)(r->T * r->K) * 4;
    return fences_hold(r->logits, (size_t)(r->T * r->E) * 4) && fences_hold(r->weights, n) && fences_hold(r->ids, n);
}

/* Ids are experts, and none comes twice in a row. */
static bool ids_valid(const struct result *r)
{
    for (int t = 0; t < r->T; t++) {
        const int32_t *ids = r->ids + t * r->K;
        for (int k = 0; k < r->K; k++) {
            if (ids[k] < 0 || ids[k] >= r->E)
                return false;
            for (int j = 0; j < k; j++) {
                if (ids[j] == ids[k])
                    return false;
            }
        }
    }
    return true;
}

static void run(const struct sy_kernels *backend, struct sy_queue *q, const struct sy_router_rule *rule,
                const struct matrix *m, const float *x, struct result *r)
{
    backend->router(q, rule, &m->panels, x, r->T, r->logits, r->ids, r->weights);
}

/* Softmax in double, with the largest error that FP32 logits bring into a probability, relative to it. */
static double exact_scores(const struct matrix *m, const float *x, double *p)
{
    double largest = -INFINITY, sum = 0.0, error = 0.0, bound;

    for (int e = 0; e < m->rows.n; e++) {
        p[e] = exact_dot(m, e, x, SY_F32, 0, &bound);
        largest = fmax(largest, p[e]);
        error = fmax(error, bound);
    }
    for (int e = 0; e < m->rows.n; e++)
        sum += p[e] = exp(p[e] - largest);
    for (int e = 0; e < m->rows.n; e++)
        p[e] /= sum;
    return 4 * error + 1e-6 + m->rows.n * EPS;
}

/* What is chosen must be largest up to the error, fall in score, and weigh what double says. */
static void check_row(const struct sy_router_rule *rule, const struct matrix *m, const float *x, const int32_t *ids,
                      const float *weights, double *ratio, bool *best)
{
    double p[EXPERTS_MAX], error = exact_scores(m, x, p), sum = 0.0;
    bool chosen[EXPERTS_MAX] = {false};

    for (int k = 0; k < rule->top_k; k++) {
        chosen[ids[k]] = true;
        sum += p[ids[k]];
    }
    for (int k = 0; k < rule->top_k; k++) {
        double want = (rule->normalise ? p[ids[k]] / sum : p[ids[k]]) * (double)rule->scale;
        worst(ratio, (double)weights[k], want, 2 * error * want);
        *best = *best && (k == 0 || weights[k] <= weights[k - 1]);
        for (int e = 0; e < rule->n_experts; e++)
            *best = *best && (chosen[e] || p[e] <= p[ids[k]] * (1 + 2 * error));
    }
}

static void test_values(const struct sy_kernels *backend)
{
    static const struct sy_router_rule rules[] = {
        SOFTMAX(8, 2, true, 1.0f),    SOFTMAX(64, 8, false, 1.0f),
        SOFTMAX(128, 8, true, 2.5f),  SOFTMAX(7, 3, true, 1.0f),
        SOFTMAX(61, 16, false, 1.0f), SOFTMAX(1, 1, true, 1.0f),
        SOFTMAX(5, 5, true, 1.0f),    SOFTMAX(257, 9, true, 1.0f),
    };
    static const int n_rows[] = {0, 1, 3, 17, 64};
    double ratio = 0.0;
    bool best = true, valid = true, fenced = true;

    for (int i = 0; i < (int)(sizeof rules / sizeof *rules); i++) {
        for (int j = 0; j < 5; j++) {
            struct matrix m = new_matrix(backend, SY_F32, rules[i].n_experts, D);
            struct result r = new_result(n_rows[j], rules[i].n_experts, rules[i].top_k);
            float *x = random_floats((size_t)n_rows[j] * D);
            run(backend, queues[j % THREADS_MAX], &rules[i], &m, x, &r);
            valid = valid && ids_valid(&r);
            fenced = fenced && result_fenced(&r);
            for (int t = 0; valid && t < r.T; t++)
                check_row(&rules[i], &m, x + t * D, r.ids + t * r.K, r.weights + t * r.K, &ratio, &best);
            free_bytes(x);
            free_result(&r);
            free_matrix(&m);
        }
    }
    ok(valid, "%s: ids are experts, each at most once", backend->name);
    ok(best, "%s: the largest scores, in falling order", backend->name);
    ok_worst(ratio, backend->name, "routing weights");
    ok(fenced, "%s: nothing is written outside", backend->name);
}

/* ---- the other rules, against their definition in double ---- */

#define MARGIN 1e-5 /* of a decision: a row where two candidates are nearer than this is passed over */

/* The largest of n values that is not used yet; *margin shrinks to its distance from the next one. */
static int pick(const double *values, int n, const bool *used, double *margin)
{
    int best = -1;
    double second = -INFINITY;

    for (int e = 0; e < n; e++)
        if (!used[e] && (best < 0 || values[e] > values[best]))
            best = e;
    for (int e = 0; e < n; e++)
        if (!used[e] && e != best)
            second = fmax(second, values[e]);
    *margin = fmin(*margin, values[best] - second);
    return best;
}

static void keep_groups(const struct sy_router_rule *rule, double *choice, double *margin)
{
    int size = rule->n_experts / rule->n_groups;
    double scores[EXPERTS_MAX] = {0};
    bool kept[EXPERTS_MAX] = {false};

    for (int g = 0; g < rule->n_groups; g++) {
        bool used[EXPERTS_MAX] = {false};
        double any = 1;
        for (int i = 0; i < rule->group_best; i++) {
            int e = pick(choice + g * size, size, used, &any);
            used[e] = true;
            scores[g] += choice[g * size + e];
        }
    }
    for (int i = 0; i < rule->n_kept; i++)
        kept[pick(scores, rule->n_groups, kept, margin)] = true;
    for (int e = 0; e < rule->n_experts; e++)
        choice[e] = kept[e / size] ? choice[e] : -INFINITY;
}

/* Scores as the rule has them, from logits. */
static void score(const struct sy_router_rule *rule, double *p)
{
    double largest = -INFINITY, sum = 0;

    for (int e = 0; e < rule->n_experts; e++)
        largest = fmax(largest, p[e]);
    for (int e = 0; e < rule->n_experts; e++) {
        if (rule->kind == SY_ROUTER_SIGMOID)
            p[e] = 1 / (1 + exp(-p[e]));
        else if (rule->kind == SY_ROUTER_SOFTMAX)
            sum += p[e] = exp(p[e] - largest);
    }
    for (int e = 0; rule->kind == SY_ROUTER_SOFTMAX && e < rule->n_experts; e++)
        p[e] /= sum;
}

static double sparse_weight(const struct sy_router_rule *rule, const double *logits, const bool *used, int e,
                            double *margin)
{
    double sum = 0, bound = 2 * (double)rule->jitter;

    for (int i = 0; i < rule->n_experts; i++) {
        double far = (logits[e] - logits[i]) / fmax(fabs(logits[i]), logits[e]);
        *margin = fmin(*margin, fabs(far - bound));
        sum += used[i] || far > bound ? 0 : exp(logits[i] - logits[e]);
    }
    return 1 / sum;
}

/* What the rule makes of logits p. Returns the smallest margin of its decisions. */
static double decide(const struct sy_router_rule *rule, double *p, int32_t *ids, double *weights)
{
    double choice[EXPERTS_MAX], margin = 1, sum = 0, largest = -INFINITY;
    bool used[EXPERTS_MAX] = {false};

    score(rule, p);
    for (int e = 0; e < rule->n_experts; e++)
        choice[e] = p[e] + (rule->correction ? (double)rule->correction[e] : 0);
    if (rule->n_groups > 1)
        keep_groups(rule, choice, &margin);
    for (int k = 0; k < rule->top_k; k++) {
        ids[k] = pick(choice, rule->n_experts, used, &margin);
        if (rule->kind == SY_ROUTER_SPARSEMIXER)
            weights[k] = sparse_weight(rule, p, used, ids[k], &margin);
        else
            weights[k] = p[ids[k]];
        used[ids[k]] = true;
        largest = fmax(largest, weights[k]);
    }
    for (int k = 0; k < rule->top_k; k++)
        sum += weights[k] = rule->kind == SY_ROUTER_SOFTMAX_CHOSEN ? exp(weights[k] - largest) : weights[k];
    for (int k = 0; k < rule->top_k; k++)
        weights[k] *= (rule->normalise || rule->kind == SY_ROUTER_SOFTMAX_CHOSEN ? 1 / sum : 1) * (double)rule->scale;
    return margin;
}

static void test_rules(const struct sy_kernels *backend)
{
    static const struct {
        const char *name;
        struct sy_router_rule rule;
        bool bias, correction;
    } cases[] = {
        {"sigmoid", {.kind = SY_ROUTER_SIGMOID, .n_experts = 33, .top_k = 5, .scale = 2.5f}, false, false},
        {"sigmoid, corrected, in groups",
         {SY_ROUTER_SIGMOID, 96, 8, 8, 3, 2, NULL, 0, true, 2.5f},
         false,
         true},
        {"softmax in groups", {SY_ROUTER_SOFTMAX, 60, 6, 5, 2, 1, NULL, 0, false, 16.0f}, false, false},
        {"groups of one expert", {SY_ROUTER_SIGMOID, 12, 3, 12, 4, 1, NULL, 0, true, 1.0f}, false, true},
        {"softmax of the chosen",
         {.kind = SY_ROUTER_SOFTMAX_CHOSEN, .n_experts = 130, .top_k = 4, .scale = 1.0f},
         true,
         false},
        {"sparsemixer",
         {.kind = SY_ROUTER_SPARSEMIXER, .n_experts = 16, .top_k = 2, .jitter = 0.3f, .scale = 1.0f},
         false,
         false},
        {"softmax with a bias",
         {.kind = SY_ROUTER_SOFTMAX, .n_experts = 40, .top_k = 6, .normalise = true, .scale = 1.0f},
         true,
         false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_router_rule rule = cases[i].rule;
        int E = rule.n_experts, K = rule.top_k, T = 150, n_passed = 0;
        struct matrix m = new_matrix(backend, SY_F32, E, D);
        struct result r = new_result(T, E, K);
        float *x = random_floats((size_t)T * D), *correction = random_floats((size_t)E);
        double ratio = 0;
        bool right = true;
        rule.correction = cases[i].correction ? correction : NULL;
        m.panels.bias = cases[i].bias ? random_rows(SY_F32, 1, E, (size_t)E) : NULL;
        run(backend, queues[i % THREADS_MAX], &rule, &m, x, &r);
        for (int t = 0; t < T; t++) {
            double p[EXPERTS_MAX], weights[EXPERTS_MAX], bound, error = 0;
            int32_t ids[EXPERTS_MAX];
            for (int e = 0; e < E; e++) {
                p[e] = exact_dot(&m, e, x + t * D, SY_F32, 0, &bound) + (m.panels.bias ? (double)m.panels.bias[e] : 0);
                error = fmax(error, bound);
            }
            if (decide(&rule, p, ids, weights) < MARGIN && ++n_passed)
                continue;
            right = right && !memcmp(ids, r.ids + t * K, sizeof *ids * (size_t)K);
            for (int k = 0; right && k < K; k++)
                worst(&ratio, (double)r.weights[t * K + k], weights[k], (8 * error + 2e-6 + E * EPS) * weights[k]);
        }
        ok(right && n_passed < T / 2, "%s: %s: the experts (%d rows too near to call)", backend->name, cases[i].name,
           n_passed);
        ok_worst(ratio, backend->name, cases[i].name);
        ok(result_fenced(&r), "%s: %s: nothing is written outside", backend->name, cases[i].name);
        free_output((void *)m.panels.bias);
        free_bytes(x);
        free_bytes(correction);
        free_result(&r);
        free_matrix(&m);
    }
}

/* Experts with equal rows have equal scores to the bit. */
static void test_ties(const struct sy_kernels *backend)
{
    const struct sy_router_rule rule = SOFTMAX(60, 8, true, 1.0f);
    struct matrix m = new_matrix(backend, SY_F32, 60, D);
    struct result r = new_result(33, 60, 8);
    float *x = random_floats(33 * D), *w = m.published;
    bool ordered = true, all_equal = true;

    for (int e = 20; e < 60; e++)
        memcpy(w + e * D, w + (e % 20) * D, sizeof *w * D);
    matrix_pack_again(backend, &m);
    run(backend, queues[1], &rule, &m, x, &r);
    for (int t = 0; t < 33; t++) {
        const int32_t *ids = r.ids + t * 8;
        for (int k = 0; k < 8; k++)
            ordered = ordered && ids[k] == (k % 3 ? ids[k - 1] + 20 : ids[k]) && ids[k] / 20 == k % 3;
    }
    memset(x, 0, sizeof *x * 33 * D);
    run(backend, queues[2], &rule, &m, x, &r);
    for (int i = 0; i < 33 * 8; i++)
        all_equal = all_equal && r.ids[i] == i % 8 && fabsf(r.weights[i] - 0.125f) < 1e-6f;
    ok(ordered, "%s: equal scores go to the lowest id first", backend->name);
    ok(all_equal, "%s: when all are equal, experts 0 .. K-1 share", backend->name);
    free_bytes(x);
    free_result(&r);
    free_matrix(&m);
}

/* Logits that FP32 holds exactly, far below the largest: their exponentials, down to zero. */
static void test_far(const struct sy_kernels *backend)
{
    static const float logit[] = {0.0f, -1.0f, -20.5f, -80.0f, -87.0f, -200.0f, -INFINITY};
    const struct sy_router_rule rule = SOFTMAX(7, 7, false, 1.0f);
    struct matrix m = new_matrix(backend, SY_F32, 7, 1);
    struct result r = new_result(1, 7, 7);
    float *x = new_floats(1);
    double sum = 0.0, ratio = 0.0;

    memcpy(m.published, logit, sizeof logit);
    matrix_pack_again(backend, &m);
    x[0] = 1.0f;
    run(backend, queues[0], &rule, &m, x, &r);
    free_bytes(x);
    for (int e = 0; e < 7; e++)
        sum += exp((double)logit[e]);
    for (int k = 0; k < 5; k++)
        worst(&ratio, (double)r.weights[k], exp((double)logit[k]) / sum, 6e-7 * exp((double)logit[k]) / sum);
    ok_worst(ratio, backend->name, "scores far below the largest");
    ok(r.weights[5] == 0.0f && r.weights[6] == 0.0f, "%s: are zero in the end", backend->name);
    free_result(&r);
    free_matrix(&m);
}

static void test_hostile(const struct sy_kernels *backend)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f};
    const struct sy_router_rule rule = SOFTMAX(45, 6, true, 1.0f);
    struct matrix m = new_matrix(backend, SY_F32, 45, D);
    struct result clean = new_result(20, 45, 6), r = new_result(20, 45, 6);
    float *x = random_floats(20 * D);
    bool valid = true, others = true;

    run(backend, queues[0], &rule, &m, x, &clean);
    for (int i = 0; i < 5; i++)
        x[(3 * i + 1) * D + random_int(0, D - 1)] = bad[i];
    run(backend, queues[1], &rule, &m, x, &r);
    valid = ids_valid(&r);
    for (int t = 0; t < 20; t++) {
        if (t % 3 != 1 || t > 13)
            others = others && !memcmp(r.ids + t * 6, clean.ids + t * 6, 24) &&
                     !memcmp(r.weights + t * 6, clean.weights + t * 6, 24);
    }
    /* One expert's weights are NaN: its logit alone is. */
    ((float *)m.published)[9 * D + 3] = NAN;
    matrix_pack_again(backend, &m);
    run(backend, queues[0], &rule, &m, x, &r);
    valid = valid && ids_valid(&r);
    ok(valid, "%s: NaN and infinities still give valid ids", backend->name);
    ok(others, "%s: and leave the other rows alone", backend->name);
    free_bytes(x);
    free_result(&clean);
    free_result(&r);
    free_matrix(&m);
}

/* T tokens, and few of them, which a GPU has other kernels for. */
static void test_exact(const struct sy_kernels *backend, int T, int width)
{
    const struct sy_router_rule rule = SOFTMAX(93, 8, true, 1.0f);
    struct matrix m = new_matrix(backend, SY_F32, 93, width);
    struct result whole = new_result(T, 93, 8), r = new_result(T, 93, 8);
    float *x = random_floats((size_t)(T * width));
    bool threads = true, rows = true;

    run(backend, queues[0], &rule, &m, x, &whole);
    for (int i = 1; i < THREADS_MAX; i++) {
        run(backend, queues[i], &rule, &m, x, &r);
        threads = threads && !memcmp(r.ids, whole.ids, (size_t)T * 32) &&
                  !memcmp(r.weights, whole.weights, (size_t)T * 32) &&
                  !memcmp(r.logits, whole.logits, (size_t)T * 93 * 4);
    }
    for (int t = 0; t < T; t += r.T) {
        r.T = random_int(1, T - t < 90 ? T - t : 90);
        run(backend, queues[1], &rule, &m, x + t * width, &r);
        rows = rows && !memcmp(r.ids, whole.ids + t * 8, (size_t)r.T * 32) &&
               !memcmp(r.weights, whole.weights + t * 8, (size_t)r.T * 32) &&
               !memcmp(r.logits, whole.logits + t * 93, (size_t)r.T * 93 * 4);
    }
    ok(threads, "%s, %d rows of %d: the same bits with 1, 2 and 3 threads", backend->name, T, width);
    ok(rows, "%s, %d rows of %d: the same bits with any other rows", backend->name, T, width);
    free_bytes(x);
    free_result(&whole);
    free_result(&r);
    free_matrix(&m);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(n * (28 + 7 * 3));
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_values(backends[b]);
        test_rules(backends[b]);
        test_ties(backends[b]);
        test_far(backends[b]);
        test_hostile(backends[b]);
        /* Inputs of a few slices and of many, and such that the last is not whole. */
        for (int i = 0; i < 3; i++) {
            int width = i == 2 ? 546 : 130 + 2 * i;
            test_exact(backends[b], random_int(930, 1050), width);
            test_exact(backends[b], random_int(1060, 1500), width);
            test_exact(backends[b], random_int(6340, 6500), width);
        }
        queues_end(backends[b]);
    }
    return tap_exit();
}

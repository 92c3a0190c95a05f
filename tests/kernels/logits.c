/* SPDX-License-Identifier: Apache-2.0
 * logits.c - largest logits and sums of exponentials over the vocabulary, against double
 */
#include "common.h"

static const int sizes[] = {1,   7,   8,   15,  16,   17,   127,   128,   129,   255,
                            256, 257, 511, 513, 4095, 4097, 32000, 50304, 151936};

#define N_SIZES       ((int)(sizeof sizes / sizeof *sizes))
#define LOG_SUM_SLACK 1e-6
#define WEIGHT_SLACK  1.5e-6

/* ---- scans with fenced outputs ---- */

static void new_scan(struct sy_logit_scan *scan, int V, float temperature, bool want_log_sum)
{
    size_t n_blocks = (size_t)sy_logit_blocks(V);

    poison(scan, sizeof *scan);
    scan->temperature = temperature;
    scan->want_log_sum = want_log_sum;
    scan->block_max = new_output(n_blocks * sizeof *scan->block_max);
    scan->block_weight = new_output(n_blocks * sizeof *scan->block_weight);
    scan->block_exp = new_output(n_blocks * sizeof *scan->block_exp);
}

/* Free a scan. False if anything was written outside its buffers. */
static bool end_scan(struct sy_logit_scan *scan, int V)
{
    size_t n_blocks = (size_t)sy_logit_blocks(V);
    bool inside = fences_hold(scan->block_max, n_blocks * sizeof *scan->block_max) &&
                  fences_hold(scan->block_weight, n_blocks * sizeof *scan->block_weight) &&
                  fences_hold(scan->block_exp, n_blocks * sizeof *scan->block_exp);

    free_output(scan->block_max);
    free_output(scan->block_weight);
    free_output(scan->block_exp);
    return inside;
}

/* Every result that a scan asks for, bit for bit. */
static bool same_bits(const struct sy_logit_scan *a, const struct sy_logit_scan *b, int V)
{
    size_t n_blocks = (size_t)sy_logit_blocks(V);
    bool same = a->argmax == b->argmax && !memcmp(&a->max, &b->max, sizeof a->max) &&
                !memcmp(a->block_max, b->block_max, n_blocks * sizeof *a->block_max);

    if (a->temperature > 0)
        same = same && !memcmp(&a->weight, &b->weight, sizeof a->weight) &&
               !memcmp(a->block_weight, b->block_weight, n_blocks * sizeof *a->block_weight);
    if (a->want_log_sum)
        same = same && !memcmp(&a->log_sum, &b->log_sum, sizeof a->log_sum);
    return same;
}

/* ---- the definition, in double ---- */

struct found {
    double log_sum, weight; /* worst error over tolerance */
    bool largest;           /* argmax, max and the blocks' largest are right */
};

static void compare(struct found *found, const struct sy_logit_scan *scan, const float *x, int V)
{
    double max = -INFINITY, log_sum = 0.0, weight = 0.0;
    int argmax = 0;

    for (int i = V; i-- > 0;) {
        if ((double)x[i] >= max) {
            max = (double)x[i];
            argmax = i;
        }
    }
    found->largest = found->largest && scan->argmax == argmax && (double)scan->max == max;
    for (int b = 0; b < sy_logit_blocks(V); b++) {
        double most = -INFINITY, block = 0.0;
        for (int i = b * SY_LOGIT_BLOCK; i < V && i < (b + 1) * SY_LOGIT_BLOCK; i++) {
            if (isnan(x[i]))
                continue;
            most = fmax(most, (double)x[i]);
            block += exp(((double)x[i] - max) / (double)scan->temperature);
            log_sum += exp((double)x[i] - max);
        }
        weight += block;
        found->largest = found->largest && (double)scan->block_max[b] == most;
        if (scan->temperature > 0 && isfinite(max))
            worst(&found->weight, scan->block_weight[b], block, WEIGHT_SLACK * block + 1e-300);
    }
    if (scan->temperature > 0 && isfinite(max))
        worst(&found->weight, scan->weight, weight, WEIGHT_SLACK * weight);
    else if (scan->temperature > 0)
        found->largest = found->largest && scan->weight == 0.0;
    if (scan->want_log_sum && isfinite(max))
        worst(&found->log_sum, scan->log_sum, max + log(log_sum), LOG_SUM_SLACK + 1e-15 * fabs(max));
    else if (scan->want_log_sum)
        found->largest = found->largest && scan->log_sum == max;
}

static struct found scan_one(const struct sy_kernels *backend, struct sy_queue *q, const float *x, int V,
                             float temperature)
{
    struct found found = {0, 0, true};
    struct sy_logit_scan *scan = new_bytes(sizeof *scan);

    new_scan(scan, V, temperature, true);
    backend->scan_logits(q, x, 1, V, scan);
    compare(&found, scan, x, V);
    if (!end_scan(scan, V))
        found.largest = false;
    free_bytes(scan);
    return found;
}

static void gather(struct found *all, struct found one)
{
    all->largest = all->largest && one.largest;
    worst(&all->log_sum, one.log_sum, 0.0, 1.0);
    worst(&all->weight, one.weight, 0.0, 1.0);
}

static void report(const struct found *found, const char *backend, const char *what)
{
    char text[96];

    ok(found->largest, "%s: %s: largest logits and their lowest id", backend, what);
    snprintf(text, sizeof text, "%s: log of the sum to 1e-6", what);
    ok_worst(found->log_sum, backend, text);
    snprintf(text, sizeof text, "%s: weights", what);
    ok_worst(found->weight, backend, text);
}

/* ---- rows that a model makes, and rows that it should not ---- */

static void test_sizes(const struct sy_kernels *backend)
{
    static const float temperatures[] = {1.0f, 0.7f, 0.0f, 100.0f, 0.01f};
    struct found found = {0, 0, true};

    for (int s = 0; s < N_SIZES; s++) {
        int V = sizes[s];
        float *x = random_floats((size_t)V), scale = (float)(1 << random_int(0, 5));
        for (int i = 0; i < V; i++)
            x[i] *= scale;
        for (int i = 0; i < 5; i++)
            gather(&found, scan_one(backend, queues[i % THREADS_MAX], x, V, temperatures[i]));
        free_bytes(x);
    }
    report(&found, backend->name, "any size");
}

/* One logit above all others, which are equal: every rounding error of a block has the same sign. Depths around that where
 * the others weigh most. */
static void test_systematic(const struct sy_kernels *backend)
{
    struct found found = {0, 0, true};
    int V = 256 * 40 + 3;
    float *x = new_floats((size_t)V);

    for (int i = 0; i < 200; i++) {
        float depth = 4.0f + 4.0f * random_float(), top = 30.0f * random_float();
        for (int v = 0; v < V; v++)
            x[v] = v % SY_LOGIT_BLOCK == 77 ? top : top - depth;
        gather(&found, scan_one(backend, queues[0], x, V, i % 2 ? 1.0f : 0.3f + 0.2f * random_float()));
    }
    report(&found, backend->name, "equal errors");
    free_bytes(x);
}

static void fill(float *x, int V, float value)
{
    for (int i = 0; i < V; i++)
        x[i] = value;
}

static void test_special(const struct sy_kernels *backend)
{
    static const float big[] = {0.0f, -1000.0f, 3e38f, -3e38f};
    struct found found = {0, 0, true};

    for (int s = 0; s < N_SIZES - 2; s++) {
        int V = sizes[s];
        float *x = new_floats((size_t)V);
        struct sy_queue *q = queues[s % THREADS_MAX];
        for (int i = 0; i < 4; i++) { /* all equal */
            fill(x, V, big[i]);
            gather(&found, scan_one(backend, q, x, V, 0.5f));
        }
        for (int i = 0; i < V; i++) /* huge spread */
            x[i] = 3e38f * random_float();
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        gather(&found, scan_one(backend, q, x, V, 1e-42f));
        for (int i = 0; i < V; i++) /* ties: few values, between NaN and -inf */
            x[i] = random_int(0, 3) ? (float)random_int(-4, 4) : random_int(0, 1) ? NAN : -INFINITY;
        gather(&found, scan_one(backend, q, x, V, 1.5f));
        fill(x, V, NAN); /* one number at either end and in the middle */
        x[V - 1] = -5.0f;
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        x[V / 2] = -4.0f;
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        x[0] = -5.0f;
        gather(&found, scan_one(backend, q, x, V, 2.0f));
        fill(x, V, NAN); /* -inf beats NaN */
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        x[V - 1] = -INFINITY;
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        fill(x, V, -INFINITY);
        gather(&found, scan_one(backend, q, x, V, 1.0f));
        x[V / 3] = INFINITY;
        gather(&found, scan_one(backend, q, x, V, 0.7f));
        free_bytes(x);
    }
    report(&found, backend->name, "NaN, infinities, ties and huge spread");
}

/* ---- the same bits whatever else is asked ---- */

static void test_exact(const struct sy_kernels *backend)
{
    static const float temperatures[] = {1.0f, 0.0f, 0.8f, 1.3f};
    enum { T = 9 };
    bool rows = true, asked = true, inside = true;

    for (int s = 0; s < N_SIZES - 1; s++) {
        int V = sizes[s];
        float *x = random_floats((size_t)(T * V));
        struct sy_logit_scan *together = new_bytes((T + 2) * sizeof *together), *alone = together + T;
        struct sy_logit_scan *plain = alone + 1;
        for (int t = 0; t < T; t++)
            new_scan(&together[t], V, temperatures[t % 4], t % 3 != 1);
        backend->scan_logits(queues[2], x, T, V, together);
        for (int t = 0; t < T; t++) {
            const float *row = x + (size_t)t * (size_t)V;
            for (int threads = 0; threads < THREADS_MAX; threads++) {
                new_scan(alone, V, temperatures[t % 4], t % 3 != 1);
                backend->scan_logits(queues[threads], row, 1, V, alone);
                rows = rows && same_bits(&together[t], alone, V);
                inside = end_scan(alone, V) && inside;
            }
            /* The log of the sum does not depend on the temperature, nor weights on whether that log is wanted. */
            new_scan(plain, V, temperatures[t % 4] == 1.0f ? 0.6f : 1.0f, true);
            backend->scan_logits(queues[1], row, 1, V, plain);
            asked = asked &&
                    (!together[t].want_log_sum || !memcmp(&plain->log_sum, &together[t].log_sum, sizeof(double)));
            inside = end_scan(plain, V) && inside;
            new_scan(plain, V, temperatures[t % 4], !together[t].want_log_sum);
            backend->scan_logits(queues[1], row, 1, V, plain);
            plain->want_log_sum = false;
            asked = asked && same_bits(plain, &together[t], V);
            inside = end_scan(plain, V) && inside;
        }
        for (int t = 0; t < T; t++)
            inside = end_scan(&together[t], V) && inside;
        free_bytes(together);
        free_bytes(x);
    }
    backend->scan_logits(queues[1], NULL, 0, 100, NULL);
    ok(rows, "%s: the same bits for any rows and threads", backend->name);
    ok(asked, "%s: the same bits whatever else is asked for", backend->name);
    ok(inside, "%s: nothing is written outside the blocks' results", backend->name);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends);

    plan_backends(n * 12);
    random_begin();
    for (int b = 0; b < n; b++) {
        queues_begin(backends[b]);
        test_sizes(backends[b]);
        test_systematic(backends[b]);
        test_special(backends[b]);
        test_exact(backends[b]);
        queues_end(backends[b]);
    }
    return tap_exit();
}

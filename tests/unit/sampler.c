/* SPDX-License-Identifier: Apache-2.0
 * sampler.c - top-k, top-p, temperature and the most likely tokens against their definitions
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "testrand.h"

/* A few blocks of the scan and a part of one. */
#define V        1500
#define N_BLOCKS (V / SY_LOGIT_BLOCK + 1)

static float logits[V];
static struct sy_candidate candidates[V];
static struct sy_sampler_scratch scratch = {candidates};
static float block_max[N_BLOCKS];
static double block_weight[N_BLOCKS], block_exp[N_BLOCKS];
static struct sy_queue *queue;

static struct sy_request request_of(float temperature, float top_p, int top_k, uint64_t seed)
{
    return (struct sy_request){.temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = seed};
}

/* The logits as the engine scans them for a request. */
static struct sy_logit_scan scan_for(const struct sy_request *request)
{
    struct sy_logit_scan scan = {.temperature = sy_sample_scan_temperature(request, V),
                                 .block_max = block_max,
                                 .block_weight = block_weight,
                                 .block_exp = block_exp};

    sy_kernels_cpu(sy_isa_best())->scan_logits(queue, logits, 1, V, &scan);
    return scan;
}

static struct sy_logit_row row_of(const struct sy_logit_scan *scan)
{
    return (struct sy_logit_row){.vocab = V, .scan = scan, .logits = logits};
}

static int32_t sample(const struct sy_request *request, int index)
{
    struct sy_logit_scan scan = scan_for(request);
    struct sy_logit_row row = row_of(&scan);

    return sy_sample(request, index, &row, &scratch);
}

/* The same draw, and the most likely tokens, from what a device would pick of the row: at most `room` tokens. */
static int32_t sample_picked(const struct sy_request *request, int index, int n_top, int room, int32_t *top,
                             float *drawn)
{
    static int32_t ids[2][V];
    static float some[2][V];
    struct sy_logit_pick picks[2] = {{.room = room, .ids = ids[0], .logits = some[0]},
                                     {.room = room, .ids = ids[1], .logits = some[1], .kind = SY_PICK_TOP, .n = n_top}};
    struct sy_logit_scan scan = scan_for(request), seen = scan;

    bool wanted = sy_sample_pick(request, index, V, &picks[0]);
    sy_kernels_ref()->pick_logits(NULL, logits, V, &scan, picks + !wanted, 1 + wanted);
    seen.block_max = NULL;
    seen.block_weight = NULL;
    struct sy_logit_row row = {.vocab = V, .scan = &seen, .draw = wanted ? &picks[0] : NULL, .top = &picks[1]};
    int32_t token = sy_sample(request, index, &row, &scratch);
    if (!sy_top_tokens(&row, n_top, top, NULL))
        top[0] = SY_LOGITS_MISSING;
    *drawn = token < 0 ? 0 : sy_drawn_logit(&row, token);
    return token;
}

/* All ids, most likely first, equal ones by id, NaN last. */
static void sort_ids(int *order)
{
    for (int i = 0; i < V; i++) {
        int at = i;
        for (; at && (logits[order[at - 1]] < logits[i] || (isnan(logits[order[at - 1]]) && !isnan(logits[i]))); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Draw many tokens. Each must be the one on whose share of the line from 0 to 1 its random number falls, where the allowed
 * tokens' shares are their renormalised probabilities, in order of id, or of probability under top-k and top-p. Returns how
 * far outside its token's share a random number was at most; 1 if another token than the allowed ones was drawn. */
static double check_shares(const struct sy_request *request, double top_p, const int *order)
{
    static double p[V], begin[V];
    struct sy_logit_scan scan = scan_for(request);
    struct sy_logit_row row = row_of(&scan);
    int n = request->top_k && request->top_k < V ? request->top_k : V;
    double total = 0, mass = 0, far = 0;

    for (int i = 0; i < V; i++) {
        double weight = exp(((double)logits[order[i]] - (double)logits[order[0]]) / (double)request->temperature);
        p[order[i]] = i < n && !isnan(logits[order[i]]) ? weight : 0;
        total += p[order[i]];
    }
    for (int i = 0; i < V; i++) {
        if (i && mass >= top_p * total)
            p[order[i]] = 0;
        begin[order[i]] = mass;
        mass += p[order[i]];
    }
    if (n == V && request->top_p >= 1) {
        mass = 0;
        for (int i = 0; i < V; i++) {
            begin[i] = mass;
            mass += p[i];
        }
    }
    for (int i = 0; i < 1000; i++) {
        int32_t id = sy_sample(request, i, &row, &scratch);
        double u = sy_sample_uniform(request->seed, (uint64_t)i);
        far = fmax(far, fmax(begin[id] / mass - u, u - (begin[id] + p[id]) / mass));
        if (p[id] == 0)
            return 1;
    }
    return far;
}

static const struct {
    float temperature, top_p;
    int top_k;
} cases[] = {{1, 1, 0},    {0.5f, 1, 0},     {2, 1, 0},         {100, 1, 0}, {0.01f, 1, 0}, {1, 0.7f, 0},
             {2, 0.9f, 0}, {100, 0.99f, 0},  {1, 0.999999f, 0}, {1, 0, 0},   {1, 1, 1},     {1, 1, 3},
             {1, 1, 7},    {0.8f, 0.6f, 20}, {1, 0.9f, 1000},   {1, 0.5f, V}};

static void check_all_draws(const char *what)
{
    static int order[V];

    sort_ids(order);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_request request = request_of(cases[i].temperature, cases[i].top_p, cases[i].top_k, 77);
        /* Where the top tokens weigh top_p to within the sums' rounding, one more or less is right, too. */
        double p = (double)cases[i].top_p, far = check_shares(&request, p, order);
        for (int more = -1; more <= 1 && far >= 5e-6; more += 2)
            far = fmin(far, check_shares(&request, p + more * 2e-6, order));
        ok(far < 5e-6, "%s, temperature %g, top-p %g, top-k %d: a token has its share of random numbers (off by %.0e)",
           what, (double)cases[i].temperature, p, cases[i].top_k, far);
    }
}

/* A device's picks give the same tokens, or say that they are not enough. */
static void check_picks(const char *what)
{
    static const int rooms[] = {V, 300, 20};
    int n_other = 0, n_missing = 0, n_kept = 0, n_draws = 0;
    struct sy_request greedy = request_of(0, 1, 0, 0);

    for (size_t i = 0; i < sizeof cases / sizeof *cases * 150; i++) {
        size_t c = i % (sizeof cases / sizeof *cases);
        struct sy_request request = request_of(cases[c].temperature, cases[c].top_p, cases[c].top_k, 5);
        struct sy_logit_scan scan = scan_for(&request);
        struct sy_logit_row row = row_of(&scan);
        int index = (int)i, n_top = (int)(i % 6), room = rooms[i % 3];
        int32_t token = sy_sample(&request, index, &row, &scratch), top[6], picked_top[6];
        float drawn;
        sy_top_tokens(&row, n_top, top, NULL);
        picked_top[0] = 0;
        int32_t picked = sample_picked(&request, index, n_top, room, picked_top, &drawn);
        bool missing = picked == SY_LOGITS_MISSING, top_missing = picked_top[0] == SY_LOGITS_MISSING;
        n_draws++;
        n_missing += missing && room == V;
        n_kept += !missing && room < V;
        n_other += (!missing && (picked != token || drawn != logits[token])) ||
                   (!top_missing && memcmp(top, picked_top, (size_t)n_top * sizeof *top));
    }
    float drawn;
    int32_t top[1];
    n_other += sample_picked(&greedy, 0, 0, V, top, &drawn) != sample(&greedy, 0);
    is_int(n_other, 0, "%s: %d draws from what a device picks give the same tokens", what, n_draws);
    is_int(n_missing, 0, "%s: which are enough where there is room", what);
    ok(n_kept > 0, "%s: and %d times with little room", what, n_kept);
}

/* Random numbers fill the line evenly. */
static void check_uniform(void)
{
    enum { N = 100000, BINS = 50 };
    int counts[BINS] = {0};
    double worst = 0, sd = sqrt((double)N / BINS);

    for (int i = 0; i < N; i++)
        counts[(int)(sy_sample_uniform(77, (uint64_t)i) * BINS)]++;
    for (int i = 0; i < BINS; i++)
        worst = fmax(worst, fabs(counts[i] - (double)N / BINS) / sd);
    ok(worst < 5, "random numbers are uniform (worst %.1f sigma)", worst);
}

static void check_top_tokens(const char *what)
{
    static int order[V];
    struct sy_request greedy = request_of(0, 1, 0, 0);
    struct sy_logit_scan scan = scan_for(&greedy);
    struct sy_logit_row row = row_of(&scan);
    int32_t top[SY_TOP_LOGPROBS_MAX + 1];
    bool right = true, inside = true;

    sort_ids(order);
    for (int n = 0; n <= SY_TOP_LOGPROBS_MAX; n++) {
        top[n] = -77;
        right = right && sy_top_tokens(&row, n, top, NULL);
        for (int i = 0; i < n; i++)
            right = right && top[i] == order[i];
        inside = inside && top[n] == -77;
    }
    ok(right && inside, "%s: the most likely tokens come first, equal ones by id", what);
    is_int(sample(&greedy, 0), order[0], "%s: temperature 0 is greedy", what);
}

int main(void)
{
    struct testrand rand = testrand_begin();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_pool *pool;

    if (sy_pool_create(1, NULL, 0, &pool, &err) || sy_kernels_cpu(sy_isa_best())->queue_create(pool, &queue, &err))
        bail("%s", err.text);
    for (int i = 0; i < V; i++)
        logits[i] = 4 * testrand_float(&rand);
    logits[123] = logits[321] = logits[1234] = 5;
    check_uniform();
    check_all_draws("plain");
    check_top_tokens("plain");
    check_picks("plain");

    struct sy_request a = request_of(1, 1, 0, 1), b = request_of(1, 1, 0, 2);
    int same = 0, repeat = 0;
    for (int i = 0; i < 200; i++) {
        same += sample(&a, i) == sample(&b, i);
        repeat += sample(&a, i) == sample(&a, i);
    }
    is_int(repeat, 200, "the same seed and position draw the same token");
    ok(same < 100, "another seed draws others (%d of 200 equal)", same);

    /* Masked tokens: a whole block of NaN, one of -inf, and some of both elsewhere. */
    for (int i = 0; i < V; i++)
        if (i < SY_LOGIT_BLOCK || i % 7 == 3)
            logits[i] = NAN;
        else if (i / SY_LOGIT_BLOCK == 2 || i % 11 == 3)
            logits[i] = -INFINITY;
    check_all_draws("masked");
    check_top_tokens("masked");
    check_picks("masked");

    /* Most tokens equal: ties at every border. */
    for (int i = 0; i < V; i++)
        logits[i] = i % 5 ? 1.0f : i % 3 ? 2.0f : NAN;
    check_all_draws("ties");
    check_top_tokens("ties");
    check_picks("ties");

    /* A few tokens and a plain far below that weighs as much. */
    for (int i = 0; i < V; i++)
        logits[i] = i % 300 == 17 ? 0.0f : -6.0f;
    check_all_draws("plateau");
    check_top_tokens("plateau");
    check_picks("plateau");

    for (int i = 0; i < V; i++)
        logits[i] = i == 700 ? 3.0f : NAN;
    is_int(sample(&a, 0), 700, "one number among NaN is drawn");
    struct sy_request top = request_of(1, 0.5f, 40, 1);
    is_int(sample(&top, 0), 700, "one number among NaN is drawn with top-k and top-p");
    check_top_tokens("one number");
    for (int i = 0; i < V; i++)
        logits[i] = NAN;
    is_int(sample(&a, 0), 0, "logits that are all NaN give token 0");
    logits[900] = INFINITY;
    is_int(sample(&a, 0), 900, "an infinite logit is drawn");
    sy_kernels_cpu(sy_isa_best())->queue_destroy(queue);
    sy_pool_destroy(pool);
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * sampler.c - greedy, top-k, top-p and temperature against their definitions
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

#include "tap.h"
#include "testrand.h"

#define V 500

static float logits[V];
static struct sy_candidate candidates[V];
static struct sy_sampler_scratch scratch = {candidates};

static struct sy_request request_of(float temperature, float top_p, int top_k, uint64_t seed)
{
    return (struct sy_request){.temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = seed};
}

/* Draw many tokens and compare their frequencies with the allowed set's renormalised probabilities. */
static void check_frequencies(float temperature, float top_p, int top_k, const char *name)
{
    enum { N = 40000 };
    double p[V], total = 0, mass = 0, worst = 0;
    int order[V], counts[V] = {0}, n_kept = 0, stray = 0;

    for (int i = 0; i < V; i++) {
        int at = i;
        for (; at && logits[order[at - 1]] < logits[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    int n = top_k ? top_k : V;
    for (int i = 0; i < n; i++)
        total += exp(logits[order[i]] / temperature);
    for (int i = 0; i < V; i++)
        p[i] = 0;
    for (int i = 0; i < n && mass < top_p * total; i++) {
        p[order[i]] = exp(logits[order[i]] / temperature);
        mass += p[order[i]];
        n_kept++;
    }
    for (int i = 0; i < N; i++) {
        struct sy_request request = request_of(temperature, top_p, top_k, 77);
        counts[sy_sample(&request, i, logits, V, &scratch)]++;
    }
    for (int i = 0; i < V; i++) {
        double expected = p[i] / mass, sd = sqrt(expected * (1 - expected) / N);
        stray += p[i] == 0 && counts[i] > 0;
        if (p[i] > 0)
            worst = fmax(worst, fabs((double)counts[i] / N - expected) / (sd + 1e-4));
    }
    ok(!stray, "%s: only the %d allowed tokens are drawn", name, n_kept);
    ok(worst < 6, "%s: frequencies follow the probabilities (worst %.1f sigma)", name, worst);
}

int main(void)
{
    struct testrand rand = testrand_begin();
    int32_t top[5];

    for (int i = 0; i < V; i++)
        logits[i] = 4 * testrand_float(&rand);
    logits[123] = logits[321] = 5;
    is_int(sy_sample_greedy(logits, V), 123, "greedy takes the lowest id of equal logits");
    logits[0] = NAN;
    is_int(sy_sample_greedy(logits, V), 123, "NaN is not chosen");
    logits[0] = -INFINITY;
    sy_top_tokens(logits, V, 5, top);
    ok(top[0] == 123 && top[1] == 321, "most likely tokens come first, equal ones by id");
    bool falling = true;
    for (int i = 2; i < 5; i++)
        for (int j = 0; j < V; j++)
            falling &= logits[j] <= logits[top[i]] || j == top[0] || j == top[1] || j == top[2] || j == top[3];
    ok(falling, "the n most likely are the n largest");
    double sum = 0;
    for (int i = 0; i < V; i++)
        sum += exp((double)logits[i]);
    is_close(sy_log_sum_exp(logits, V), log(sum), 1e-12, 1e-12, "log of the sum of exponentials");

    check_frequencies(1.0f, 1.0f, 0, "temperature 1");
    check_frequencies(0.5f, 1.0f, 0, "temperature 0.5");
    check_frequencies(1.0f, 0.7f, 0, "top-p 0.7");
    check_frequencies(2.0f, 0.9f, 0, "temperature 2, top-p 0.9");
    check_frequencies(1.0f, 1.0f, 7, "top-k 7");
    check_frequencies(0.8f, 0.6f, 20, "temperature 0.8, top-k 20, top-p 0.6");

    struct sy_request a = request_of(1, 1, 0, 1), b = request_of(1, 1, 0, 2);
    int same = 0, repeat = 0;
    for (int i = 0; i < 200; i++) {
        same += sy_sample(&a, i, logits, V, &scratch) == sy_sample(&b, i, logits, V, &scratch);
        repeat += sy_sample(&a, i, logits, V, &scratch) == sy_sample(&a, i, logits, V, &scratch);
    }
    is_int(repeat, 200, "the same seed and position draw the same token");
    ok(same < 100, "another seed draws others (%d of 200 equal)", same);
    struct sy_request greedy = request_of(0, 0.5f, 3, 9);
    is_int(sy_sample(&greedy, 0, logits, V, &scratch), 123, "temperature 0 is greedy");
    for (int i = 0; i < V; i++)
        logits[i] = NAN;
    int32_t id = sy_sample(&a, 0, logits, V, &scratch);
    ok(id >= 0 && id < V, "logits that are all NaN give some valid id");
    done();
    return tap_exit();
}

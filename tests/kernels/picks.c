/* SPDX-License-Identifier: Apache-2.0
 * picks.c - the few logits that the host sees of a row, against their definition
 */
#include "common.h"

static const int sizes[] = {1, 16, 255, 256, 257, 600, 4097, 32000, 151936};

#define N_SIZES    ((int)(sizeof sizes / sizeof *sizes))
#define ROWS       3
#define PICKS      7
#define ROOM_MAX   5000
#define MASS_SLACK 1e-5 /* weights of a nucleus may be FP32 */

struct subject {
    int V;
    float *x; /* [ROWS, V] */
    struct sy_logit_scan *scans;
    struct sy_logit_pick *picks;
};

static void open_subject(struct subject *s, int V)
{
    size_t n_blocks = (size_t)sy_logit_blocks(V);

    s->V = V;
    s->x = new_floats(ROWS * (size_t)V);
    s->scans = new_bytes(ROWS * sizeof *s->scans);
    s->picks = new_bytes(PICKS * sizeof *s->picks);
    for (int r = 0; r < ROWS; r++) {
        s->scans[r].block_max = new_floats(n_blocks);
        s->scans[r].block_weight = new_bytes(n_blocks * sizeof(double));
        s->scans[r].block_exp = new_bytes(n_blocks * sizeof(double));
    }
}

static void close_subject(struct subject *s)
{
    for (int r = 0; r < ROWS; r++) {
        free_bytes(s->scans[r].block_max);
        free_bytes(s->scans[r].block_weight);
        free_bytes(s->scans[r].block_exp);
    }
    free_bytes(s->scans);
    free_bytes(s->picks);
    free_bytes(s->x);
}

/* All tokens from begin to end that reach floor, or all of them, are what the list begins with. */
static bool lists(const struct sy_logit_pick *pick, const float *x, int begin, int end, bool all, float floor)
{
    int n = 0;

    for (int i = begin; i < end; i++) {
        if (!all && !(x[i] >= floor))
            continue;
        if (n < pick->room && (pick->ids[n] != i || memcmp(&pick->logits[n], &x[i], sizeof x[i])))
            return false;
        n++;
    }
    return pick->n_found == n;
}

static bool is_top(const struct sy_logit_pick *pick, const float *x, int V, const struct sy_logit_scan *scan)
{
    int n_blocks = sy_logit_blocks(V), n_reach = 0, n_above = 0;

    if (pick->n > n_blocks)
        return pick->floor == -INFINITY && lists(pick, x, 0, V, false, -INFINITY);
    for (int b = 0; b < n_blocks; b++) {
        n_reach += scan->block_max[b] >= pick->floor;
        n_above += scan->block_max[b] > pick->floor;
    }
    return n_reach >= pick->n && n_above < pick->n && lists(pick, x, 0, V, false, pick->floor);
}

static double mass_of(const float *x, int V, const struct sy_logit_scan *scan, float floor)
{
    double mass = 0.0;

    for (int i = 0; i < V; i++)
        mass += x[i] >= floor ? exp(((double)x[i] - (double)scan->max) / (double)scan->temperature) : 0.0;
    return mass;
}

static bool is_near(const struct sy_logit_pick *pick, const float *x, int V, const struct sy_logit_scan *scan)
{
    double enough = pick->share * scan->weight;
    int depth = SY_PICK_STEP;

    while (depth <= SY_PICK_DEPTH && pick->floor != scan->max - (float)depth * scan->temperature)
        depth += SY_PICK_STEP;
    bool all = depth > SY_PICK_DEPTH;
    if (all && pick->floor != -INFINITY)
        return false;
    float higher = scan->max - (float)(depth - SY_PICK_STEP) * scan->temperature;
    return lists(pick, x, 0, V, false, pick->floor) &&
           (all || mass_of(x, V, scan, pick->floor) >= enough * (1 - MASS_SLACK)) &&
           (depth == SY_PICK_STEP || mass_of(x, V, scan, higher) <= enough * (1 + MASS_SLACK));
}

static bool is_block(const struct sy_logit_pick *pick, const float *x, int V, const struct sy_logit_scan *scan)
{
    double left = pick->share * scan->weight;
    int b, n_blocks = sy_logit_blocks(V);

    for (b = 0; b < n_blocks && left >= scan->block_weight[b]; b++)
        left -= scan->block_weight[b];
    if (pick->block != b || pick->left != left)
        return false;
    if (b == n_blocks)
        return !pick->n_found;
    return pick->block_weight == scan->block_weight[b] && pick->block_max == scan->block_max[b] &&
           lists(pick, x, b * SY_LOGIT_BLOCK, b == n_blocks - 1 ? V : (b + 1) * SY_LOGIT_BLOCK, true, 0);
}

static bool is_right(const struct subject *s, const struct sy_logit_pick *pick)
{
    const struct sy_logit_scan *scan = &s->scans[pick->row];
    const float *x = s->x + (size_t)pick->row * (size_t)s->V;

    if (pick->kind == SY_PICK_TOKEN)
        return lists(pick, x, pick->n, pick->n + 1, true, 0);
    if (pick->kind == SY_PICK_TOP)
        return is_top(pick, x, s->V, scan);
    if (!isfinite(scan->max))
        return !pick->n_found;
    return pick->kind == SY_PICK_NEAR ? is_near(pick, x, s->V, scan) : is_block(pick, x, s->V, scan);
}

/* Ask for random picks, each with a fenced list. Returns how many are wrong, or were written beside. */
static int ask(const struct sy_kernels *backend, struct sy_queue *q, struct subject *s, int n[4])
{
    static const double shares[] = {0.0, 0.5, 0.9, 0.99, 0.999999, 1.0};
    int n_wrong = 0;

    for (int p = 0; p < PICKS; p++) {
        struct sy_logit_pick *pick = &s->picks[p];
        poison(pick, sizeof *pick);
        pick->kind = (enum sy_pick_kind)random_int(0, 3);
        pick->row = random_int(0, ROWS - 1);
        pick->n = pick->kind == SY_PICK_TOKEN ? random_int(0, s->V - 1) : random_int(1, s->V < 40 ? s->V : 40);
        pick->share = pick->kind == SY_PICK_NEAR ? shares[random_int(0, 5)] : fabs((double)random_float());
        pick->room = random_int(0, 2) ? ROOM_MAX : random_int(1, 300);
        pick->ids = new_output((size_t)pick->room * sizeof *pick->ids);
        pick->logits = new_output((size_t)pick->room * sizeof *pick->logits);
    }
    backend->pick_logits(q, s->x, s->V, s->scans, s->picks, PICKS);
    for (int p = 0; p < PICKS; p++) {
        struct sy_logit_pick *pick = &s->picks[p];
        size_t bytes = (size_t)pick->room * sizeof(float);
        bool good = is_right(s, pick) && fences_hold(pick->ids, bytes) && fences_hold(pick->logits, bytes);
        if (!good)
            diag("%s: V %d, kind %d, row %d, n %d, share %g, room %d, temperature %g, max %g: found %d", backend->name,
                 s->V, (int)pick->kind, pick->row, (int)pick->n, pick->share, pick->room,
                 (double)s->scans[pick->row].temperature, (double)s->scans[pick->row].max, pick->n_found);
        n_wrong += !good;
        n[pick->kind]++;
        free_output(pick->ids);
        free_output(pick->logits);
    }
    return n_wrong;
}

enum style { PLAIN, TIES, ODD, N_STYLES };

static void fill(struct subject *s, enum style style)
{
    for (size_t i = 0; i < (size_t)ROWS * (size_t)s->V; i++) {
        float x = random_float();
        if (style == PLAIN)
            s->x[i] = 12 * x * x * x;
        else if (style == TIES)
            s->x[i] = (float)random_int(-3, 3);
        else
            s->x[i] = random_int(0, 2) ? 3 * x : random_int(0, 1) ? NAN : -INFINITY;
    }
    /* Of one row nothing is a number, of another one the largest is infinite. */
    for (int i = 0; i < s->V && style == ODD; i++)
        s->x[i] = NAN;
    if (style == ODD)
        s->x[s->V + s->V / 2] = INFINITY;
}

static void test(const struct sy_kernels *backend, enum style style, const char *what)
{
    static const float temperatures[] = {1.0f, 0.3f, 2.0f, 0.01f, 100.0f};
    int n_wrong = 0, n[4] = {0};

    for (int i = 0; i < 3 * N_SIZES; i++) {
        struct subject s;
        if (sizes[i % N_SIZES] > 5000 && i >= 2 * N_SIZES)
            continue;
        open_subject(&s, sizes[i % N_SIZES]);
        fill(&s, style);
        for (int r = 0; r < ROWS; r++)
            s.scans[r].temperature = temperatures[random_int(0, 4)];
        backend->scan_logits(queues[0], s.x, ROWS, s.V, s.scans);
        n_wrong += ask(backend, queues[0], &s, n);
        close_subject(&s);
    }
    ok(!n_wrong, "%s: %s: %d tokens, %d tops, %d nuclei and %d blocks are as asked for", backend->name, what, n[0],
       n[1], n[2], n[3]);
}

int main(void)
{
    const struct sy_kernels *backends[BACKENDS_MAX];
    int n = all_backends(backends), n_with = 0;

    for (int b = 0; b < n; b++)
        n_with += backends[b]->pick_logits != NULL;
    plan_backends(n_with * N_STYLES);
    random_begin();
    for (int b = 0; b < n; b++) {
        if (!backends[b]->pick_logits)
            continue;
        queues_begin(backends[b]);
        test(backends[b], PLAIN, "rows as models make them");
        test(backends[b], TIES, "ties");
        test(backends[b], ODD, "NaN and infinities");
        queues_end(backends[b]);
    }
    return tap_exit();
}

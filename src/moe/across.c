/* SPDX-License-Identifier: Apache-2.0
 * across.c - layers over ranks whose devices write to each other's memory
 */
#include "moe/across.h"

#include <limits.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "moe/whole.h"

#define N_COUNTS     4
#define LOOKS        4                 /* at whether the device goes on, within the deadline */
#define PIECE_BYTES  ((size_t)1 << 30) /* of rows and activations */
/* Of a piece's rows, from which on copy engines bring them to several ranks: a copy takes some microseconds to begin. One other
 * rank gets them sooner from a kernel. */
#define COPIED_BYTES ((size_t)8 << 20)
#define AHEAD_BYTES  ((size_t)1 << 20) /* of a rank's rows */
#define AHEAD_SHARE  0.8        /* of ranks that a token goes to: then it may as well go to all, before that is known */
#define STOPPED_NS   100000000  /* between two looks: this process was stopped meanwhile, which counts for nothing */
#define RELEASE_NS   5000000000 /* to end what the device waits for */

static int less(int a, int b)
{
    return a < b ? a : b;
}

static int few_tokens(const struct sy_moe_config *config)
{
    return less(config->max_tokens, SY_ACROSS_FEW);
}

/* Tokens of a rank in a piece of many, at most: all ranks' may have all their choices at one. */
static int piece_tokens(const struct sy_moe_config *config, int n_ranks)
{
    size_t each = (size_t)n_ranks * (size_t)config->rule.top_k * sizeof(uint16_t) *
                  ((size_t)config->hidden + (size_t)config->expert_width);
    size_t n = PIECE_BYTES / each / SY_ACROSS_FEW * SY_ACROSS_FEW, most = (size_t)config->max_tokens;

    n = n > SY_ACROSS_FEW ? n : SY_ACROSS_FEW;
    return (int)(n < most ? n : most);
}

static int pieces_of(int n_tokens, int each)
{
    return n_tokens > each ? (n_tokens - 1) / each + 1 : 1;
}

/* Pieces that there are words for. */
static int pieces_most(const struct sy_moe_config *config, int n_ranks)
{
    return less(pieces_of(config->max_tokens, piece_tokens(config, n_ranks)), SY_ACROSS_PIECES_MAX);
}

/* What the backend and the layers' shape allow, the same on all ranks. */
static bool can_be(const struct sy_moe_config *config, int n_ranks)
{
    const struct sy_kernels *k = config->kernels;

    return k->across && k->lender && n_ranks > 1 && n_ranks <= SY_ACROSS_RANKS_MAX && !config->reverse_k &&
           config->wire == SY_BF16 && config->hidden % 8 == 0 && config->rule.top_k <= SY_ACROSS_CHOICES_MAX;
}

/* A window whose first byte is at `base`; *bytes: of all of it. */
static struct sy_moe_window window_at(const struct sy_moe_config *config, int n_ranks, uint8_t *base, size_t *bytes)
{
    size_t R = (size_t)n_ranks, T = (size_t)config->max_tokens, K = (size_t)config->rule.top_k;
    size_t row = (size_t)config->hidden * sizeof(uint16_t), results = R * T * row;
    size_t slots = sy_arena_round(results + T * K * row);
    size_t n_words = (size_t)pieces_most(config, n_ranks) * R;
    size_t n_tokens = slots + sy_arena_round(R * T * K * sizeof(int32_t));
    size_t arrived = n_tokens + sy_arena_round(n_words * sizeof(int32_t));

    *bytes = arrived + sy_arena_round(SY_N_NEWS * n_words * sizeof(uint32_t));
    return (struct sy_moe_window){.rows = base,
                                  .slots = (int32_t *)(base + slots),
                                  .n_tokens = (int32_t *)(base + n_tokens),
                                  .arrived = (uint32_t *)(base + arrived),
                                  .results = base + results};
}

size_t sy_across_window_bytes(const struct sy_moe_config *config, int n_ranks)
{
    size_t bytes = 0, before = ((size_t)n_ranks * (size_t)config->max_tokens +
                                (size_t)config->max_tokens * (size_t)config->rule.top_k) *
                               (size_t)config->hidden * sizeof(uint16_t);

    if (!can_be(config, n_ranks))
        return 0;
    window_at(config, n_ranks, NULL, &bytes);
    return bytes - before;
}

/* Of T tokens, of few or many; without what a layer adds. */
static struct sy_moe_across call_of(const struct sy_moe_config *config, int rank, int n_ranks, int n_slots, bool many,
                                    int T)
{
    return (struct sy_moe_across){.run.shape = {.T = T,
                                                .D = config->hidden,
                                                .F = config->expert_width,
                                                .E = config->rule.n_experts,
                                                .K = config->rule.top_k},
                                  .rank = rank,
                                  .n_ranks = n_ranks,
                                  .most = many ? piece_tokens(config, n_ranks) : few_tokens(config),
                                  .rows_each = config->max_tokens,
                                  .n_slots = n_slots,
                                  .n_pieces = 1,
                                  .pieces_most = pieces_most(config, n_ranks),
                                  .many = many,
                                  .apart = config->in_turn};
}

static int slots_most(const struct sy_moe_config *config, int rank)
{
    int n = 0;

    for (int layer = 0; layer < config->placement->n_layers; layer++) {
        int local = sy_placement_n_local(config->placement, layer, rank);
        n = local > n ? local : n;
    }
    return n;
}

static size_t table_bytes(const struct sy_moe_config *config, int n_slots)
{
    return sy_arena_round(config->kernels->moe_table_bytes(n_slots));
}

static size_t workspace_bytes(const struct sy_moe_config *config, int rank, int n_ranks)
{
    struct sy_moe_across few = call_of(config, rank, n_ranks, slots_most(config, rank), false, 0);
    struct sy_moe_across many = call_of(config, rank, n_ranks, slots_most(config, rank), true, 0);
    size_t few_bytes = config->kernels->across_bytes(&few), many_bytes = config->kernels->across_bytes(&many);

    return sy_arena_round(few_bytes > many_bytes ? few_bytes : many_bytes);
}

static size_t homes_bytes(const struct sy_moe_config *config)
{
    return sy_arena_round((size_t)config->placement->n_layers * (size_t)config->rule.n_experts * 2 * sizeof(int32_t));
}

static size_t ids_bytes(const struct sy_moe_config *config)
{
    return sy_arena_round((size_t)config->max_tokens * (size_t)config->rule.top_k * sizeof(int32_t));
}

static size_t own_bytes(const struct sy_moe_config *config)
{
    return sy_arena_round((size_t)config->max_tokens * (size_t)config->hidden * sizeof(uint16_t));
}

size_t sy_across_bytes(const struct sy_moe_config *config, int rank, int n_ranks)
{
    if (!can_be(config, n_ranks) || (config->residency && !sy_whole_one_type(config)))
        return 0;
    return workspace_bytes(config, rank, n_ranks) +
           (size_t)config->placement->n_layers * table_bytes(config, slots_most(config, rank)) + homes_bytes(config) +
           ids_bytes(config) + own_bytes(config) + sy_arena_round((size_t)n_ranks * sizeof(struct sy_moe_window)) +
           sy_arena_round(N_COUNTS * sizeof(uint64_t));
}

/* Whether devices store rows in each other's windows; the same on all ranks. */
static bool reach(const struct sy_fabric *fabric)
{
    return sy_fabric_on_device(fabric) && !sy_fabric_stores(fabric);
}

/* All ranks' windows, as this rank's device addresses them; false: it does not reach one. */
static bool find_windows(struct sy_moe *moe, struct sy_moe_window *windows)
{
    struct sy_fabric *fabric = moe->config.fabric;
    size_t bytes;

    if (!reach(fabric))
        return false;
    for (int p = 0; p < moe->n_ranks; p++) {
        uint8_t *base = p == moe->rank ? sy_fabric_window(fabric) : sy_fabric_place(fabric, p, SY_LANE_DISPATCH, 0, 0);
        if (!base)
            return false;
        windows[p] = window_at(&moe->config, moe->n_ranks, base, &bytes);
    }
    moe->across.own = windows[moe->rank];
    return true;
}

/* Tables of this rank's experts, and where every expert is. */
static void note_experts(struct sy_moe *moe, struct sy_expert *experts, int32_t *homes)
{
    const struct sy_moe_config *config = &moe->config;
    int E = config->rule.n_experts;

    for (int l = 0; l < config->placement->n_layers; l++) {
        int n_slots = sy_placement_n_local(config->placement, l, moe->rank);
        for (int s = 0; s < n_slots && config->residency; s++) {
            const struct sy_expert_weights *weights = sy_residency_acquire(config->residency, l, s);
            experts[s] = (struct sy_expert){&weights->gate_up, &weights->down};
        }
        if (n_slots && config->residency && experts[0].gate_up->n)
            config->kernels->moe_table(config->queue, experts, n_slots,
                                       moe->across.tables + (size_t)l * table_bytes(config, moe->max_slots));
        for (int e = 0; e < E; e++) {
            struct sy_home home = sy_placement_choose(config->placement, l, e, moe->rank);
            homes[2 * (l * E + e)] = home.rank;
            homes[2 * (l * E + e) + 1] = home.slot;
        }
    }
}

enum sy_status sy_across_init(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_arena *arena = &moe->arenas[SY_PLACE_DEVICE];
    size_t windows_bytes = (size_t)moe->n_ranks * sizeof(struct sy_moe_window);
    struct sy_expert *experts = calloc((size_t)moe->max_slots + 1, sizeof *experts);
    struct sy_moe_window *windows = calloc(1, windows_bytes);
    int32_t *homes = calloc(1, homes_bytes(config));
    enum sy_status st = SY_OK;

    if (!experts || !windows || !homes)
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a table of %d experts", moe->max_slots);
    if (!st && find_windows(moe, windows)) {
        moe->across.workspace = sy_arena_take(arena, workspace_bytes(config, moe->rank, moe->n_ranks));
        moe->across.tables = sy_arena_take(arena,
                                           (size_t)config->placement->n_layers * table_bytes(config, moe->max_slots));
        moe->across.homes = sy_arena_take(arena, homes_bytes(config));
        moe->across.ids = sy_arena_take(arena, ids_bytes(config));
        moe->across.own_rows = sy_arena_take(arena, own_bytes(config));
        moe->across.windows = sy_arena_take(arena, windows_bytes);
        moe->across.counts = sy_arena_take(arena, N_COUNTS * sizeof(uint64_t));
        note_experts(moe, experts, homes);
        config->kernels->copy(config->queue, moe->across.homes, homes, homes_bytes(config));
        config->kernels->copy(config->queue, moe->across.windows, windows, windows_bytes);
        st = config->kernels->queue_sync(config->queue, err);
        moe->across.peers = windows;
        windows = NULL;
    }
    free(experts);
    free(windows);
    free(homes);
    return st;
}

/* Whether rows go out while the router chooses: where nearly all go everywhere, if choices are even, and they are not so few
 * that it would take longer to have them go on their own. */
static bool goes_ahead(const struct sy_moe *moe, int most)
{
    const struct sy_moe_config *config = &moe->config;
    double elsewhere = pow(1.0 - 1.0 / moe->n_ranks, config->rule.top_k);
    size_t bytes = (size_t)most * (size_t)config->hidden * sizeof(uint16_t);

    return (moe->across.way == SY_ACROSS_MANY || bytes >= AHEAD_BYTES) && 1.0 - elsewhere >= AHEAD_SHARE;
}

enum sy_status sy_across_agree(struct sy_moe *moe, int T, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    int mine = moe->across.workspace ? T : INT_MAX, all[SY_ACROSS_RANKS_MAX], most = 0;

    moe->across.way = SY_ACROSS_OFF;
    if (!can_be(config, moe->n_ranks) || !reach(config->fabric))
        return SY_OK;
    enum sy_status st = sy_group_allgather(sy_fabric_group(config->fabric), &mine, sizeof mine, all, err);
    for (int p = 0; p < moe->n_ranks && !st; p++)
        most = all[p] > most ? all[p] : most;
    if (st || most > config->max_tokens)
        return st;
    bool few = most <= few_tokens(config);
    moe->across.piece = few ? few_tokens(config) : piece_tokens(config, moe->n_ranks);
    moe->across.n_pieces = pieces_of(most, moe->across.piece);
    if (moe->across.n_pieces <= pieces_most(config, moe->n_ranks))
        moe->across.way = few ? SY_ACROSS_AT_ONCE : SY_ACROSS_MANY;
    moe->across.ahead = goes_ahead(moe, most);
    return SY_OK;
}

/* How large pieces are follows from the way. */
int sy_across_records(const struct sy_moe *moe)
{
    return moe->across.way ? 2 * (moe->across.way + 2 * moe->across.n_pieces) + moe->across.ahead : 0;
}

/* What all parts of a layer have in common. */
static struct sy_moe_across call_here(const struct sy_moe *moe, int layer)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_moe_across call = call_of(config, moe->rank, moe->n_ranks,
                                        sy_placement_n_local(config->placement, layer, moe->rank),
                                        moe->across.way == SY_ACROSS_MANY, moe->T);

    call.run.ids = moe->across.ids;
    call.run.n_active = moe->across.counts;
    call.run.workspace = moe->across.workspace;
    call.n_pieces = moe->across.n_pieces;
    call.apart = moe->in_turn;
    call.alone = sy_fabric_apart(config->fabric);
    call.windows = moe->across.windows;
    call.peers = moe->across.peers;
    call.own = moe->across.own;
    call.homes = moe->across.homes + 2 * layer * config->rule.n_experts;
    return call;
}

/* Ask for a part of a layer, of its i-th piece. */
static void ask(const struct sy_moe *moe, const struct sy_moe_across *layer, int i, enum sy_across_part part)
{
    struct sy_moe_across call = *layer;
    int T = layer->run.shape.T, D = layer->run.shape.D;

    call.piece = i;
    call.first = i * moe->across.piece;
    int left = T > call.first ? T - call.first : 0;
    call.run.shape.T = less(left, moe->across.piece);
    if (left) {
        call.run.ids += call.first * layer->run.shape.K;
        call.run.h = layer->run.h ? layer->run.h + (size_t)call.first * (size_t)D : NULL;
        call.rows = layer->rows ? (const uint16_t *)layer->rows + (size_t)call.first * (size_t)D : NULL;
    }
    moe->config.kernels->across(moe->config.queue, &call, part);
}

static void finish(const struct sy_moe *moe, const struct sy_moe_across *layer)
{
    moe->config.kernels->across(moe->config.queue, layer, SY_ACROSS_FINISH);
}

/* The shared expert of all tokens of this rank, while rows are on their way. */
static void run_shared(struct sy_moe *moe, const struct sy_moe_across *layer, const struct sy_layer_weights *weights)
{
    const struct sy_moe_config *config = &moe->config;

    if (!config->shared_width || !layer->run.shape.T)
        return;
    config->kernels->convert(config->queue, moe->across.own_rows, SY_BF16, layer->run.h, SY_F32,
                             (size_t)layer->run.shape.T * (size_t)config->hidden);
    sy_shared_run(moe, weights, layer->run.h, moe->across.own_rows);
}

static void overlapped(struct sy_moe *moe, const struct sy_moe_across *layer, const struct sy_layer_weights *weights)
{
    for (int i = 0; i < layer->n_pieces; i++)
        ask(moe, layer, i, SY_ACROSS_SEND);
    run_shared(moe, layer, weights);
    for (int i = 0; i < layer->n_pieces; i++) {
        ask(moe, layer, i, SY_ACROSS_RECEIVE);
        ask(moe, layer, i, SY_ACROSS_SORT);
        ask(moe, layer, i, SY_ACROSS_EXPERTS);
    }
}

/* Between two parts of a layer in turn, which are measured if anybody looks on. */
static enum sy_status between(struct sy_moe *moe, struct sy_error *err)
{
    enum sy_status st = moe->between ? sy_across_wait(moe, err) : SY_OK;

    return moe->between && !st ? moe->between(moe->between_ctx, err) : st;
}

static enum sy_status in_turn(struct sy_moe *moe, const struct sy_moe_across *layer,
                              const struct sy_layer_weights *weights, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    for (int i = 0; i < layer->n_pieces && !st; i++) {
        if ((st = between(moe, err)))
            return st;
        ask(moe, layer, i, SY_ACROSS_SEND);
        ask(moe, layer, i, SY_ACROSS_RECEIVE);
        if ((st = between(moe, err)))
            return st;
        if (!i)
            run_shared(moe, layer, weights);
        ask(moe, layer, i, SY_ACROSS_SORT);
        ask(moe, layer, i, SY_ACROSS_EXPERTS);
        if ((st = between(moe, err)))
            return st;
        ask(moe, layer, i, SY_ACROSS_RETURN);
        st = between(moe, err);
    }
    return st;
}

enum sy_status sy_across_run(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                             int T, float *x, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_router_rule rule = config->rule;
    struct sy_moe_across call = call_here(moe, layer);
    enum sy_status st = SY_OK;

    rule.correction = weights->correction;
    call.run.shape.w_dtype = sy_whole_type(config);
    call.run.table = moe->across.tables + (size_t)layer * table_bytes(config, moe->max_slots);
    call.run.glu = config->glu;
    call.run.h = h;
    call.run.weights = moe->weights;
    call.run.shared = config->shared_width ? moe->shared : NULL;
    call.run.x = x;
    call.ahead = moe->across.ahead && !moe->in_turn;
    call.copied = moe->n_ranks > 2 &&
                  (size_t)less(T, moe->across.piece) * (size_t)config->hidden * sizeof(uint16_t) >= COPIED_BYTES;
    for (int i = 0; i < call.n_pieces && call.ahead; i++)
        ask(moe, &call, i, SY_ACROSS_AHEAD);
    if (T)
        config->kernels->router(config->queue, &rule, &weights->router, h, T, moe->logits, moe->across.ids,
                                moe->weights);
    if (moe->in_turn)
        st = in_turn(moe, &call, weights, err);
    else
        overlapped(moe, &call, weights);
    if (!st)
        finish(moe, &call);
    return st;
}

enum sy_status sy_across_ready(struct sy_moe *moe, const int32_t *ids, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;

    config->kernels->copy(config->queue, moe->across.ids, ids,
                          (size_t)moe->T * (size_t)config->rule.top_k * sizeof *ids);
    return config->kernels->queue_sync(config->queue, err);
}

enum sy_status sy_across_dispatch(struct sy_moe *moe, struct sy_error *err)
{
    struct sy_moe_across call = call_here(moe, moe->layer);

    call.rows = sy_dispatch_own(moe, 0);
    for (int i = 0; i < call.n_pieces; i++)
        ask(moe, &call, i, SY_ACROSS_SEND);
    for (int i = 0; i < call.n_pieces; i++)
        ask(moe, &call, i, SY_ACROSS_RECEIVE);
    return sy_across_wait(moe, err);
}

enum sy_status sy_across_combine(struct sy_moe *moe, struct sy_error *err)
{
    struct sy_moe_across call = call_here(moe, moe->layer);

    call.apart = false;
    for (int i = 0; i < call.n_pieces; i++) {
        ask(moe, &call, i, SY_ACROSS_SORT);
        ask(moe, &call, i, SY_ACROSS_RETURN);
    }
    finish(moe, &call);
    return sy_across_wait(moe, err);
}

/* Who has not sent what the device waits for. Its own word of what it waits for is set, of rows that go ahead even before it
 * does, and cleared with the others. */
static enum sy_status overdue(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_group *group = sy_fabric_group(moe->config.fabric);
    static const char *const what[SY_N_NEWS] = {"tokens", "choices", "results"};
    uint32_t words[SY_N_NEWS * SY_ACROSS_PIECES_MAX * SY_ACROSS_RANKS_MAX];
    int R = moe->n_ranks, n_words = pieces_most(&moe->config, R) * R;
    long long timeout_ms = (long long)sy_group_timeout_ms(group);
    enum sy_status st = moe->config.kernels->copy_now(words, moe->across.own.arrived,
                                                      SY_N_NEWS * (size_t)n_words * sizeof *words, err);

    for (int i = 0; i < SY_N_NEWS * n_words && !st; i++) {
        if (words[i] || !words[i / R * R + moe->rank])
            continue;
        return sy_error_set(err, SY_ERR_PEER,
                            "%s between devices: no progress for %lld ms, waiting for %s from rank %d (%s)",
                            i / n_words == SY_NEWS_RESULTS ? "combine" : "dispatch", timeout_ms, what[i / n_words],
                            i % R, sy_group_host(group, i % R));
    }
    return st ? st : sy_error_set(err, SY_ERR_SYSTEM, "the device has not finished a step for %lld ms", timeout_ms);
}

/* Whether layers were computed since the last look at counts, [N_COUNTS]. */
static enum sy_status look(const struct sy_moe *moe, uint64_t *counts, bool *moved, struct sy_error *err)
{
    uint64_t now[N_COUNTS];
    enum sy_status st = moe->config.kernels->copy_now(now, moe->across.counts, sizeof now, err);

    *moved = !st && memcmp(now, counts, sizeof now) != 0;
    if (!st)
        memcpy(counts, now, sizeof now);
    return st;
}

/* Let the device go on whatever is missing, so that its memory can be freed: what it computes is of no use. */
static void release(struct sy_moe *moe)
{
    const struct sy_moe_config *config = &moe->config;
    uint32_t words[SY_N_NEWS * SY_ACROSS_PIECES_MAX * SY_ACROSS_RANKS_MAX];
    size_t n_words = SY_N_NEWS * (size_t)pieces_most(config, moe->n_ranks) * (size_t)moe->n_ranks;
    int64_t end_ns = sy_clock_ns() + RELEASE_NS;

    for (size_t i = 0; i < n_words; i++)
        words[i] = 1;
    while (!config->kernels->queue_done(config->queue) && sy_clock_ns() < end_ns)
        if (config->kernels->copy_now(moe->across.own.arrived, words, n_words * sizeof *words, NULL))
            return;
}

enum sy_status sy_across_wait(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    int64_t timeout_ns = sy_group_timeout_ms(sy_fabric_group(config->fabric)) * 1000000, waited_ns = 0;
    int64_t last_ns = sy_clock_ns();
    uint64_t counts[N_COUNTS] = {0};
    int n_still = 0;
    enum sy_status st = SY_OK;

    while (!st && !config->kernels->queue_done(config->queue)) {
        int64_t now_ns = sy_clock_ns();
        waited_ns += now_ns - last_ns < STOPPED_NS ? now_ns - last_ns : 0;
        last_ns = now_ns;
        st = sy_fabric_progress(config->fabric, err);
        if (!st && timeout_ns > 0 && waited_ns > timeout_ns / LOOKS) {
            bool moved;
            waited_ns = 0;
            st = look(moe, counts, &moved, err);
            n_still = moved ? 0 : n_still + 1;
            if (!st && n_still == LOOKS)
                st = overdue(moe, err);
        }
        sched_yield();
    }
    if (st)
        release(moe);
    return st;
}

enum sy_status sy_across_count(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    uint64_t counts[N_COUNTS], *before = moe->across.counted;

    if (!moe->across.workspace)
        return SY_OK;
    config->kernels->copy(config->queue, counts, moe->across.counts, sizeof counts);
    enum sy_status st = config->kernels->queue_sync(config->queue, err);
    if (st)
        return st;
    moe->work.n_experts += counts[0] - before[0];
    moe->work.n_pairs += counts[1] - before[1];
    moe->stored_bytes += (counts[2] + counts[3] - before[2] - before[3]) * moe->rows.row_bytes;
    for (int i = 0; i < N_COUNTS; i++)
        before[i] = counts[i];
    return SY_OK;
}

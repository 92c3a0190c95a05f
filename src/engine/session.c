/* SPDX-License-Identifier: Apache-2.0
 * session.c - set-up of a session, and what rank 0 asks of it; a step is in step.c
 */
#include "engine/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/amount.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/range.h"
#include "engine/holding.h"
#include "engine/protocol.h"
#include "engine/session_private.h"
#include "moe/whole.h"

#define NUDGE_US             50 /* between two looks at the network while kernels run */
#define KV_BYTES_DEFAULT_MAX ((size_t)1 << 30)
#define LOAD_BYTES_PER_MS    20000 /* a rank that loads at less than 20 MB/s may be taken for dead */

void sy_session_config_init(struct sy_session_config *config)
{
    *config = (struct sy_session_config){.compute = SY_COMPUTE_BF16,
                                         .n_threads = 1,
                                         .max_tokens = 512,
                                         .max_sequences = 64,
                                         .prefill_chunk = 512,
                                         .chunk_rows = 64,
                                         .n_slots = 4};
}

static enum sy_dtype wire_type(const struct sy_session *session)
{
    return session->config.compute == SY_COMPUTE_F32 ? SY_F32 : SY_BF16;
}

/* Of activations before the products of attention and of a dense MLP. */
static enum sy_dtype row_type(const struct sy_session *session)
{
    return wire_type(session) == SY_BF16 && session->config.kernels->rows_x2 ? SY_BF16X2 : wire_type(session);
}

static size_t default_kv_bytes(const struct sy_session *session)
{
    const struct sy_model *model = session->model;
    struct sy_kv_plan plan = sy_kv_plan(model, session->config.kernels, wire_type(session));
    size_t page = sy_kv_page_bytes(session->config.kernels, &plan);
    size_t want = page * (size_t)sy_kv_held_all(&plan, model->max_context, session->config.prefill_chunk) *
                  (size_t)session->config.max_sequences;

    if (want > KV_BYTES_DEFAULT_MAX)
        want = KV_BYTES_DEFAULT_MAX;
    return want < page ? page : want;
}

/* What is asked of the transports, before what the layers need. */
static struct sy_transport_config rings(const struct sy_session *session)
{
    return (struct sy_transport_config){.n_slots = session->config.n_slots, .choice = session->config.transport};
}

static struct sy_moe_config moe_config(struct sy_session *session)
{
    const struct sy_model *model = session->model;

    return (struct sy_moe_config){.kernels = session->config.kernels,
                                  .queue = session->queue,
                                  .fabric = session->fabric,
                                  .placement = session->placement,
                                  .residency = &session->residency,
                                  .rule = model->router,
                                  .glu = model->glu,
                                  .shared_width = model->shared_width,
                                  .hidden = model->hidden,
                                  .expert_width = model->expert_width,
                                  .max_tokens = session->config.max_tokens,
                                  .chunk_rows = session->config.chunk_rows,
                                  .wire = wire_type(session),
                                  .in_turn = session->config.in_turn,
                                  .reverse_k = session->config.reverse_k};
}

/* Collective. */
static enum sy_status choose_chunk_rows(struct sy_session *session, struct sy_error *err)
{
    struct sy_transport_config transport = rings(session);
    struct sy_moe_config moe = moe_config(session);

    return moe.chunk_rows ? SY_OK
                          : sy_moe_chunk_rows(&moe, &transport, session->group, &session->config.chunk_rows, err);
}

static struct sy_transport_config transport_config(struct sy_session *session)
{
    struct sy_transport_config config = rings(session);
    struct sy_moe_config moe = moe_config(session);

    sy_moe_transport(&moe, session->n_ranks, &config);
    return config;
}

/* Positions that a sequence can reach with so many pages. */
static int positions(const struct sy_session *session, int n_pages)
{
    struct sy_kv_plan plan = sy_kv_plan(session->model, session->config.kernels, wire_type(session));
    int reach = sy_kv_reach(&plan, n_pages);

    return reach < session->model->max_context ? reach : session->model->max_context;
}

static struct sy_forward_config forward_config(struct sy_session *session)
{
    return (struct sy_forward_config){.model = session->model,
                                      .shard = session->shard,
                                      .kernels = session->config.kernels,
                                      .queue = session->queue,
                                      .cache = &session->cache,
                                      .moe = session->moe,
                                      .rows = row_type(session),
                                      .logit_rows = wire_type(session),
                                      .on_hidden = session->config.on_hidden,
                                      .ctx = session->config.ctx,
                                      .max_tokens = session->config.max_tokens,
                                      .max_sequences = session->config.max_sequences,
                                      .n_positions = positions(session, session->cache.n_pages)};
}

static enum sy_status check_config(const struct sy_session_config *config, struct sy_error *err)
{
    if (config->max_sequences > config->max_tokens)
        return sy_error_set(err, SY_ERR_USAGE, "%d sequences in a step need at least as many tokens, but a step has %d",
                            config->max_sequences, config->max_tokens);
    if (config->prefill_chunk > config->max_tokens)
        return sy_error_set(err, SY_ERR_USAGE, "a prefill chunk of %d tokens does not fit into a step of %d tokens",
                            config->prefill_chunk, config->max_tokens);
    return SY_OK;
}

static void init(struct sy_session *session, struct sy_group *group, struct sy_checkpoint *ckpt,
                 const struct sy_model *model, const struct sy_session_config *config)
{
    session->group = group;
    session->ckpt = ckpt;
    session->model = model;
    session->config = *config;
    session->rank = sy_group_rank(group);
    session->n_ranks = sy_group_size(group);
}

/* Room for the longest report, so that none grows in a step: each token of a prompt may be echoed, and each sequence ends. */
static size_t report_bytes(const struct sy_session *session)
{
    return sy_report_bytes(session->config.max_tokens + session->config.max_sequences);
}

/* Rank 0 has those of all. */
static size_t reports_bytes(const struct sy_session *session)
{
    return report_bytes(session) * (session->rank ? 1 : (size_t)session->n_ranks + 1);
}

/* First stage, without memory of any size: who holds what, and how much that is. */
static enum sy_status lay_out(struct sy_session *session, struct sy_error *err)
{
    const struct sy_model *model = session->model;
    enum sy_status st = check_config(&session->config, err);

    if (st)
        return st;
    st = sy_placement_even(model->n_layers, model->n_experts, session->n_ranks, &session->placement, err);
    if (st)
        return st;
    st = sy_holding_shard(model, session->config.kernels, session->placement, session->rank, &session->shard, err);
    if (st)
        return st;
    session->residency = (struct sy_residency){model->n_layers, session->shard->max_slots, session->shard->experts};
    if (!session->config.kv_bytes_max)
        session->config.kv_bytes_max = default_kv_bytes(session);
    struct sy_moe_config moe = moe_config(session);
    struct sy_forward_config forward = forward_config(session);
    struct sy_transport_config transport = transport_config(session);
    struct sy_kv_plan plan = sy_kv_plan(model, session->config.kernels, wire_type(session));
    forward.n_positions = positions(
        session, (int)(session->config.kv_bytes_max / sy_kv_page_bytes(session->config.kernels, &plan)));
    session->need = (struct sy_memory_need){.dense_bytes = session->shard->dense_bytes,
                                            .expert_bytes = session->shard->expert_bytes,
                                            .kv_bytes = session->config.kv_bytes_max,
                                            .buffer_bytes = sy_moe_bytes(&moe, session->rank, session->n_ranks) +
                                                            sy_forward_bytes(&forward) + reports_bytes(session) +
                                                            sy_fabric_need(session->group, &transport)};
    return SY_OK;
}

static bool reserve_reports(struct sy_session *session)
{
    size_t bytes = report_bytes(session);
    bool enough = sy_buf_reserve(&session->header, sizeof(struct sy_step_header)) &&
                  sy_buf_reserve(&session->report, bytes);

    for (int r = 0; r < session->n_ranks && session->rank == 0; r++)
        enough = enough && sy_buf_reserve(&session->reports[r], bytes);
    return enough;
}

static enum sy_status start_compute(struct sy_session *session, struct sy_error *err)
{
    const struct sy_session_config *config = &session->config;
    const struct sy_model *model = session->model;
    struct sy_kv_plan plan = sy_kv_plan(model, session->config.kernels, wire_type(session));
    enum sy_status st = sy_pool_create(config->n_threads, config->cpus, config->spin_us, &session->pool, err);

    if (!st)
        st = config->kernels->queue_create(session->pool, &session->queue, err);
    if (!st)
        st = sy_kv_cache_init(&session->cache, config->kernels, &plan, config->kv_bytes_max, err);
    if (st)
        return st;
    session->scratch = calloc((size_t)config->n_threads, sizeof *session->scratch);
    session->logit_jobs = calloc(SY_LOGIT_ROWS, sizeof *session->logit_jobs);
    session->reports = calloc((size_t)session->n_ranks, sizeof *session->reports);
    session->rank_sequences = calloc((size_t)session->n_ranks, sizeof *session->rank_sequences);
    session->rank_tokens = calloc((size_t)session->n_ranks, sizeof *session->rank_tokens);
    bool enough = session->scratch && session->logit_jobs && session->reports && session->rank_sequences &&
                  session->rank_tokens && reserve_reports(session);
    for (int i = 0; i < config->n_threads && enough; i++) {
        session->scratch[i].candidates = malloc((size_t)model->vocab * sizeof *session->scratch[i].candidates);
        enough = session->scratch[i].candidates != NULL;
    }
    if (!enough)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the session's tables");
    return sy_scheduler_init(&session->scheduler, &session->cache, config->max_tokens, config->max_sequences,
                             config->prefill_chunk, sy_rope_short_context(&model->rope), err);
}

/* Read this rank's part. Dense weights are read together by the ranks of a node when they share them. */
static enum sy_status load(struct sy_session *session, struct sy_error *err)
{
    struct sy_progress progress;
    int64_t begin_ns = sy_clock_ns();

    SY_RANGE("load");
    sy_progress_begin(&progress, "loading", "B", sy_blocks_read_bytes(&session->blocks, session->shard),
                      session->config.show_progress && session->rank == 0);
    enum sy_status st = sy_blocks_load(&session->blocks, session->shard, session->ckpt, session->queue, session->pool,
                                       &progress, err);
    sy_progress_end(&progress);
    session->stats.load_s = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    return st;
}

static enum sy_status open_fabric(struct sy_session *session, struct sy_error *err)
{
    struct sy_transport_config config = transport_config(session);

    return sy_fabric_open(session->group, &config, &session->fabric, err);
}

static enum sy_status start_layers(struct sy_session *session, struct sy_error *err)
{
    struct sy_moe_config moe = moe_config(session);
    enum sy_status st = sy_moe_create(&moe, &session->moe, err);

    if (st)
        return st;
    if (session->n_ranks > 1)
        sy_pool_poll(session->pool, sy_moe_nudge, session->moe, NUDGE_US);
    struct sy_forward_config forward = forward_config(session);
    return sy_forward_init(&session->forward, &forward, err);
}

static void say_memory(const struct sy_session *session)
{
    const struct sy_memory_need *need = &session->need;
    const struct sy_kv_cache *cache = &session->cache;
    size_t full = sy_kv_token_bytes(cache->kernels, &cache->plan, SY_KV_FULL);
    size_t windowed = sy_kv_token_bytes(cache->kernels, &cache->plan, SY_KV_WINDOW);
    const char *type = sy_dtype_name(cache->plan.shape.dtype);
    char shown[80], dense[32], experts[32], kv[32], buffers[32];

    if (session->rank)
        return;
    if (windowed)
        sy_log(SY_LOG_INFO,
               "KV cache: %s, %zu bytes for each token of a sequence in %d layers, and %zu for each of its last %d in "
               "%d layers with a window",
               type, full, cache->plan.n_layers[SY_KV_FULL], windowed, cache->plan.window,
               cache->plan.n_layers[SY_KV_WINDOW]);
    else
        sy_log(SY_LOG_INFO, "KV cache: %s, %zu bytes for each token of a sequence", type, full);
    sy_log(SY_LOG_INFO,
           "memory: dense weights %s a %s, experts %s, KV cache up to %s (%d pages of %d tokens) and buffers up to "
           "%s a rank",
           sy_amount_bytes((double)need->dense_bytes, dense, sizeof dense),
           session->config.kernels->on_device ? "rank" : "node",
           sy_amount_bytes((double)need->expert_bytes, experts, sizeof experts),
           sy_amount_bytes((double)need->kv_bytes, kv, sizeof kv), session->n_pages, SY_KV_PAGE,
           sy_amount_bytes((double)need->buffer_bytes, buffers, sizeof buffers));
    if (session->model->quantization.method)
        sy_log(SY_LOG_INFO,
               "weights: %s, in memory as published and decoded as they are multiplied; activations are not quantised",
               sy_quantization_show(&session->model->quantization, shown, sizeof shown));
}

static void say_loaded(const struct sy_session *session)
{
    double bytes = (double)session->stats.load_bytes_max, seconds = session->stats.load_s;

    if (session->rank == 0)
        sy_log(SY_LOG_INFO, "rank 0 read %.1f MB of weights in %.2f s, %.2f GB/s", bytes * 1e-6, seconds,
               seconds > 0 ? bytes / seconds * 1e-9 : 0);
}

/* Ranks do not finish loading at the same moment: the deadline grows with what there is to read. */
static int64_t load_timeout_ms(const struct sy_session *session, int64_t timeout_ms)
{
    const struct sy_shard *shard = session->shard;
    uint64_t bytes = shard->dense_read_bytes + shard->expert_read_bytes;

    return timeout_ms > 0 ? timeout_ms + (int64_t)(bytes / LOAD_BYTES_PER_MS) : timeout_ms;
}

/* The set-up stages. Each is followed by an agreement, so that all ranks leave together with the first rank's message. */
static enum sy_status set_up(struct sy_session *session, struct sy_error *err)
{
    struct sy_group *group = session->group;
    enum sy_status st = choose_chunk_rows(session, err);

    if (!st)
        st = sy_group_agree(group, lay_out(session, err), err);
    if (!st)
        st = sy_group_agree(group, start_compute(session, err), err);
    if (st)
        return st;
    session->n_pages = session->cache.n_pages;
    say_memory(session);
    st = sy_blocks_make(&session->blocks, session->config.kernels, group, session->shard, SY_WINDOW_BYTES, err);
    if (st)
        return st;
    if (!session->blocks.dense_shared && sy_group_node_size(group) > 1 && !session->config.kernels->on_device &&
        session->rank == 0)
        sy_log(SY_LOG_WARN, "the ranks of a node cannot share memory here: each holds its own %.1f MB of dense weights",
               (double)session->shard->dense_bytes * 1e-6);
    int64_t timeout_ms = sy_group_timeout_ms(group);
    sy_group_set_timeout(group, load_timeout_ms(session, timeout_ms));
    st = sy_group_agree(group, load(session, err), err);
    /* The dense block is complete once every rank of the node has read its part, which the agreement has shown. */
    sy_group_set_timeout(group, timeout_ms);
    if (!st)
        st = open_fabric(session, err);
    if (!st && session->rank == 0)
        sy_log(SY_LOG_INFO, "transports of rank 0: %s", sy_fabric_describe(session->fabric));
    if (!st)
        st = sy_group_agree(group, start_layers(session, err), err);
    return st;
}

/* A zeroed session on every rank, or on none. Collective. */
static enum sy_status allocate(struct sy_group *group, struct sy_session **session, struct sy_error *err)
{
    *session = calloc(1, sizeof **session);
    enum sy_status st = *session ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for a session");

    st = sy_group_agree(group, st, err);
    if (st)
        free(*session);
    return st;
}

enum sy_status sy_session_need(struct sy_group *group, const struct sy_model *model,
                               const struct sy_session_config *config, struct sy_memory_need *need,
                               struct sy_error *err)
{
    struct sy_session *session = NULL;
    enum sy_status st = allocate(group, &session, err);

    if (st)
        return st;
    init(session, group, NULL, model, config);
    st = choose_chunk_rows(session, err);
    if (!st)
        st = lay_out(session, err);
    *need = session->need;
    sy_session_destroy(session);
    return st;
}

enum sy_status sy_session_create(struct sy_group *group, struct sy_checkpoint *ckpt, const struct sy_model *model,
                                 const struct sy_session_config *config, struct sy_session **out, struct sy_error *err)
{
    struct sy_session *session = NULL;
    enum sy_status st = allocate(group, &session, err);

    if (st)
        return st;
    init(session, group, ckpt, model, config);
    uint64_t read_before = sy_checkpoint_bytes_read(ckpt);
    st = set_up(session, err);
    session->stats.load_bytes_max = sy_checkpoint_bytes_read(ckpt) - read_before;
    if (st) {
        sy_session_destroy(session);
        return st;
    }
    say_loaded(session);
    *out = session;
    return SY_OK;
}

void sy_session_destroy(struct sy_session *session)
{
    if (!session)
        return;
    const struct sy_kernels *kernels = session->config.kernels;
    sy_forward_fini(&session->forward);
    if (session->pool)
        sy_pool_poll(session->pool, NULL, NULL, 0);
    sy_moe_destroy(session->moe);
    sy_fabric_close(session->fabric);
    sy_blocks_free(&session->blocks);
    sy_scheduler_fini(&session->scheduler);
    if (session->cache.base)
        sy_kv_cache_fini(&session->cache);
    for (int i = 0; session->scratch && i < session->config.n_threads; i++)
        free(session->scratch[i].candidates);
    for (int r = 0; session->reports && r < session->n_ranks; r++)
        sy_buf_fini(&session->reports[r]);
    for (int i = 0; i < session->n_flights; i++)
        free(session->flights[i].prompt);
    free(session->scratch);
    free(session->logit_jobs);
    free(session->reports);
    free(session->rank_sequences);
    free(session->rank_tokens);
    free(session->flights);
    free(session->cancelled);
    sy_buf_fini(&session->header);
    sy_buf_fini(&session->report);
    sy_shard_destroy(session->shard);
    sy_placement_destroy(session->placement);
    if (session->queue)
        kernels->queue_destroy(session->queue);
    sy_pool_destroy(session->pool);
    free(session);
}

/* ---- rank 0 ---- */

static enum sy_status check_request(const struct sy_session *session, const struct sy_request *request,
                                    struct sy_error *err)
{
    const struct sy_model *model = session->model;
    int64_t all = (int64_t)request->n_prompt + request->max_tokens;

    if (request->n_prompt < 1)
        return sy_error_set(err, SY_ERR_DATA, "the prompt is empty: give at least one token");
    if (request->n_prompt > model->max_context || (request->n_prompt == model->max_context && request->max_tokens > 0))
        return sy_error_set(err, SY_ERR_DATA, "the prompt has %d tokens, but the model's context is %d%s",
                            request->n_prompt, model->max_context,
                            request->n_prompt == model->max_context ? " and leaves no room to generate" : "");
    if (all > model->max_context)
        all = model->max_context;
    int n_pages = sy_kv_held_all(&session->cache.plan, (int)all, session->scheduler.prefill_chunk);
    if (n_pages > session->n_pages)
        return sy_error_set(err, SY_ERR_DATA,
                            "prompt and completion may need %d pages of the KV cache for %lld tokens, but it has %d; "
                            "ask for fewer or give more with --kv-bytes",
                            n_pages, (long long)all, session->n_pages);
    for (int i = 0; i < request->n_prompt; i++)
        if (request->prompt[i] < 0 || request->prompt[i] >= model->vocab)
            return sy_error_set(err, SY_ERR_DATA, "token %d of the prompt is %d, but ids go from 0 to %d", i,
                                (int)request->prompt[i], model->vocab - 1);
    if (request->max_tokens < 0 || request->n_logprobs > SY_TOP_LOGPROBS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "max_tokens must be at least 0 and logprobs at most %d",
                            SY_TOP_LOGPROBS_MAX);
    return SY_OK;
}

enum sy_status sy_session_submit(struct sy_session *session, const struct sy_request *request, struct sy_error *err)
{
    enum sy_status st = check_request(session, request, err);

    if (st)
        return st;
    if (session->n_flights == session->max_flights) {
        int max = session->max_flights ? 2 * session->max_flights : 64;
        struct sy_flight *flights = realloc(session->flights, (size_t)max * sizeof *flights);
        if (!flights)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %d requests", max);
        session->flights = flights;
        session->max_flights = max;
    }
    struct sy_flight *flight = &session->flights[session->n_flights];
    size_t bytes = (size_t)request->n_prompt * sizeof *flight->prompt;
    *flight = (struct sy_flight){.request = *request, .prompt = malloc(bytes), .rank = -1};
    if (!flight->prompt)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a prompt of %d tokens", request->n_prompt);
    memcpy(flight->prompt, request->prompt, bytes);
    flight->request.prompt = flight->prompt;
    session->n_flights++;
    session->n_queued++;
    return SY_OK;
}

void sy_session_cancel(struct sy_session *session, uint64_t request_id)
{
    if (session->n_cancelled == session->max_cancelled) {
        int max = session->max_cancelled ? 2 * session->max_cancelled : 16;
        uint64_t *cancelled = realloc(session->cancelled, (size_t)max * sizeof *cancelled);
        /* Without memory for the note the request runs on to its own end, which is right too. */
        if (!cancelled)
            return;
        session->cancelled = cancelled;
        session->max_cancelled = max;
    }
    session->cancelled[session->n_cancelled++] = request_id;
}

int sy_session_n_pending(const struct sy_session *session)
{
    return session->n_flights;
}

void sy_session_end(struct sy_session *session)
{
    session->end = true;
}

void sy_session_drain(struct sy_session *session)
{
    session->drain = true;
}

bool sy_session_draining(const struct sy_session *session)
{
    return session->drain || session->drain_seen;
}

void sy_session_set_prefill_chunk(struct sy_session *session, int prefill_chunk)
{
    session->scheduler.prefill_chunk = prefill_chunk;
}

int sy_session_chunk_rows(const struct sy_session *session)
{
    return session->config.chunk_rows;
}

struct sy_queue *sy_session_queue(const struct sy_session *session)
{
    return session->queue;
}

enum sy_status sy_session_moe_begin(struct sy_session *session, int T, struct sy_error *err)
{
    return sy_moe_begin_step(session->moe, T, err);
}

enum sy_status sy_session_moe_end(struct sy_session *session, struct sy_error *err)
{
    enum sy_status st = sy_moe_wait(session->moe, err);

    return st ? st : session->config.kernels->queue_sync(session->queue, err);
}

enum sy_status sy_session_moe_layer(struct sy_session *session, int layer, const float *h, int T, float *x,
                                    struct sy_error *err)
{
    return sy_moe_layer(session->moe, layer, &session->shard->layers[layer], h, T, x, err);
}

bool sy_session_moe_records(const struct sy_session *session)
{
    return session->n_ranks == 1 && sy_moe_records(session->moe);
}

void sy_session_moe_from(struct sy_session *session, enum sy_moe_from from)
{
    session->moe->whole.from = from;
}

enum sy_status sy_session_moe_truth(struct sy_session *session, int layer, const float *h, int t, float *y,
                                    struct sy_error *err)
{
    return sy_whole_truth(session->moe, layer, h, t, y, err);
}

void sy_session_take_turns(struct sy_session *session, bool in_turn, sy_between_fn between, void *ctx)
{
    session->moe->in_turn = in_turn;
    session->moe->between = between;
    session->moe->between_ctx = ctx;
}

struct sy_group *sy_session_group(const struct sy_session *session)
{
    return session->group;
}

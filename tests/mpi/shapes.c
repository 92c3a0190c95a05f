/* SPDX-License-Identifier: Apache-2.0
 * shapes.c - random batches for a while: the same results always, and memory that does not grow
 *
 * Requests come from a small set whose tokens are known from running each alone. Rounds differ in how many run at once, in
 * what order, in prefill chunks; every few rounds a new session has another transport, ring, chunk and way to run a layer.
 * SY_SHAPES_SECONDS says for how long (8).
 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "fixture.h"
#include "tap_mpi.h"
#include "testrand.h"

#define N_KINDS       12
#define N_AT_ONCE_MAX 40
#define ROUNDS        8  /* of a session */
#define MAX_TOKENS    96 /* of a step */
#define WARM_SESSIONS 6  /* so many have met every transport, most likely */
#define GROWTH_MAX    (4 << 20)

struct soak {
    struct sy_group *group;
    struct fixture fixture;
    struct testrand rand;       /* the same on all ranks */
    uint64_t expected[N_KINDS]; /* rank 0: hash of each kind's tokens */
    uint64_t found[N_AT_ONCE_MAX];
    int n_wrong, n_requests, n_rounds, n_sessions;
    size_t resident_warm;
};

static int draw(struct soak *soak, int low, int high)
{
    return low + (int)(testrand_next(&soak->rand) % (uint64_t)(high - low + 1));
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct soak *soak = ctx;
    uint64_t *hash = &soak->found[event->request_id];
    uint64_t logprob = 0;

    memcpy(&logprob, &event->logprob, sizeof event->logprob);
    *hash = (*hash ^ (uint64_t)event->token) * 0x100000001b3u;
    *hash = (*hash ^ (event->has_logprob ? logprob : 0)) * 0x100000001b3u;
}

static enum sy_status submit(struct soak *soak, struct sy_session *session, int id, int kind, struct sy_error *err)
{
    int32_t prompt[200];
    int n_prompt = 1 + kind * kind * 197 % 199, vocab = soak->fixture.model->vocab;

    for (int i = 0; i < n_prompt; i++)
        prompt[i] = (kind * 7919 + i * 10473 + 13) % vocab;
    soak->found[id] = 0xcbf29ce484222325u;
    return sy_session_submit(session,
                             &(struct sy_request){.id = (uint64_t)id,
                                                  .prompt = prompt,
                                                  .n_prompt = n_prompt,
                                                  .max_tokens = 1 + kind * 5 % 23,
                                                  .temperature = kind % 2 ? 0.9f : 0,
                                                  .top_p = 0.95f,
                                                  .seed = (uint64_t)kind,
                                                  .n_logprobs = kind % 3,
                                                  .echo = kind % 4 == 1,
                                                  .ignore_eos = true},
                             err);
}

static enum sy_status open_session(struct soak *soak, struct sy_session **session, struct sy_error *err)
{
#ifdef HAVE_UCX
    static const char *const transports[] = {"shm", "mpi", "ucx"};
#else
    static const char *const transports[] = {"auto", "shm", "mpi"};
#endif
    struct sy_session_config config;

    sy_session_config_init(&config);
    config.kernels = fixture_kernels();
    config.n_threads = draw(soak, 1, 2);
    config.transport = sy_transport_choice_of(transports[draw(soak, 0, 2)]);
    config.n_slots = draw(soak, 2, 6);
    config.chunk_rows = draw(soak, 1, 40);
    config.in_turn = draw(soak, 0, 3) == 0;
    config.max_tokens = config.prefill_chunk = MAX_TOKENS;
    config.kv_bytes_max = 8u << 20;
    config.on_token = on_token;
    config.ctx = soak;
    return sy_session_create(soak->group, soak->fixture.ckpt, soak->fixture.model, &config, session, err);
}

/* Each kind alone, in one session. */
static enum sy_status learn(struct soak *soak, struct sy_error *err)
{
    struct sy_session *session;
    enum sy_status st = open_session(soak, &session, err);

    if (st)
        return st;
    for (int kind = 0; kind < N_KINDS && !st; kind++) {
        if (sy_group_rank(soak->group) == 0)
            st = submit(soak, session, 0, kind, err);
        if (!st)
            st = fixture_run(session, err);
        soak->expected[kind] = soak->found[0];
    }
    if (!st)
        st = fixture_end(session, err);
    sy_session_destroy(session);
    return st;
}

static enum sy_status run_round(struct soak *soak, struct sy_session *session, struct sy_error *err)
{
    int kinds[N_AT_ONCE_MAX], n = draw(soak, 1, draw(soak, 1, N_AT_ONCE_MAX));
    enum sy_status st = SY_OK;

    sy_session_set_prefill_chunk(session, draw(soak, 1, MAX_TOKENS));
    for (int i = 0; i < n && !st; i++) {
        kinds[i] = draw(soak, 0, N_KINDS - 1);
        if (sy_group_rank(soak->group) == 0)
            st = submit(soak, session, i, kinds[i], err);
    }
    if (!st)
        st = fixture_run(session, err);
    for (int i = 0; i < n && !st && sy_group_rank(soak->group) == 0; i++) {
        bool right = soak->found[i] == soak->expected[kinds[i]];
        soak->n_wrong += !right;
        if (!right)
            diag("session %d, round %d: request %d of kind %d differs", soak->n_sessions, soak->n_rounds, i, kinds[i]);
    }
    soak->n_requests += n;
    soak->n_rounds++;
    return st;
}

static enum sy_status run_session(struct soak *soak, struct sy_error *err)
{
    struct sy_session *session;
    enum sy_status st = open_session(soak, &session, err);

    if (st)
        return st;
    for (int round = 0; round < ROUNDS && !st; round++)
        st = run_round(soak, session, err);
    if (!st)
        st = fixture_end(session, err);
    sy_session_destroy(session);
    soak->n_sessions++;
    return st;
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size, resident = 0;

    if (file && fscanf(file, "%lu %lu", &size, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* Rank 0's clock decides for all. */
static bool go_on(struct soak *soak, int64_t end_ns)
{
    uint8_t more = sy_clock_ns() < end_ns || soak->n_sessions < 2 * WARM_SESSIONS, all[64];

    return sy_group_allgather(soak->group, &more, 1, all, NULL) == SY_OK && all[0];
}

int main(int argc, char **argv)
{
    struct soak soak = {.group = tap_mpi_begin(&argc, &argv, 60000)};
    const char *given = getenv("SY_SHAPES_SECONDS");
    int64_t end_ns = sy_clock_ns() + (given ? strtoll(given, NULL, 10) : 8) * 1000000000;
    struct sy_error err = SY_ERROR_INIT;
    uint64_t seeds[64];

    plan(3);
    soak.rand = testrand_begin();
    if (!fixture_open(&soak.fixture, "tests/data/demo") ||
        sy_group_allgather(soak.group, &soak.rand.state, sizeof soak.rand.state, seeds, &err))
        bail("nothing to run: %s", err.text);
    soak.rand.state = seeds[0];
    enum sy_status st = learn(&soak, &err);
    while (!st && go_on(&soak, end_ns)) {
        st = run_session(&soak, &err);
        if (soak.n_sessions == WARM_SESSIONS)
            soak.resident_warm = resident_bytes();
    }
    ok_all(!st, "%d requests in %d batches of %d sessions ran%s%s", soak.n_requests, soak.n_rounds, soak.n_sessions,
           st ? ": " : "", st ? err.text : "");
    ok_all(!soak.n_wrong, "each has the tokens and log-probabilities that it has alone");
    size_t resident = resident_bytes();
    ok_all(resident <= soak.resident_warm + GROWTH_MAX,
           "resident memory has not grown: %.1f MB after %d sessions, %.1f MB now", (double)soak.resident_warm * 1e-6,
           WARM_SESSIONS, (double)resident * 1e-6);
    diag("rank %d: %.1f MB after %d sessions, %.1f MB after %d", sy_group_rank(soak.group),
         (double)soak.resident_warm * 1e-6, WARM_SESSIONS, (double)resident * 1e-6, soak.n_sessions);
    fixture_close(&soak.fixture);
    return tap_mpi_end(soak.group);
}

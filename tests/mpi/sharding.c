/* SPDX-License-Identifier: Apache-2.0
 * sharding.c - each rank reads only what it owns, and what travels is what the plan says
 */
#include <stdio.h>
#include <string.h>

#include "engine/holding.h"
#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

/* Bytes that this process has read by read(2) and its kin. */
static long long bytes_read(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    long long n = -1;

    if (!file)
        return -1;
    if (fscanf(file, "rchar: %lld", &n) != 1)
        n = -1;
    fclose(file);
    return n;
}

/* What this rank should read: its experts, and its part of the dense weights. */
static double share(const struct sy_model *model, int rank, int n_ranks)
{
    int64_t total, active, expert = (int64_t)3 * model->expert_width * model->hidden;

    sy_model_parameters(model, &total, &active);
    int64_t experts = expert * model->n_experts * model->n_moe_layers;
    int begin = (model->n_experts * rank + n_ranks - 1) / n_ranks;
    int mine = (model->n_experts * (rank + 1) + n_ranks - 1) / n_ranks - begin;
    return (double)sy_dtype_bytes(model->dtype) *
           ((double)(total - experts) / n_ranks + (double)expert * mine * model->n_moe_layers);
}

/* Whether this rank needs what one process says that each of so many ranks would hold. */
static bool holds_as_said(struct sy_group *group, const struct sy_model *model, const struct sy_session_config *config)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_memory_need need;
    struct sy_holding said;

    if (sy_session_need(group, model, config, &need, &err) ||
        sy_holding_count(model, config->kernels, sy_group_size(group), &said, &err))
        return false;
    return need.dense_bytes == said.dense_bytes &&
           (need.expert_bytes == said.expert_bytes_most || need.expert_bytes == said.expert_bytes_least) &&
           (sy_group_rank(group) || need.expert_bytes == said.expert_bytes_most);
}

static enum sy_status submit_some(struct sy_session *session, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    int32_t prompt[50];

    for (int i = 0; i < 50; i++)
        prompt[i] = 31 * i + 7;
    for (uint64_t id = 0; id < 5 && !st; id++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = id,
                                                    .prompt = prompt + id,
                                                    .n_prompt = 20 + 5 * (int)id,
                                                    .max_tokens = 6,
                                                    .top_p = 1,
                                                    .n_logprobs = -1},
                               err);
    return st;
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    int rank = sy_group_rank(group), n_ranks = sy_group_size(group);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_session_config config;
    struct sy_session_stats stats = {0};
    struct sy_session *session;
    struct fixture fixture;

    if (!ok_all(fixture_open(&fixture, "tests/data/demo"), "the demo model opens"))
        return tap_mpi_end(group);
    sy_session_config_init(&config);
    config.kernels = fixture_kernels();
    config.chunk_rows = 7;
    config.kv_bytes_max = 8 << 20;
    ok_all(holds_as_said(group, fixture.model, &config), "each rank needs the bytes that doctor tells of");
    long long before = bytes_read();
    enum sy_status st = sy_session_create(group, fixture.ckpt, fixture.model, &config, &session, &err);
    double read = (double)(bytes_read() - before), mine = share(fixture.model, rank, n_ranks);
    if (!ok_all(!st, "a session starts"))
        bail("%s", err.text);
    ok_all(read <= 1.05 * mine && read >= 0.95 * mine,
           "each rank reads its share of the checkpoint and at most 5 %% more");
    if (read > 1.05 * mine || read < 0.95 * mine)
        fprintf(stderr, "# rank %d read %.0f bytes, its share is %.0f\n", rank, read, mine);
    st = rank == 0 ? submit_some(session, &err) : SY_OK;
    if (!st)
        st = fixture_run(session, &err);
    if (!st)
        st = sy_session_stats(session, &stats, &err);
    ok_all(!st, "five requests run");
    ok_all(rank || stats.wire_bytes == stats.wire_bytes_planned, "%llu bytes travelled, the plan's formula says %llu",
           (unsigned long long)stats.wire_bytes, (unsigned long long)stats.wire_bytes_planned);
    ok_all(rank || (stats.wire_bytes > 0) == (n_ranks > 1), "bytes travel if and only if there are several ranks");
    ok_all(rank || stats.load_bytes_max < (uint64_t)(24e6 / n_ranks * 1.1), "no rank read more than its part: %llu",
           (unsigned long long)stats.load_bytes_max);
    if (!st)
        st = fixture_end(session, &err);
    ok_all(!st, "the session ends");
    sy_session_destroy(session);
    fixture_close(&fixture);
    done();
    return tap_mpi_end(group);
}

/* SPDX-License-Identifier: Apache-2.0
 * golden.c - logits and greedy tokens of tiny checkpoints against an independent implementation
 *
 * Each folder below tests/data/goldens and tests/data/odd holds a checkpoint and golden.safetensors: p{i}.input_ids [T],
 * p{i}.logits [T, V] and p{i}.greedy [16] made with Hugging Face transformers in float32 from the same weights.
 * Logits must agree within 2e-4 of the largest absolute logit, greedy tokens exactly, on any number of ranks.
 * usage: golden.npN.t [DIR...]
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

#define TOLERANCE 2e-4
#define N_PROMPTS_MAX 8

struct prompt {
    int32_t *ids, *greedy;
    float *logits;
    size_t n_ids, n_greedy, n_logits;
    int n_found;
    bool equal;
};

struct check {
    struct prompt prompts[N_PROMPTS_MAX];
    int n_prompts, n_positions;
    double worst; /* largest difference over largest absolute logit */
};

static enum sy_status on_logits(void *ctx, uint64_t id, int position, const float *logits, int vocab,
                                struct sy_error *err)
{
    struct check *check = ctx;
    const struct prompt *prompt = &check->prompts[id % N_PROMPTS_MAX];
    const float *expected = prompt->logits + (size_t)position * (size_t)vocab;
    double largest = 0, difference = 0;

    if ((size_t)position >= prompt->n_ids)
        return SY_OK;
    if (((size_t)position + 1) * (size_t)vocab > prompt->n_logits)
        return sy_error_set(err, SY_ERR_DATA, "the golden file has fewer logits than positions");
    for (size_t i = 0; i < prompt->n_logits; i++)
        largest = fmax(largest, fabs(prompt->logits[i]));
    for (int i = 0; i < vocab; i++) {
        double off = fabs((double)logits[i] - expected[i]);
        difference = off > difference || isnan(off) ? off : difference;
    }
    if (!(difference / largest <= check->worst))
        check->worst = difference / largest;
    check->n_positions++;
    return SY_OK;
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct check *check = ctx;
    struct prompt *prompt = &check->prompts[event->request_id % N_PROMPTS_MAX];

    if (event->token >= 0 && (size_t)prompt->n_found < prompt->n_greedy)
        prompt->equal &= event->token == prompt->greedy[prompt->n_found++];
}

static void read_prompts(const char *dir, struct check *check)
{
    char path[4200], name[64];

    snprintf(path, sizeof path, "%s/golden.safetensors", dir);
    for (int i = 0; i < N_PROMPTS_MAX; i++) {
        struct prompt *prompt = &check->prompts[i];
        snprintf(name, sizeof name, "p%d.input_ids", i);
        prompt->ids = fixture_tensor(path, name, &prompt->n_ids);
        snprintf(name, sizeof name, "p%d.logits", i);
        prompt->logits = fixture_tensor(path, name, &prompt->n_logits);
        snprintf(name, sizeof name, "p%d.greedy", i);
        prompt->greedy = fixture_tensor(path, name, &prompt->n_greedy);
        prompt->equal = true;
        if (!prompt->ids || !prompt->logits)
            break;
        check->n_prompts++;
    }
}

static enum sy_status run(struct sy_group *group, struct fixture *fixture, struct check *check, struct sy_error *err)
{
    struct sy_session_config config;
    struct sy_session *session;

    sy_session_config_init(&config);
    config.compute = SY_COMPUTE_F32;
    config.kernels = fixture_kernels();
    config.prefill_chunk = 16;
    config.on_logits = on_logits;
    config.on_token = on_token;
    config.ctx = check;
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, err);
    if (st)
        return st;
    for (int i = 0; i < check->n_prompts && sy_group_rank(group) == 0 && !st; i++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = (uint64_t)i,
                                                    .prompt = check->prompts[i].ids,
                                                    .n_prompt = (int)check->prompts[i].n_ids,
                                                    .max_tokens = (int)check->prompts[i].n_greedy,
                                                    .top_p = 1,
                                                    .n_logprobs = -1,
                                                    .ignore_eos = true,
                                                    .keep_logits = true},
                               err);
    if (!st)
        st = fixture_run(session, err);
    if (!st)
        st = fixture_end(session, err);
    sy_session_destroy(session);
    return st;
}

static void check_dir(struct sy_group *group, const char *dir)
{
    struct check check = {.n_prompts = 0};
    struct sy_error err = SY_ERROR_INIT;
    struct fixture fixture;
    const char *name = strrchr(dir, '/') ? strrchr(dir, '/') + 1 : dir;

    if (!ok_all(fixture_open(&fixture, dir), "%s: opens", name))
        return;
    if (sy_group_size(group) > fixture.model->n_experts) {
        skip("%s: it has fewer experts than there are ranks", name);
        fixture_close(&fixture);
        return;
    }
    read_prompts(fixture.dir, &check);
    enum sy_status st = run(group, &fixture, &check, &err);
    if (st)
        diag("%s", err.text);
    ok_all(!st, "%s: %d prompts run", name, check.n_prompts);
    double worst[256] = {0}, largest = 0;
    int positions[256] = {0}, n = 0, expected = 0;
    sy_group_allgather(group, &check.worst, sizeof check.worst, worst, &err);
    sy_group_allgather(group, &check.n_positions, sizeof check.n_positions, positions, &err);
    for (int r = 0; r < sy_group_size(group); r++) {
        largest = worst[r] > largest || isnan(worst[r]) ? worst[r] : largest;
        n += positions[r];
    }
    for (int i = 0; i < check.n_prompts; i++)
        expected += (int)check.prompts[i].n_ids;
    ok_all(n == expected && expected > 0, "%s: logits of all %d positions were seen", name, expected);
    ok_all(largest <= TOLERANCE, "%s: logits within %.1e of the largest (allowed %.1e)", name, largest, TOLERANCE);
    for (int i = 0; i < check.n_prompts; i++) {
        const struct prompt *prompt = &check.prompts[i];
        if (prompt->greedy)
            ok_all(sy_group_rank(group) || (prompt->equal && prompt->n_found == (int)prompt->n_greedy),
                   "%s: greedy tokens of prompt %d", name, i);
        free(prompt->ids);
        free(prompt->logits);
        free(prompt->greedy);
    }
    fixture_close(&fixture);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void check_all(struct sy_group *group, const char *parent)
{
    char path[4096], dir[4600];
    struct dirent **entries;
    int n = scandir(fixture_path(parent, path, sizeof path), &entries, NULL, by_name);

    for (int i = 0; i < n; i++) {
        snprintf(dir, sizeof dir, "%s/%s/config.json", path, entries[i]->d_name);
        if (sy_file_exists(dir)) {
            *strrchr(dir, '/') = 0;
            check_dir(group, dir);
        }
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);

    for (int i = 1; i < argc; i++)
        check_dir(group, argv[i]);
    if (argc < 2) {
        check_all(group, "tests/data/goldens");
        check_all(group, "tests/data/odd");
    }
    done();
    return tap_mpi_end(group);
}

/* SPDX-License-Identifier: Apache-2.0
 * golden.c - hidden states, logits and greedy tokens of tiny checkpoints against an independent implementation
 *
 * Each folder below tests/data/goldens and tests/data/odd holds a checkpoint and golden.safetensors: p{i}.input_ids [T],
 * p{i}.logits [T, V], p{i}.greedy [16] and, in most, p{i}.hidden.{l} [T, D] (0: the embedding; l: after l layers; the last
 * one: after the final norm), made with Hugging Face transformers in float32 from the same weights. Logits must agree within
 * 2e-4 of the largest absolute logit, hidden states within 2e-4 of the largest of their position, greedy tokens exactly, on
 * any number of ranks. A failure names the first layer that is off.
 *
 * A second run, with BF16 arithmetic, must find the same most likely token wherever the reference's leads by more than 0.3,
 * and the median over positions of the logits' relative L2 error must be at most 1e-2.
 * usage: golden.npN.t [DIR...]
 */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "compare.h"
#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

#define TOLERANCE     2e-4
#define TOLERANCE_L2  1e-2
#define LEAD          0.3
#define N_PROMPTS_MAX 8
#define N_LAYERS_MAX  16
#define N_RANKS_MAX   64

struct prompt {
    int32_t *ids, *greedy;
    float *logits, *hidden[N_LAYERS_MAX + 1];
    size_t n_ids, n_greedy, n_logits, n_hidden[N_LAYERS_MAX + 1];
    int n_found, begin; /* begin: of its positions among those of all prompts */
    bool equal;
};

/* A hidden state that is off by more than is allowed. */
struct difference {
    int layer, prompt, position; /* layer: -1 for none */
    double off;
};

/* What one rank has seen. Differences are over the largest absolute value of what is compared. */
struct seen {
    int n_positions, n_rows; /* of logits, and of hidden states in all layers */
    int n_led, n_other;      /* positions with a clear lead, and those of them where another token leads here */
    double logits_off, hidden_off;
    struct difference first;
};

struct check {
    struct prompt prompts[N_PROMPTS_MAX];
    int n_prompts, n_positions, n_layers; /* n_layers: 0 without hidden states */
    double *l2;                           /* [n_positions] relative L2 errors of logits, of this rank's positions */
    struct seen seen;
};

/* By layer, then prompt, then position. */
static void keep_first(struct difference *first, const struct difference *other)
{
    if (other->layer < 0)
        return;
    int order = first->layer < 0 ? 1 : first->layer - other->layer;
    order = order ? order : first->prompt - other->prompt;
    order = order ? order : first->position - other->position;
    if (order > 0)
        *first = *other;
}

static enum sy_status on_hidden(void *ctx, uint64_t id, int position, int layer, const float *hidden, int D,
                                struct sy_error *err)
{
    struct check *check = ctx;
    const struct prompt *prompt = &check->prompts[id % N_PROMPTS_MAX];
    size_t row = (size_t)position * (size_t)D;

    if ((size_t)position >= prompt->n_ids || layer > check->n_layers)
        return SY_OK;
    if (row + (size_t)D > prompt->n_hidden[layer])
        return sy_error_set(err, SY_ERR_DATA, "the golden file has fewer hidden states than positions");
    const float *expected = prompt->hidden[layer] + row;
    struct difference found = {layer, (int)id, position,
                               compare_difference(hidden, expected, (size_t)D, compare_largest(expected, (size_t)D))};
    if (!(found.off <= TOLERANCE))
        keep_first(&check->seen.first, &found);
    compare_keep_worst(&check->seen.hidden_off, found.off);
    check->seen.n_rows++;
    return SY_OK;
}

static enum sy_status on_logits(void *ctx, uint64_t id, int position, const float *logits, int vocab,
                                struct sy_error *err)
{
    struct check *check = ctx;
    const struct prompt *prompt = &check->prompts[id % N_PROMPTS_MAX];

    if ((size_t)position >= prompt->n_ids)
        return SY_OK;
    if (((size_t)position + 1) * (size_t)vocab > prompt->n_logits)
        return sy_error_set(err, SY_ERR_DATA, "the golden file has fewer logits than positions");
    const float *expected = prompt->logits + (size_t)position * (size_t)vocab;
    compare_keep_worst(&check->seen.logits_off, compare_difference(logits, expected, (size_t)vocab,
                                                                   compare_largest(prompt->logits, prompt->n_logits)));
    check->l2[prompt->begin + position] = compare_relative_l2(logits, expected, (size_t)vocab);
    double lead, lead_here;
    int wanted = compare_leader(expected, vocab, &lead), found = compare_leader(logits, vocab, &lead_here);
    check->seen.n_led += lead > LEAD;
    check->seen.n_other += lead > LEAD && found != wanted;
    check->seen.n_positions++;
    return SY_OK;
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    struct check *check = ctx;
    struct prompt *prompt = &check->prompts[event->request_id % N_PROMPTS_MAX];

    if (event->token >= 0 && (size_t)prompt->n_found < prompt->n_greedy)
        prompt->equal &= event->token == prompt->greedy[prompt->n_found++];
}

/* Hidden states of a prompt; returns how many layers have them, the embedding left out. */
static int read_hidden(const char *path, int i, struct prompt *prompt)
{
    char name[64];
    int n = 0;

    for (; n <= N_LAYERS_MAX; n++) {
        snprintf(name, sizeof name, "p%d.hidden.%d", i, n);
        prompt->hidden[n] = fixture_tensor(path, name, &prompt->n_hidden[n]);
        if (!prompt->hidden[n])
            break;
    }
    return n ? n - 1 : 0;
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
        check->n_layers = read_hidden(path, i, prompt);
        prompt->begin = check->n_positions;
        check->n_positions += (int)prompt->n_ids;
        check->n_prompts++;
    }
    check->l2 = calloc((size_t)check->n_positions + 1, sizeof *check->l2);
}

static void free_prompts(struct check *check)
{
    for (int i = 0; i < N_PROMPTS_MAX; i++) {
        struct prompt *prompt = &check->prompts[i];
        for (int l = 0; l <= N_LAYERS_MAX; l++)
            free(prompt->hidden[l]);
        free(prompt->ids);
        free(prompt->logits);
        free(prompt->greedy);
    }
    free(check->l2);
}

/* What all ranks have seen, on each of them. */
static enum sy_status merge(struct sy_group *group, struct check *check, struct sy_error *err)
{
    int n_ranks = sy_group_size(group);
    size_t n = (size_t)check->n_positions;
    struct seen all[N_RANKS_MAX] = {0}, *seen = &check->seen;
    double *l2 = malloc((size_t)n_ranks * n * sizeof *l2 + 1);
    enum sy_status st = sy_group_allgather(group, seen, sizeof *seen, all, err);

    if (!st)
        st = sy_group_allgather(group, check->l2, n * sizeof *l2, l2, err);
    *seen = (struct seen){.first.layer = -1};
    for (int r = 0; r < n_ranks && !st; r++) {
        seen->n_positions += all[r].n_positions;
        seen->n_rows += all[r].n_rows;
        seen->n_led += all[r].n_led;
        seen->n_other += all[r].n_other;
        compare_keep_worst(&seen->logits_off, all[r].logits_off);
        compare_keep_worst(&seen->hidden_off, all[r].hidden_off);
        keep_first(&seen->first, &all[r].first);
    }
    /* A position is served by one rank and 0 on the others. */
    for (size_t i = 0; i < n && !st; i++)
        for (int r = 0; r < n_ranks; r++)
            check->l2[i] = (r ? check->l2[i] : 0) + l2[(size_t)r * n + i];
    free(l2);
    return st;
}

/* Fill check->seen with what all ranks see. */
static enum sy_status run(struct sy_group *group, struct fixture *fixture, struct check *check, enum sy_compute compute,
                          struct sy_error *err)
{
    bool f32 = compute == SY_COMPUTE_F32;
    struct sy_session_config config;
    struct sy_session *session;

    sy_session_config_init(&config);
    config.compute = compute;
    config.kernels = fixture_kernels();
    config.transport = fixture_transport();
    config.prefill_chunk = 16;
    config.on_logits = on_logits;
    config.on_hidden = f32 && check->n_layers ? on_hidden : NULL;
    config.on_token = on_token;
    config.ctx = check;
    check->seen = (struct seen){.first.layer = -1};
    memset(check->l2, 0, (size_t)check->n_positions * sizeof *check->l2);
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, err);
    if (st)
        return st;
    for (int i = 0; i < check->n_prompts && sy_group_rank(group) == 0 && !st; i++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = (uint64_t)i,
                                                    .prompt = check->prompts[i].ids,
                                                    .n_prompt = (int)check->prompts[i].n_ids,
                                                    .max_tokens = f32 ? (int)check->prompts[i].n_greedy : 0,
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
    return st ? st : merge(group, check, err);
}

static void check_hidden(const char *name, const struct check *check, int n_layers)
{
    const struct seen *seen = &check->seen;
    const struct difference *first = &seen->first;
    char layer[80] = "the embedding";

    if (!check->n_layers) {
        skip("%s: its golden file has no hidden states", name);
        return;
    }
    ok_all(check->n_layers == n_layers && seen->n_rows == check->n_positions * (n_layers + 1),
           "%s: hidden states of %d layers and the embedding at %d positions were seen", name, n_layers,
           check->n_positions);
    if (ok_all(first->layer < 0, "%s: hidden states within %.1e of the largest (allowed %.1e)", name, seen->hidden_off,
               TOLERANCE))
        return;
    if (first->layer)
        snprintf(layer, sizeof layer, "layer %d%s", first->layer - 1,
                 first->layer == n_layers ? " or the final norm" : "");
    diag("%s: %s is the first that is off: prompt %d, position %d: by %.1e, allowed %.1e", name, layer, first->prompt,
         first->position, first->off, TOLERANCE);
}

static void check_bf16(struct sy_group *group, const char *name, struct fixture *fixture, struct check *check)
{
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status st = run(group, fixture, check, SY_COMPUTE_BF16, &err);

    if (st)
        diag("%s", err.text);
    if (!ok_all(!st && check->seen.n_positions == check->n_positions, "%s: logits of all positions in BF16", name))
        return;
    const struct seen *seen = &check->seen;
    ok_all(seen->n_other == 0, "%s: the same token leads in BF16 at %d of %d positions where it leads by %.1f", name,
           seen->n_led - seen->n_other, seen->n_led, LEAD);
    double middle = compare_median(check->l2, check->n_positions);
    ok_all(middle <= TOLERANCE_L2, "%s: median relative L2 error of logits %.1e in BF16 (allowed %.1e)", name, middle,
           TOLERANCE_L2);
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
    enum sy_status st = run(group, &fixture, &check, SY_COMPUTE_F32, &err);
    if (st)
        diag("%s", err.text);
    ok_all(!st, "%s: %d prompts run", name, check.n_prompts);
    ok_all(check.seen.n_positions == check.n_positions && check.n_positions > 0,
           "%s: logits of all %d positions were seen", name, check.n_positions);
    check_hidden(name, &check, fixture.model->n_layers);
    ok_all(check.seen.logits_off <= TOLERANCE, "%s: logits within %.1e of the largest (allowed %.1e)", name,
           check.seen.logits_off, TOLERANCE);
    for (int i = 0; i < check.n_prompts; i++) {
        const struct prompt *prompt = &check.prompts[i];
        if (prompt->greedy)
            ok_all(sy_group_rank(group) || (prompt->equal && prompt->n_found == (int)prompt->n_greedy),
                   "%s: greedy tokens of prompt %d", name, i);
    }
    check_bf16(group, name, &fixture, &check);
    free_prompts(&check);
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

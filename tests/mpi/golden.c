/* SPDX-License-Identifier: Apache-2.0
 * golden.c - hidden states, logits and greedy tokens of tiny checkpoints against an independent implementation
 *
 * Each folder below tests/data/goldens and tests/data/odd holds a checkpoint and golden.safetensors: p{i}.input_ids [T],
 * p{i}.logits [T, V], p{i}.greedy [16] and, in most, p{i}.hidden.{l} [T, D] (0: the embedding; l: after l layers; the last
 * one: after the final norm), made with Hugging Face transformers in float32 from the same weights. Logits must agree within
 * 2e-4 of the largest absolute logit, hidden states within 2e-4 of the largest of their position, greedy tokens exactly, on
 * any number of ranks. A failure names the first layer that is off.
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

#define TOLERANCE     2e-4
#define N_PROMPTS_MAX 8
#define N_LAYERS_MAX  16
#define N_RANKS_MAX   64

struct prompt {
    int32_t *ids, *greedy;
    float *logits, *hidden[N_LAYERS_MAX + 1];
    size_t n_ids, n_greedy, n_logits, n_hidden[N_LAYERS_MAX + 1];
    int n_found;
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
    double logits_off, hidden_off;
    struct difference first;
};

struct check {
    struct prompt prompts[N_PROMPTS_MAX];
    int n_prompts, n_positions, n_layers; /* n_layers: 0 without hidden states */
    struct seen seen;
};

/* The largest difference over the largest absolute value expected, or NaN. */
static double largest_difference(const float *found, const float *expected, size_t n, double largest)
{
    double difference = 0;

    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)found[i] - expected[i]);
        difference = off > difference || isnan(off) ? off : difference;
    }
    return difference / largest;
}

static double largest_of(const float *values, size_t n)
{
    double largest = 0;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(values[i]));
    return largest;
}

/* A NaN, once there, stays. */
static void keep_worst(double *worst, double off)
{
    if (!(off <= *worst) && !isnan(*worst))
        *worst = off;
}

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
                               largest_difference(hidden, expected, (size_t)D, largest_of(expected, (size_t)D))};
    if (!(found.off <= TOLERANCE))
        keep_first(&check->seen.first, &found);
    keep_worst(&check->seen.hidden_off, found.off);
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
    keep_worst(&check->seen.logits_off,
               largest_difference(logits, expected, (size_t)vocab, largest_of(prompt->logits, prompt->n_logits)));
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
        check->n_positions += (int)prompt->n_ids;
        check->n_prompts++;
    }
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
    config.on_hidden = check->n_layers ? on_hidden : NULL;
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

/* What all ranks have seen, on each of them. */
static void merge(struct sy_group *group, struct seen *seen)
{
    struct sy_error err = SY_ERROR_INIT;
    struct seen all[N_RANKS_MAX] = {0};

    sy_group_allgather(group, seen, sizeof *seen, all, &err);
    *seen = (struct seen){.first.layer = -1};
    for (int r = 0; r < sy_group_size(group); r++) {
        seen->n_positions += all[r].n_positions;
        seen->n_rows += all[r].n_rows;
        keep_worst(&seen->logits_off, all[r].logits_off);
        keep_worst(&seen->hidden_off, all[r].hidden_off);
        keep_first(&seen->first, &all[r].first);
    }
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

static void check_dir(struct sy_group *group, const char *dir)
{
    struct check check = {.seen.first.layer = -1};
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
    merge(group, &check.seen);
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

/* SPDX-License-Identifier: Apache-2.0
 * bench_tokenizer.c - text to ids on one core
 *
 * Each repetition opens the tokenizer anew, so that its first pass meets empty caches; the other passes are repeated for a
 * while. The clock is this thread's CPU time: what others do on the machine does not count.
 */
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/bench.h"
#include "cli/bench_report.h"
#include "model/tokenizer.h"

#define PASS_SECONDS 0.2
#define JSON_DEPTH   16

enum way { FIRST, EACH, WHOLE, N_WAYS };

static const char *const way_names[N_WAYS] = {"first_pass", "each_text", "one_call"};
static const char *const way_texts[N_WAYS] = {"each text, first pass", "each text, later passes",
                                              "all texts in one call"};

struct job {
    struct sy_tokenizer *tok;
    struct sy_buf texts, ends; /* the bytes of all texts; where each one ends (size_t) */
    struct sy_buf ids;
    size_t n_texts, n_ids;
    struct sy_buf rates[N_WAYS]; /* bytes a second of each repetition (double) */
};

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static bool add_text(struct job *job, const char *text, size_t len)
{
    job->n_texts++;
    return sy_buf_append(&job->texts, text, len) && sy_buf_append(&job->ends, &job->texts.len, sizeof job->texts.len);
}

/* A line of a file for score is its text; one of any other file is a text as it stands, newline included. */
static enum sy_status add_line(struct job *job, const char *path, bool json, const char *line, size_t len,
                               struct sy_error *err)
{
    json_t *root = NULL;
    bool good = true;

    if (!json) {
        good = add_text(job, line, len);
    } else {
        enum sy_status st = sy_json_parse(path, line, len, JSON_DEPTH, &root, err);
        if (st)
            return st;
        const json_t *text = json_object_get(root, "text");
        bool has_text = json_is_string(text);
        if (has_text)
            good = add_text(job, json_string_value(text), json_string_length(text));
        json_decref(root);
        if (!has_text)
            return sy_error_set(err, SY_ERR_DATA, "%s: a line has no text; --in takes what score takes, or plain text",
                                path);
    }
    return good ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the texts of %s", path);
}

static enum sy_status read_texts(struct job *job, const char *path, struct sy_error *err)
{
    struct sy_buf file = SY_BUF_INIT;
    size_t len = strlen(path), at = 0;
    bool json = len > 6 && !strcmp(path + len - 6, ".jsonl");
    enum sy_status st = sy_file_read(path, SY_TOKENIZER_BYTES_MAX, &file, err);

    while (!st && at < file.len) {
        const char *line = (const char *)file.data + at, *newline = memchr(line, '\n', file.len - at);
        size_t n = newline ? (size_t)(newline - line) + 1 : file.len - at;
        at += n;
        if (!json || n > 1)
            st = add_line(job, path, json, line, n, err);
    }
    if (!st && !job->texts.len)
        st = sy_error_set(err, SY_ERR_DATA, "%s has no text", path);
    sy_buf_fini(&file);
    return st;
}

/* All texts once. */
static enum sy_status pass(struct job *job, bool whole, struct sy_error *err)
{
    const char *texts = (const char *)job->texts.data;
    const size_t *ends = (const size_t *)job->ends.data;
    enum sy_status st = SY_OK;

    job->ids.len = 0;
    if (whole)
        return sy_tokenizer_encode(job->tok, texts, job->texts.len, false, &job->ids, err);
    for (size_t i = 0, begin = 0; i < job->n_texts && !st; begin = ends[i++])
        st = sy_tokenizer_encode(job->tok, texts + begin, ends[i] - begin, false, &job->ids, err);
    return st;
}

static enum sy_status repetition(struct job *job, const char *dir, struct sy_error *err)
{
    enum sy_status st = sy_tokenizer_open(dir, &job->tok, err);

    if (!st && !job->tok)
        st = sy_error_set(err, SY_ERR_USAGE, "--model %s: there is no tokenizer.json", dir);
    for (enum way way = FIRST; way < N_WAYS && !st; way++) {
        double begin = cpu_seconds(), seconds = 0;
        int n_passes = 0;
        while (!st && (!n_passes || (way != FIRST && seconds < PASS_SECONDS))) {
            st = pass(job, way == WHOLE, err);
            seconds = cpu_seconds() - begin;
            n_passes++;
        }
        if (way == EACH)
            job->n_ids = job->ids.len / sizeof(int32_t);
        double rate = (double)job->texts.len * n_passes / (seconds > 0 ? seconds : 1e-9);
        if (!st && !sy_buf_append(&job->rates[way], &rate, sizeof rate))
            st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for a repetition");
    }
    sy_tokenizer_close(job->tok);
    job->tok = NULL;
    return st;
}

static void report(struct sy_bench *bench, struct job *job)
{
    const struct sy_settings *s = bench->setup->settings;
    json_t *ways = json_object();

    printf("%s: %zu text%s, %zu bytes, %zu tokens\n\n%-26s %9s %9s %9s\n", s->in, job->n_texts,
           job->n_texts == 1 ? "" : "s", job->texts.len, job->n_ids, "MB/s of a core", "median", "lowest", "highest");
    for (enum way way = FIRST; way < N_WAYS; way++) {
        struct sy_spread rate = sy_spread_of((double *)job->rates[way].data, bench->n_reps);
        printf("%-26s %9.1f %9.1f %9.1f\n", way_texts[way], rate.median * 1e-6, rate.min * 1e-6, rate.max * 1e-6);
        json_object_set_new(ways, way_names[way],
                            json_pack("{s:f,s:f,s:f}", "median", rate.median, "min", rate.min, "max", rate.max));
    }
    if (bench->json)
        json_object_set_new(bench->json, "tokenizer",
                            json_pack("{s:s,s:s,s:I,s:I,s:I,s:O}", "model", s->model, "in", s->in, "texts",
                                      (json_int_t)job->n_texts, "bytes", (json_int_t)job->texts.len, "tokens",
                                      (json_int_t)job->n_ids, "bytes_per_s", ways));
    json_decref(ways);
}

enum sy_status sy_bench_run_tokenizer(struct sy_bench *bench, struct sy_error *err)
{
    const struct sy_settings *s = bench->setup->settings;
    struct job job = {0};
    enum sy_status st = SY_OK;

    if (!s->model || !s->in)
        st = sy_error_set(err, SY_ERR_USAGE, "bench tokenizer: --model DIR and --in FILE are needed");
    else if (bench->setup->n_ranks > 1)
        st = sy_error_set(err, SY_ERR_USAGE, "bench tokenizer: this measures one core: start it without mpirun");
    if (!st)
        st = read_texts(&job, s->in, err);
    for (int i = 0; i < bench->n_reps && !st; i++)
        st = repetition(&job, s->model, err);
    if (!st)
        report(bench, &job);
    sy_buf_fini(&job.texts);
    sy_buf_fini(&job.ends);
    sy_buf_fini(&job.ids);
    for (enum way way = FIRST; way < N_WAYS; way++)
        sy_buf_fini(&job.rates[way]);
    return sy_setup_agree(bench->setup, st, err);
}

/* SPDX-License-Identifier: Apache-2.0
 * ranges.c - the phases of a session name themselves, and each ends where it began
 */
#include <string.h>

#include "base/range.h"
#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

#define DEPTH_MAX 8
#define NAMES_MAX 32

static struct {
    const char *name, *parent;
    int n;
} seen[NAMES_MAX];
static const char *open_names[DEPTH_MAX];
static int n_seen, depth, n_bad;

static void begin(const char *name)
{
    const char *parent = depth ? open_names[depth - 1] : "";
    int i = 0;

    if (depth == DEPTH_MAX) {
        n_bad++;
        return;
    }
    open_names[depth++] = name;
    while (i < n_seen && (strcmp(seen[i].name, name) || strcmp(seen[i].parent, parent)))
        i++;
    if (i == NAMES_MAX) {
        n_bad++;
        return;
    }
    seen[i].name = name;
    seen[i].parent = parent;
    seen[i].n++;
    n_seen += i == n_seen;
}

static void end(void)
{
    if (depth)
        depth--;
    else
        n_bad++;
}

static int count(const char *parent, const char *name)
{
    int n = 0;

    for (int i = 0; i < n_seen; i++)
        if (!strcmp(seen[i].name, name) && (!parent || !strcmp(seen[i].parent, parent)))
            n += seen[i].n;
    return n;
}

static enum sy_status run(struct sy_session *session, bool submit, struct sy_error *err)
{
    static const int32_t prompt[] = {3, 14, 15, 92, 65, 35};
    enum sy_status st = SY_OK;

    for (uint64_t id = 0; id < 2 && submit && !st; id++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = id,
                                                    .prompt = prompt,
                                                    .n_prompt = 6,
                                                    .max_tokens = 5,
                                                    .top_p = 1,
                                                    .n_logprobs = -1,
                                                    .ignore_eos = true},
                               err);
    if (!st)
        st = fixture_run(session, err);
    return st ? st : fixture_end(session, err);
}

int main(int argc, char **argv)
{
    static const struct sy_range_listener listener = {begin, end};
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    bool alone = sy_group_size(group) == 1;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_session_config config;
    struct sy_session *session;
    struct fixture fixture;

    if (!ok_all(fixture_open(&fixture, "tests/data/demo"), "the demo model opens"))
        return tap_mpi_end(group);
    sy_session_config_init(&config);
    config.kernels = fixture_kernels();
    config.kv_bytes_max = 8 << 20;
    sy_range_listen(&listener);
    enum sy_status st = sy_session_create(group, fixture.ckpt, fixture.model, &config, &session, &err);
    if (st)
        bail("%s", err.text);
    ok_all(count("", "load") == 1 && depth == 0, "loading is one range");
    /* Of two requests each rank of one or two has at least one. */
    st = run(session, sy_group_rank(group) == 0, &err);
    ok_all(!st, "two requests run");
    ok_all(!depth && !n_bad, "every range has ended");
    ok_all(count("", "prefill") == 1 && count("", "decode") == 4, "a prompt, then four steps of generated tokens");
    ok_all(count("prefill", "logits") == 1 && count("prefill", "sampling") == 1 && count("decode", "logits") == 4 &&
               count("decode", "sampling") == 4,
           "each step has logits and sampling");
    ok_all(count("prefill", "attention") == fixture.model->n_layers, "a prompt meets the attention of each layer");
    ok_all(count("prefill", "router") == fixture.model->n_moe_layers, "and its router");
    ok_all(count(NULL, "experts") > 0 && count(NULL, "combine") > 0, "experts and their combination are seen");
    ok_all(config.kernels->on_device ? alone || count(NULL, "dispatch") > 0 : count("decode", "dispatch") > 0,
           "so is the dispatch of rows");
    sy_range_listen(NULL);
    sy_session_destroy(session);
    fixture_close(&fixture);
    done();
    return tap_mpi_end(group);
}

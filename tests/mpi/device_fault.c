/* SPDX-License-Identifier: Apache-2.0
 * device_fault.c - a job whose device fails on one rank; device_fault.t looks at how it ends
 *
 * usage: device_fault HOW RANK N
 *   memory  the rank's Nth buffer on the device is not there
 *   kernel  after N norms a kernel of it reads where nothing is (GPUs alone)
 *   lost    the Nth wait for its queue, and all after it, fail as those for a device that is gone
 *   none
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fixture.h"

#define TIMEOUT_MS 5000

static struct sy_kernels real, faulty;
static int n_left; /* calls until the fault */

static bool due(void)
{
    return --n_left <= 0;
}

static void *alloc(size_t bytes)
{
    return n_left > 0 && due() ? NULL : real.alloc(bytes);
}

static void rmsnorm(struct sy_queue *q, const float *x, size_t x_stride, int n_rows, int n_heads, int width,
                    const float *weight, float eps, void *y, enum sy_dtype y_dtype, size_t y_stride)
{
    real.rmsnorm(q, x, x_stride, n_rows, n_heads, width, weight, eps, y, y_dtype, y_stride);
    if (n_left > 0 && due())
        real.copy_rows(q, y, NULL, (const void *)4096, NULL, 1, 16);
}

static enum sy_status queue_sync(struct sy_queue *q, struct sy_error *err)
{
    enum sy_status st = real.queue_sync(q, err);

    return due() ? sy_error_set(err, SY_ERR_SYSTEM, "the device is gone") : st;
}

static bool set_fault(const char *how)
{
    faulty = real;
    if (!strcmp(how, "memory"))
        faulty.alloc = alloc;
    else if (!strcmp(how, "kernel"))
        faulty.rmsnorm = rmsnorm;
    else if (!strcmp(how, "lost"))
        faulty.queue_sync = queue_sync;
    return strcmp(how, "none") != 0;
}

static enum sy_status run(struct sy_group *group, struct fixture *fixture, const struct sy_kernels *kernels,
                          struct sy_error *err)
{
    static const int32_t prompt[] = {3, 14, 15, 92, 65, 35};
    struct sy_session_config config;
    struct sy_session *session;

    sy_session_config_init(&config);
    config.kernels = kernels;
    config.n_threads = 1;
    config.kv_bytes_max = 16u << 20;
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, err);
    for (uint64_t i = 0; i < 4 && !st && !sy_group_rank(group); i++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = i,
                                                    .prompt = prompt,
                                                    .n_prompt = 6,
                                                    .max_tokens = 20,
                                                    .top_p = 1,
                                                    .n_logprobs = -1,
                                                    .ignore_eos = true},
                               err);
    if (!st)
        st = fixture_run(session, err);
    if (!st)
        st = fixture_end(session, err);
    if (!st)
        sy_session_destroy(session);
    return st;
}

int main(int argc, char **argv)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_group *group = NULL;
    struct fixture fixture;

    if (argc != 4 || sy_group_init(&argc, &argv, TIMEOUT_MS, &group, &err) != SY_OK) {
        fprintf(stderr, "usage: device_fault memory|kernel|lost|none RANK N\n%s\n", err.text);
        return 1;
    }
    if (!fixture_kernels() || !fixture_open(&fixture, "tests/data/demo"))
        return 1;
    real = *fixture_kernels();
    n_left = atoi(argv[3]);
    bool here = set_fault(argv[1]) && sy_group_rank(group) == atoi(argv[2]);
    enum sy_status st = run(group, &fixture, here ? &faulty : &real, &err);
    if (st) {
        fprintf(stderr, "rank %d: %s\n", err.rank >= 0 ? err.rank : sy_group_rank(group), err.text);
        sy_group_abort(group, sy_status_exit_code(st));
    }
    fixture_close(&fixture);
    sy_group_fini(group);
    return 0;
}

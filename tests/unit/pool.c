/* SPDX-License-Identifier: Apache-2.0
 * pool.c - loops over threads: every item once, and the poll between items of the caller
 */
#include "base/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/clock.h"
#include "tap.h"

#define N_ITEMS 1000

static atomic_int seen[N_ITEMS];
static pthread_t caller;
static int n_polls, n_polls_elsewhere, n_inside;
static _Thread_local int inside;

static void item(void *arg, int i, int thread)
{
    inside = 1;
    atomic_fetch_add(&seen[i], 1);
    if (arg && !thread) {
        int64_t end_ns = sy_clock_ns() + *(int *)arg * 1000;
        while (sy_clock_ns() < end_ns)
            ;
    }
    inside = 0;
}

static void poll(void *arg)
{
    ++*(int *)arg;
    n_polls_elsewhere += !pthread_equal(pthread_self(), caller);
    n_inside += inside;
}

static int n_wrong(int n_items)
{
    int wrong = 0;

    for (int i = 0; i < N_ITEMS; i++)
        wrong += atomic_exchange(&seen[i], 0) != (i < n_items);
    return wrong;
}

static void run(int n_threads)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_pool *pool;
    int busy_us = 20;

    ok(!sy_pool_create(n_threads, NULL, 0, &pool, &err), "%d threads: a pool", n_threads);
    is_int(sy_pool_n_threads(pool), n_threads, "%d threads: it has them", n_threads);
    for (int n = 0; n <= N_ITEMS; n = n ? n * 10 : 1) {
        sy_pool_run(pool, n, item, NULL);
        is_int(n_wrong(n), 0, "%d threads, %d items: each once", n_threads, n);
    }
    is_int(n_polls, 0, "%d threads: nobody polls without being asked", n_threads);
    sy_pool_poll(pool, poll, &n_polls, 0);
    sy_pool_run(pool, 50, item, &busy_us);
    ok(n_polls > 0 && n_polls <= 51, "%d threads: polled before the caller's items (%d times)", n_threads, n_polls);
    is_int(n_polls_elsewhere, 0, "%d threads: on the caller's thread", n_threads);
    is_int(n_inside, 0, "%d threads: between items, not in one", n_threads);
    is_int(n_wrong(50), 0, "%d threads: and each item ran once", n_threads);
    n_polls = 0;
    sy_pool_poll(pool, poll, &n_polls, 60 * 1000 * 1000);
    sy_pool_run(pool, 50, item, &busy_us);
    is_int(n_polls, 0, "%d threads: not before the period is over", n_threads);
    sy_pool_poll(pool, NULL, NULL, 0);
    sy_pool_run(pool, 50, item, &busy_us);
    is_int(n_polls, 0, "%d threads: and no more when it was ended", n_threads);
    n_wrong(50);
    sy_pool_destroy(pool);
}

int main(void)
{
    caller = pthread_self();
    run(1);
    run(2);
    run(5);
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * pool.c - workers that spin a little, then sleep on a futex
 */
#include "base/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"

struct worker {
    struct sy_pool *pool;
    pthread_t thread;
    int index;
};

/* A poll that takes long, as of a network by system calls, is made less often: it may take one part in so many. */
#define POLL_PAUSE 10

struct sy_pool {
    int n_threads, spin_us;
    struct worker *workers; /* [n_threads - 1] */
    sy_pool_fn fn;
    void *arg;
    int n_items;
    void (*poll)(void *arg); /* by thread 0 only, as are the next three */
    void *poll_arg;
    int64_t poll_period_ns, poll_due_ns;
    _Alignas(64) atomic_uint round;   /* grows by one for each loop; workers wait for it to change */
    _Alignas(64) atomic_int next;     /* first item not handed out */
    _Alignas(64) atomic_uint running; /* workers that have not finished this round */
    atomic_int stop;
};

static void futex_wait(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* Wait until *word is not value: spin for spin_us, then sleep. */
static void await_change(atomic_uint *word, unsigned value, int spin_us)
{
    if (spin_us > 0) {
        int64_t end = sy_clock_ns() + (int64_t)spin_us * 1000;
        do {
            for (int i = 0; i < 64; i++) {
                if (atomic_load_explicit(word, memory_order_acquire) != value)
                    return;
#if defined(__x86_64__) || defined(__i386__)
                __builtin_ia32_pause();
#endif
            }
        } while (sy_clock_ns() < end);
    }
    while (atomic_load_explicit(word, memory_order_acquire) == value)
        futex_wait(word, value);
}

static void poll_when_due(struct sy_pool *pool)
{
    if (!pool->poll)
        return;
    int64_t begin_ns = sy_clock_ns();
    if (begin_ns < pool->poll_due_ns)
        return;
    pool->poll(pool->poll_arg);
    int64_t end_ns = sy_clock_ns(), pause_ns = (end_ns - begin_ns) * POLL_PAUSE;
    pool->poll_due_ns = end_ns + (pause_ns > pool->poll_period_ns ? pause_ns : pool->poll_period_ns);
}

static void run_items(struct sy_pool *pool, int thread)
{
    for (;;) {
        if (!thread)
            poll_when_due(pool);
        int item = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (item >= pool->n_items)
            return;
        pool->fn(pool->arg, item, thread);
    }
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct sy_pool *pool = worker->pool;
    unsigned seen = 0;

    for (;;) {
        await_change(&pool->round, seen, pool->spin_us);
        seen = atomic_load_explicit(&pool->round, memory_order_acquire);
        if (atomic_load_explicit(&pool->stop, memory_order_relaxed))
            return NULL;
        run_items(pool, worker->index);
        if (atomic_fetch_sub_explicit(&pool->running, 1, memory_order_acq_rel) == 1)
            futex_wake(&pool->running, 1);
    }
}

static void bind_thread(pthread_t thread, int cpu)
{
    cpu_set_t set;

    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    /* A cpuset that changed under us only costs speed. */
    (void)pthread_setaffinity_np(thread, sizeof set, &set);
}

enum sy_status sy_pool_create(int n_threads, const int *cpus, int spin_us, struct sy_pool **out, struct sy_error *err)
{
    struct sy_pool *pool = NULL;
    int started = 0;

    if (posix_memalign((void **)&pool, 64, sizeof *pool))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the thread pool");
    memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pool->spin_us = spin_us;
    pool->workers = calloc((size_t)n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        free(pool);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the thread pool");
    }
    for (; started < n_threads - 1; started++) {
        struct worker *worker = &pool->workers[started];
        *worker = (struct worker){.pool = pool, .index = started + 1};
        int rc = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (rc) {
            pool->n_threads = started + 1;
            sy_pool_destroy(pool);
            errno = rc;
            return sy_error_errno(err, SY_ERR_SYSTEM, "cannot start compute thread %d of %d", started + 1, n_threads);
        }
        if (cpus)
            bind_thread(worker->thread, cpus[started + 1]);
    }
    if (cpus)
        bind_thread(pthread_self(), cpus[0]);
    *out = pool;
    return SY_OK;
}

void sy_pool_run(struct sy_pool *pool, int n_items, sy_pool_fn fn, void *arg)
{
    if (pool->n_threads == 1 || n_items < 2) {
        for (int i = 0; i < n_items; i++) {
            poll_when_due(pool);
            fn(arg, i, 0);
        }
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n_items = n_items;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->running, (unsigned)pool->n_threads - 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    futex_wake(&pool->round, pool->n_threads - 1);
    run_items(pool, 0);
    for (;;) {
        unsigned left = atomic_load_explicit(&pool->running, memory_order_acquire);
        if (!left)
            return;
        await_change(&pool->running, left, pool->spin_us);
    }
}

void sy_pool_poll(struct sy_pool *pool, void (*fn)(void *arg), void *arg, int period_us)
{
    pool->poll = fn;
    pool->poll_arg = arg;
    pool->poll_period_ns = (int64_t)period_us * 1000;
    pool->poll_due_ns = sy_clock_ns() + pool->poll_period_ns;
}

int sy_pool_n_threads(const struct sy_pool *pool)
{
    return pool->n_threads;
}

void sy_pool_destroy(struct sy_pool *pool)
{
    if (!pool)
        return;
    atomic_store_explicit(&pool->stop, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    futex_wake(&pool->round, pool->n_threads);
    for (int i = 0; i < pool->n_threads - 1; i++)
        pthread_join(pool->workers[i].thread, NULL);
    free(pool->workers);
    free(pool);
}

/* SPDX-License-Identifier: Apache-2.0
 * pool.h - a rank's compute threads
 *
 * One caller runs one loop at a time; the caller is thread 0 and works too. Items are handed out dynamically, so which
 * thread runs an item is not fixed: an item's result must depend on its index alone.
 */
#ifndef SY_BASE_POOL_H
#define SY_BASE_POOL_H

#include "base/status.h"

struct sy_pool;

typedef void (*sy_pool_fn)(void *arg, int item, int thread);

/* Start n_threads - 1 workers (n_threads >= 1). cpus, if not NULL, has one logical CPU number for each thread, the
 * caller included, to bind to (-1: do not bind). spin_us is how long an idle worker spins before it sleeps; give 0
 * when there are more threads than cores.
 * Returns SY_ERR_SYSTEM when a thread cannot be started. */
enum sy_status sy_pool_create(int n_threads, const int *cpus, int spin_us, struct sy_pool **pool, struct sy_error *err);

/* Call fn(arg, i, thread) once for each i in [0, n_items); returns when all are done. Not reentrant. */
void sy_pool_run(struct sy_pool *pool, int n_items, sy_pool_fn fn, void *arg);

/* Let the caller's thread call fn(arg) between its items, not more often than every period_us: what has to move while
 * everybody computes, moves then. NULL ends that. */
void sy_pool_poll(struct sy_pool *pool, void (*fn)(void *arg), void *arg, int period_us);

int sy_pool_n_threads(const struct sy_pool *pool);

/* Stop and join the workers. NULL is fine. */
void sy_pool_destroy(struct sy_pool *pool);

#endif

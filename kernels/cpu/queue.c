/* SPDX-License-Identifier: Apache-2.0
 * queue.c - buffers and queues of the CPU backends
 */
#include "cpu/queue.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* Waking a sleeping worker takes about as long as this many multiply-adds on one core. */
#define SERIAL_COST 32768.0

/* bytes rounded up to whole pages, at least one; 0 when that overflows. */
static size_t round_to_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (bytes > SIZE_MAX / 2)
        return 0;
    return bytes ? (bytes + page - 1) / page * page : page;
}

void *sy_cpu_alloc(size_t bytes)
{
    size_t length = round_to_pages(bytes), spare = length >= HUGE_PAGE ? HUGE_PAGE : 0;
    uint8_t *mapped;

    if (!length)
        return NULL;
    mapped = mmap(NULL, length + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED)
        return NULL;
    if (!spare)
        return mapped;
    /* Huge pages need their own alignment: give back what is mapped before and behind it. */
    size_t before = (HUGE_PAGE - (uintptr_t)mapped % HUGE_PAGE) % HUGE_PAGE;
    if (before)
        munmap(mapped, before);
    if (spare - before)
        munmap(mapped + before + length, spare - before);
    (void)madvise(mapped + before, length, MADV_HUGEPAGE);
    return mapped + before;
}

void sy_cpu_free(void *buffer, size_t bytes)
{
    if (buffer)
        munmap(buffer, round_to_pages(bytes));
}

void sy_cpu_copy(struct sy_queue *q, void *dst, const void *src, size_t bytes)
{
    (void)q;
    if (bytes)
        memmove(dst, src, bytes);
}

void sy_cpu_clear(struct sy_queue *q, void *dst, size_t bytes)
{
    (void)q;
    if (bytes)
        memset(dst, 0, bytes);
}

/* All memory is the host's. */
enum sy_status sy_cpu_share_host(void *memory, size_t bytes, struct sy_error *err)
{
    (void)memory, (void)bytes, (void)err;
    return SY_OK;
}

void sy_cpu_unshare_host(void *memory)
{
    (void)memory;
}

enum sy_status sy_cpu_queue_create(struct sy_pool *pool, struct sy_queue **q, struct sy_error *err)
{
    struct sy_queue *queue = calloc(1, sizeof *queue);

    if (!queue)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a kernel queue");
    queue->pool = pool;
    *q = queue;
    return SY_OK;
}

enum sy_status sy_cpu_queue_sync(struct sy_queue *q, struct sy_error *err)
{
    (void)q, (void)err;
    return SY_OK;
}

void sy_cpu_queue_destroy(struct sy_queue *q)
{
    free(q);
}

void sy_queue_run(struct sy_queue *q, int n_items, double cost, sy_pool_fn fn, void *arg)
{
    /* Without a queue (loading converts so) everything runs here. */
    if (q && cost >= SERIAL_COST) {
        sy_pool_run(q->pool, n_items, fn, arg);
        return;
    }
    for (int i = 0; i < n_items; i++)
        fn(arg, i, 0);
}

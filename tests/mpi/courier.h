/* SPDX-License-Identifier: Apache-2.0
 * courier.h - a courier between test processes as NCCL is one between GPUs: through a file that all map; and a porter
 *
 * What is asked is done in order. A send is done when the peer has taken it, so one that nobody asks for holds up all behind it.
 */
#ifndef TESTS_MPI_COURIER_H
#define TESTS_MPI_COURIER_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/courier.h"

#define COURIER_RANKS 16
#define PIPE_BYTES    16384
#define QUEUE_MAX     4096

struct pipe {
    _Atomic uint64_t put, got;
    uint8_t bytes[PIPE_BYTES];
};

struct task {
    enum { TASK_PARCEL, TASK_LAY, TASK_MARK } kind;
    struct sy_parcel parcel;
    size_t moved;
    bool done;
    void *to;
    const uint32_t *rows;
    const void *from;
    size_t row_bytes;
    int n, group;
};

struct sy_courier_link {
    struct pipe (*pipes)[COURIER_RANKS]; /* [from][to] */
    int rank, n_settles;
    struct task queue[QUEUE_MAX];
    uint64_t first, end, marks[SY_COURIER_MARKS];
    int group;
};

static int64_t courier_device = -1; /* -1: one for each process */
static bool courier_is_missing, courier_is_stuck;
static int n_links, n_courier_blocks;

static int64_t test_device(void)
{
    return courier_device < 0 ? (int64_t)getpid() : courier_device;
}

static enum sy_status test_name(struct sy_courier_name *name, struct sy_error *err)
{
    int file[2] = {(int)getpid(), memfd_create("courier", MFD_CLOEXEC)};

    if (courier_is_missing)
        return sy_error_set(err, SY_ERR_USAGE, "this test has no courier");
    if (file[1] < 0 || ftruncate(file[1], sizeof(struct pipe) * COURIER_RANKS * COURIER_RANKS) != 0)
        return sy_error_set(err, SY_ERR_SYSTEM, "no file for a courier");
    memcpy(name->bytes, file, sizeof file);
    return SY_OK;
}

static enum sy_status test_open(const struct sy_courier_name *name, int rank, int size, struct sy_courier_link **out,
                                struct sy_error *err)
{
    struct sy_courier_link *link = calloc(1, sizeof *link);
    int file[2];
    char path[64];

    memcpy(file, name->bytes, sizeof file);
    snprintf(path, sizeof path, "/proc/%d/fd/%d", file[0], file[1]);
    int fd = link && size <= COURIER_RANKS ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *base = fd < 0 ? MAP_FAILED
                        : mmap(NULL, sizeof(struct pipe) * COURIER_RANKS * COURIER_RANKS, PROT_READ | PROT_WRITE,
                               MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (base == MAP_FAILED) {
        free(link);
        return sy_error_set(err, SY_ERR_SYSTEM, "no courier");
    }
    link->pipes = base;
    link->rank = rank;
    n_links++;
    *out = link;
    return SY_OK;
}

/* Move what can be moved of one parcel. */
static void move_parcel(struct sy_courier_link *link, struct task *task)
{
    struct sy_parcel *p = &task->parcel;
    struct pipe *pipe = p->incoming ? &link->pipes[p->peer][link->rank] : &link->pipes[link->rank][p->peer];

    while (task->moved < p->bytes) {
        uint64_t put = atomic_load(&pipe->put), got = atomic_load(&pipe->got);
        size_t at = (p->incoming ? got : put) % PIPE_BYTES;
        size_t n = p->incoming ? put - got : PIPE_BYTES - (put - got), left = p->bytes - task->moved;
        uint8_t *memory = (uint8_t *)p->memory + task->moved;
        n = n < left ? n : left;
        n = n < PIPE_BYTES - at ? n : PIPE_BYTES - at;
        if (!n)
            return;
        memcpy(p->incoming ? memory : pipe->bytes + at, p->incoming ? pipe->bytes + at : memory, n);
        atomic_store(p->incoming ? &pipe->got : &pipe->put, (p->incoming ? got : put) + n);
        task->moved += n;
    }
    task->done = p->incoming || atomic_load(&pipe->got) == atomic_load(&pipe->put);
}

/* Whether a parcel may move: those of a group move together, but for one pair of ranks and direction in order. */
static bool is_next(const struct sy_courier_link *link, uint64_t at)
{
    const struct task *task = &link->queue[at % QUEUE_MAX];

    for (uint64_t i = link->first; i < at; i++) {
        const struct task *before = &link->queue[i % QUEUE_MAX];
        bool same = before->parcel.peer == task->parcel.peer && before->parcel.incoming == task->parcel.incoming;
        if (before->kind != TASK_PARCEL || before->group != task->group || (same && !before->done))
            return false;
    }
    return true;
}

static void work(struct sy_courier_link *link)
{
    for (uint64_t i = link->first; i < link->end && !courier_is_stuck; i++)
        if (link->queue[i % QUEUE_MAX].kind == TASK_PARCEL && !link->queue[i % QUEUE_MAX].done && is_next(link, i))
            move_parcel(link, &link->queue[i % QUEUE_MAX]);
    for (; link->first < link->end && !courier_is_stuck; link->first++) {
        const struct task *task = &link->queue[link->first % QUEUE_MAX];
        if (task->kind == TASK_PARCEL && !task->done)
            return;
        for (int i = 0; task->kind == TASK_LAY && i < task->n; i++)
            memcpy((uint8_t *)task->to + task->rows[i] * task->row_bytes,
                   (const uint8_t *)task->from + (size_t)i * task->row_bytes, task->row_bytes);
    }
}

static struct task *new_task(struct sy_courier_link *link)
{
    struct task *task = &link->queue[link->end++ % QUEUE_MAX];

    if (link->end - link->first > QUEUE_MAX)
        abort();
    *task = (struct task){.group = link->group};
    return task;
}

static enum sy_status test_exchange(struct sy_courier_link *link, const struct sy_parcel *parcels, int n,
                                    struct sy_error *err)
{
    (void)err;
    link->group++;
    for (int i = 0; i < n; i++)
        new_task(link)->parcel = parcels[i];
    return SY_OK;
}

/* Each second time. */
static enum sy_status test_settle(struct sy_courier_link *link, struct sy_error *err)
{
    (void)err;
    return ++link->n_settles % 2 ? SY_AGAIN : SY_OK;
}

static enum sy_status test_lay(struct sy_courier_link *link, void *to, const uint32_t *rows, const void *from, int n,
                               size_t row_bytes, struct sy_error *err)
{
    struct task *task = new_task(link);

    (void)err;
    task->kind = TASK_LAY;
    task->to = to;
    task->rows = rows;
    task->from = from;
    task->n = n;
    task->row_bytes = row_bytes;
    return SY_OK;
}

static enum sy_status test_mark(struct sy_courier_link *link, int which, struct sy_error *err)
{
    (void)err;
    link->marks[which] = link->end;
    return SY_OK;
}

static enum sy_status test_reached(struct sy_courier_link *link, int which, struct sy_error *err)
{
    (void)err;
    work(link);
    return link->first >= link->marks[which] ? SY_OK : SY_AGAIN;
}

static void test_close(struct sy_courier_link *link)
{
    if (!link)
        return;
    munmap(link->pipes, sizeof(struct pipe) * COURIER_RANKS * COURIER_RANKS);
    free(link);
    n_links--;
}

static void *test_alloc(size_t bytes)
{
    n_courier_blocks++;
    return calloc(1, bytes + 1);
}

static void test_free(void *memory, size_t bytes)
{
    (void)bytes;
    n_courier_blocks -= memory != NULL;
    free(memory);
}

/* A porter, which does what it is asked at once and says so later. */
static enum sy_status test_porter_open(const struct sy_courier_name *name, int rank, int size,
                                       struct sy_courier_link **out, struct sy_error *err)
{
    struct sy_courier_link *link = calloc(1, sizeof *link);

    (void)name;
    (void)size;
    if (!link)
        return sy_error_set(err, SY_ERR_SYSTEM, "no porter");
    link->rank = rank;
    n_links++;
    *out = link;
    return SY_OK;
}

static enum sy_status test_porter_lay(struct sy_courier_link *link, void *to, const uint32_t *rows, const void *from,
                                      int n, size_t row_bytes, struct sy_error *err)
{
    (void)link;
    (void)err;
    for (int i = 0; i < n; i++)
        memcpy((uint8_t *)to + rows[i] * row_bytes, (const uint8_t *)from + (size_t)i * row_bytes, row_bytes);
    return SY_OK;
}

static enum sy_status test_porter_reached(struct sy_courier_link *link, int which, struct sy_error *err)
{
    (void)which;
    return test_settle(link, err);
}

static void test_porter_close(struct sy_courier_link *link)
{
    n_links -= link != NULL;
    free(link);
}

static const struct sy_courier test_porter = {.device = test_device,
                                              .open = test_porter_open,
                                              .lay = test_porter_lay,
                                              .mark = test_mark,
                                              .reached = test_porter_reached,
                                              .close = test_porter_close,
                                              .alloc = test_alloc,
                                              .free = test_free,
                                              .alloc_host = test_alloc,
                                              .free_host = test_free,
                                              .memory = SY_MEMORY_HOST};

static const struct sy_courier test_courier = {.device = test_device,
                                               .name = test_name,
                                               .open = test_open,
                                               .exchange = test_exchange,
                                               .settle = test_settle,
                                               .lay = test_lay,
                                               .mark = test_mark,
                                               .reached = test_reached,
                                               .close = test_close,
                                               .alloc = test_alloc,
                                               .free = test_free,
                                               .alloc_host = test_alloc,
                                               .free_host = test_free};

#endif

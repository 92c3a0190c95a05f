/* SPDX-License-Identifier: Apache-2.0
 * group.c - agreement, barrier, broadcast, gather, shared memory and deadlines, on any number of ranks
 */
#include "comm/group.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "tap.h"
#include "tap_mpi.h"

#define LONG_MS 60000

static int rank, size;

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static uint8_t byte_of(int src, size_t at, unsigned round)
{
    return (uint8_t)((size_t)src * 131 + at * 7 + (at >> 8) * 13 + round * 29);
}

static void fill(struct sy_buf *buf, int src, size_t n, unsigned round)
{
    buf->len = 0;
    if (!sy_buf_reserve(buf, n))
        bail("no memory");
    for (size_t i = 0; i < n; i++)
        buf->data[i] = byte_of(src, i, round);
    buf->len = n;
}

static bool holds(const struct sy_buf *buf, int src, size_t n, unsigned round)
{
    bool same = buf->len == n;

    for (size_t i = 0; same && i < n; i++)
        same = buf->data[i] == byte_of(src, i, round);
    return same;
}

static void test_who(struct sy_group *group)
{
    int n_here = 0, before = 0, highest = 0;

    for (int r = 0; r < size; r++) {
        bool here = sy_group_node_of(group, r) == sy_group_node_of(group, rank);
        n_here += here;
        before += here && r < rank;
        if (sy_group_node_of(group, r) > highest)
            highest = sy_group_node_of(group, r);
    }
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    ok_all(strcmp(sy_group_host(group, rank), host) == 0, "a rank's host name is its own");
    ok_all(n_here == sy_group_node_size(group) && before == sy_group_node_rank(group) &&
               highest + 1 == sy_group_n_nodes(group),
           "nodes, ranks of a node and their count belong together");
    ok_all(strlen(sy_group_mpi_version()) > 4 && !strchr(sy_group_mpi_version(), '\n'),
           "the MPI library has a name: %s", sy_group_mpi_version());
}

/* `failing` ranks fail; the lowest one's words reach everybody. */
static void check_agree(struct sy_group *group, unsigned failing, const char *name)
{
    struct sy_error err = SY_ERROR_INIT;
    enum sy_status mine = SY_OK, expected = SY_OK;
    char text[SY_ERROR_TEXT_MAX] = "", host[300] = "";
    int lowest = -1;

    for (int r = size - 1; r >= 0; r--)
        if (failing >> r & 1)
            lowest = r;
    if (failing >> rank & 1)
        mine = sy_error_set(&err, rank % 2 ? SY_ERR_DATA : SY_ERR_IO, "rank number %d could not: 17 \"things\" %%s",
                            rank);
    enum sy_status got = sy_group_agree(group, mine, &err);
    if (lowest >= 0) {
        expected = lowest % 2 ? SY_ERR_DATA : SY_ERR_IO;
        snprintf(host, sizeof host, "rank %d (%s): ", lowest, sy_group_host(group, lowest));
        snprintf(text, sizeof text, "%srank number %d could not: 17 \"things\" %%s", size > 1 ? host : "", lowest);
    }
    bool held = got == expected;
    if (lowest >= 0)
        held = held && err.status == expected && err.rank == lowest && strcmp(err.text, text) == 0;
    if (!held)
        diag("rank %d: status %d, rank %d, \"%s\", expected \"%s\"", rank, got, err.rank, err.text, text);
    ok_all(held, "agreement: %s", name);
}

static void test_agree(struct sy_group *group)
{
    check_agree(group, 0, "nobody fails");
    check_agree(group, 1, "the first rank fails");
    check_agree(group, 1u << (size - 1), "the last rank fails");
    check_agree(group, 1u << (size - 1) | 1u << (size / 2), "two ranks fail, the lower one is heard");
    check_agree(group, 0, "nobody fails afterwards");

    struct sy_error err = SY_ERROR_INIT;
    enum sy_status mine = SY_OK;
    if (rank == size - 1) {
        mine = sy_error_set(&err, SY_ERR_DATA, "%s", "x");
        memset(err.text, 'y', SY_ERROR_TEXT_MAX - 1);
    }
    enum sy_status got = sy_group_agree(group, mine, &err);
    ok_all(got == SY_ERR_DATA && strlen(err.text) == SY_ERROR_TEXT_MAX - 1 && err.text[SY_ERROR_TEXT_MAX - 2] == 'y',
           "agreement: a text of full length arrives");
    ok_all(sy_group_agree(group, rank == 0 ? SY_ERR_SYSTEM : SY_OK, NULL) == SY_ERR_SYSTEM,
           "agreement: without an error struct the status arrives");
}

static void test_barrier(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    int64_t begin = sy_clock_ns();
    bool held = true;

    /* The last rank comes 60 ms late, so nobody may be through sooner. */
    if (rank == size - 1)
        sleep_ms(60);
    held = sy_group_barrier(group, &err) == SY_OK;
    /* CLOCK_MONOTONIC of one node; begin differs by the time that MPI's own gather of the last check took to end. */
    ok_all(held && sy_clock_ns() - begin > 30000000, "barrier waits for the last rank");
    for (int i = 0; i < 200 && held; i++)
        held = sy_group_barrier(group, &err) == SY_OK && sy_group_node_barrier(group, &err) == SY_OK;
    ok_all(held, "200 barriers of the job and of the node");
}

static void test_bcast(struct sy_group *group)
{
    static const size_t lengths[] = {0, 1, 100, 3839, 3840, 3841, 5000, 5u << 20, 3};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf buf = SY_BUF_INIT;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        int root = (int)(i % (size_t)size);
        fill(&buf, rank == root ? root : 77, rank == root ? lengths[i] : 13, (unsigned)i);
        enum sy_status status = sy_group_bcast(group, root, &buf, &err);
        ok_all(status == SY_OK && holds(&buf, root, lengths[i], (unsigned)i), "broadcast of %zu bytes from rank %d",
               lengths[i], root);
    }
    bool held = true;
    for (unsigned i = 0; i < 500 && held; i++) {
        int root = (int)(i * 7 % (unsigned)size);
        if (rank == root)
            fill(&buf, root, i, i);
        held = sy_group_bcast(group, root, &buf, &err) == SY_OK && holds(&buf, root, i, i);
    }
    ok_all(held, "500 broadcasts in a row from changing roots");
    sy_buf_fini(&buf);
}

static void test_gather(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf mine = SY_BUF_INIT, in[size];
    bool held = true, kept = true;

    memset(in, 0, sizeof in);
    for (unsigned i = 0; i < 6; i++) {
        int root = (int)(i % (unsigned)size);
        /* Lengths 0, small, over the inline part, several pieces of 4 MiB. */
        size_t unit = i == 4 ? (3u << 20) : i == 5 ? 0 : 1 + (size_t)i * i * 1000;
        fill(&mine, rank, unit * (size_t)rank, i);
        held = sy_group_gather(group, root, &mine, rank == root ? in : NULL, &err) == SY_OK;
        for (int r = 0; r < size && rank == root; r++)
            held = held && holds(&in[r], r, unit * (size_t)r, i);
        ok_all(held, "gather at rank %d of %zu bytes times the rank", root, unit);
    }
    uint8_t *before[size];
    for (int r = 0; r < size; r++)
        before[r] = in[r].data;
    for (unsigned i = 0; i < 300 && held; i++) {
        fill(&mine, rank, (i + (unsigned)rank) % 200, i);
        held = sy_group_gather(group, 0, &mine, rank == 0 ? in : NULL, &err) == SY_OK;
        for (int r = 0; r < size && rank == 0; r++) {
            held = held && holds(&in[r], r, (i + (unsigned)r) % 200, i);
            if (i == 0)
                before[r] = in[r].data;
            kept = kept && in[r].data == before[r];
        }
    }
    ok_all(held, "300 gathers in a row");
    ok_all(kept, "gathering allocates nothing once the buffers have grown");
    for (int r = 0; r < size; r++)
        sy_buf_fini(&in[r]);
    sy_buf_fini(&mine);
}

static void test_allgather(struct sy_group *group)
{
    static const size_t lengths[] = {1, 24, 5000, 70000};
    struct sy_error err = SY_ERROR_INIT;

    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t n = lengths[i];
        uint8_t *mine = malloc(n), *all = malloc(n * (size_t)size);
        if (!mine || !all)
            bail("no memory");
        memset(all, 0xee, n * (size_t)size);
        for (size_t at = 0; at < n; at++)
            mine[at] = byte_of(rank, at, (unsigned)i);
        bool held = sy_group_allgather(group, mine, n, all, &err) == SY_OK;
        for (size_t at = 0; held && at < n * (size_t)size; at++)
            held = all[at] == byte_of((int)(at / n), at % n, (unsigned)i);
        ok_all(held, "allgather of %zu bytes", n);
        free(mine);
        free(all);
    }
}

static void test_share(struct sy_group *group)
{
    const size_t bytes = (70u << 20) + 5; /* more than a container's /dev/shm */
    struct sy_error err = SY_ERROR_INIT;
    void *base = NULL;
    int shared = -1;
    bool zero = true, same = true;
    size_t step = 4096 * 5 + 1;

    enum sy_status status = sy_group_share(group, bytes, &base, &shared, &err);
    uint8_t *data = base;
    ok_all(status == SY_OK && data && shared == 1, "a block of %zu bytes is shared by the ranks of a node", bytes);
    for (size_t at = 0; data && at < bytes; at += step)
        zero = zero && data[at] == 0;
    ok_all(data && zero && data[bytes - 1] == 0, "it begins as zeros");
    if (sy_group_node_rank(group) == 0)
        for (size_t at = 0; data && at < bytes; at += step)
            data[at] = byte_of(9, at, 3);
    status = sy_group_node_barrier(group, &err);
    for (size_t at = 0; data && at < bytes; at += step)
        same = same && data[at] == byte_of(9, at, 3);
    ok_all(status == SY_OK && data && same, "what the first rank writes is what all read");
    sy_group_unshare(base, bytes);
    status = sy_group_share(group, 0, &base, &shared, &err);
    ok_all(status == SY_OK && !base && shared == 1, "sharing nothing is nothing");
}

/* A rank that cannot open any file cannot join: then nobody shares. */
static void test_share_private(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    struct rlimit before, none;
    void *base = NULL;
    int shared = -1;
    bool last = sy_group_node_rank(group) == sy_group_node_size(group) - 1;

    /* No descriptor above those in use (with none at all, MPI's poll() of its sockets would fail). */
    int first_free = dup(STDERR_FILENO);
    close(first_free);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)first_free;
    if (last)
        setrlimit(RLIMIT_NOFILE, &none);
    enum sy_status status = sy_group_share(group, 100000, &base, &shared, &err);
    setrlimit(RLIMIT_NOFILE, &before);
    uint8_t *data = base;
    if (data)
        memset(data, rank + 1, 100000);
    sy_group_barrier(group, NULL);
    int expected = sy_group_node_size(group) == 1;
    ok_all(status == SY_OK && data && shared == expected && data[99999] == rank + 1,
           "where a rank cannot join, every rank has a block of its own");
    ok_all(shared || strstr(err.text, "cannot open /proc/"), "and the reason is told: %s", err.text);
    sy_group_unshare(base, 100000);
}

/* One rank sleeps past the others' deadline; all hear who it was, and afterwards the group is usable. */
static void test_deadline(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf buf = SY_BUF_INIT, in[size];
    char expected[400];
    int late = size - 1;
    bool held;

    memset(in, 0, sizeof in);
    sy_group_set_timeout(group, 300);
    int64_t begin = sy_clock_ns();
    if (rank == late)
        sleep_ms(900);
    enum sy_status status = sy_group_barrier(group, &err);
    int64_t ms = (sy_clock_ns() - begin) / 1000000;
    snprintf(expected, sizeof expected, "barrier: no answer within 300 ms from rank %d (%s)", late,
             sy_group_host(group, late));
    held = status == SY_ERR_PEER && err.rank == late && strcmp(err.text, expected) == 0;
    if (!held)
        diag("rank %d: \"%s\", expected \"%s\"", rank, err.text, expected);
    ok_all(held, "barrier: a late rank is named on all ranks");
    ok_all(rank == late || (ms >= 290 && ms < 800), "when the deadline has passed, not much later");
    sy_group_set_timeout(group, LONG_MS);
    ok_all(sy_group_barrier(group, &err) == SY_OK, "the next barrier holds again");

    sy_group_set_timeout(group, 300);
    if (rank == late)
        sleep_ms(900);
    fill(&buf, rank, 10, 0);
    err = (struct sy_error)SY_ERROR_INIT;
    status = sy_group_gather(group, 0, &buf, in, &err);
    snprintf(expected, sizeof expected, "gather: no answer within 300 ms from rank %d (%s)", late,
             sy_group_host(group, late));
    held = rank != 0 ? status == SY_OK : status == SY_ERR_PEER && strcmp(err.text, expected) == 0;
    ok_all(held, "gather: the root names the late rank");

    if (rank == late)
        sleep_ms(900);
    err = (struct sy_error)SY_ERROR_INIT;
    status = sy_group_bcast(group, late, &buf, &err);
    snprintf(expected, sizeof expected, "broadcast: no answer within 300 ms from rank %d (%s)", late,
             sy_group_host(group, late));
    held = rank == late ? status == SY_OK
                        : status == SY_ERR_PEER && err.rank == late && strcmp(err.text, expected) == 0;
    ok_all(held, "broadcast: the others name the late root");

    sy_group_set_timeout(group, LONG_MS);
    err = (struct sy_error)SY_ERROR_INIT;
    status = sy_group_gather(group, 0, &buf, in, &err);
    for (int r = 0; r < size && rank == 0; r++)
        status = status == SY_OK && in[r].len == 10 ? SY_OK : SY_ERR_INTERNAL;
    ok_all(status == SY_OK, "late messages of failed collectives are dropped");
    for (int r = 0; r < size; r++)
        sy_buf_fini(&in[r]);
    sy_buf_fini(&buf);
}

/* Ranks that call different collectives are told so. */
static void test_order(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf buf = SY_BUF_INIT;
    enum sy_status status;

    if (rank == 0)
        status = sy_group_barrier(group, &err);
    else
        status = sy_group_gather(group, 0, &buf, NULL, &err);
    bool held = rank ? status == SY_OK
                     : status == SY_ERR_INTERNAL && strstr(err.text, "barrier: message from rank ") &&
                           strstr(err.text, "(gather)");
    ok_all(held, "ranks that call different collectives are told: %s", err.text);
}

/* A rank with nothing to do waits in a broadcast; that must cost it next to nothing. */
static void test_idle(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf buf = SY_BUF_INIT;
    struct rusage before, after;

    fill(&buf, rank, 4, 0);
    sy_group_barrier(group, &err);
    getrusage(RUSAGE_SELF, &before);
    if (rank == 0)
        sleep_ms(1500);
    enum sy_status status = sy_group_bcast(group, 0, &buf, &err);
    getrusage(RUSAGE_SELF, &after);
    double cpu_ms =
        (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) *
            1e3 +
        (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
            1e3;
    if (rank == size - 1)
        diag("waiting 1500 ms took %.1f ms of CPU time (%.2f %%)", cpu_ms, cpu_ms / 15);
    /* 2 ms of polling, then under 1 %; twice that is allowed for, since valgrind and sanitizers are slower. */
    ok_all(status == SY_OK && cpu_ms < 30, "waiting for a root that sleeps costs little");
    sy_buf_fini(&buf);
}

/* Every third rank is on a node of its part; then all that looks at nodes is tried again. */
static void test_part(struct sy_group *group)
{
    struct sy_error err = SY_ERROR_INIT;
    int before[size], n_nodes = 0;
    bool held = true;

    for (int r = 0; r < size; r++)
        before[r] = sy_group_node_of(group, r);
    enum sy_status status = sy_group_part(group, 100 - rank % 3, &err);
    for (int r = 0; r < size; r++) {
        bool first = true;
        for (int s = 0; s < size; s++) {
            bool together = before[r] == before[s] && r % 3 == s % 3;
            held = held && (sy_group_node_of(group, r) == sy_group_node_of(group, s)) == together;
            first = first && !(together && s < r);
        }
        n_nodes += first;
    }
    ok_all(status == SY_OK && held && sy_group_n_nodes(group) == n_nodes, "a node is parted, into %d: %s", n_nodes,
           err.text);
    test_who(group);
    test_barrier(group);
    test_share(group);
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, LONG_MS);

    rank = sy_group_rank(group);
    size = sy_group_size(group);
    test_who(group);
    test_agree(group);
    test_barrier(group);
    test_bcast(group);
    test_gather(group);
    test_allgather(group);
    test_share(group);
    test_share_private(group);
    test_idle(group);
    test_part(group);
    if (size > 1) {
        test_deadline(group);
        test_order(group);
    } else {
        skip("deadlines need a second rank");
    }
    done();
    return tap_mpi_end(group);
}

/* SPDX-License-Identifier: Apache-2.0
 * fabric.c - which transport serves which peer, and one arena for all of them
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "comm/transport.h"

enum { VIA_SELF, VIA_MPI, N_VIA };

static const struct sy_transport_ops *const transport_ops[N_VIA] = {&sy_transport_self, &sy_transport_mpi};

struct sy_fabric {
    struct sy_group *group;
    struct sy_transport_config config;
    struct sy_transport *transports[N_VIA]; /* NULL: serves nobody */
    struct sy_transport **via;              /* [size] the one for a peer */
    uint64_t (*n_put)[SY_N_LANES];          /* [size] chunks put to a peer */
    struct sy_arena arena;
    char description[400];
};

static void describe(struct sy_fabric *fabric)
{
    int n_others = sy_group_size(fabric->group) - 1;

    if (n_others)
        snprintf(fabric->description, sizeof fabric->description,
                 "self for this rank, mpi (%s, point to point) for %d peer%s: no other transport is built in",
                 sy_group_mpi_version(), n_others, n_others == 1 ? "" : "s");
    else
        snprintf(fabric->description, sizeof fabric->description, "self for this rank, which is the only one");
}

/* Everything that this rank does alone: its transports and the arena. */
static enum sy_status open_local(struct sy_fabric *fabric, struct sy_error *err)
{
    int size = sy_group_size(fabric->group), rank = sy_group_rank(fabric->group);
    uint8_t *peers = calloc((size_t)size, 1);
    size_t bytes = 0;
    enum sy_status status = SY_OK;

    fabric->via = calloc((size_t)size, sizeof *fabric->via);
    fabric->n_put = calloc((size_t)size, sizeof *fabric->n_put);
    if (!peers || !fabric->via || !fabric->n_put) {
        free(peers);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a fabric of %d ranks", size);
    }
    for (int v = 0; v < N_VIA && status == SY_OK; v++) {
        if (v == VIA_MPI && size == 1)
            continue;
        for (int r = 0; r < size; r++)
            peers[r] = (r == rank) == (v == VIA_SELF);
        status = transport_ops[v]->open(fabric->group, &fabric->config, peers, &fabric->transports[v], err);
        for (int r = 0; r < size && status == SY_OK; r++)
            if (peers[r])
                fabric->via[r] = fabric->transports[v];
        if (status == SY_OK)
            bytes += transport_ops[v]->arena_bytes(fabric->transports[v]);
    }
    free(peers);
    return status == SY_OK ? sy_arena_init(&fabric->arena, bytes, err) : status;
}

enum sy_status sy_fabric_open(struct sy_group *group, const struct sy_transport_config *config, struct sy_fabric **out,
                              struct sy_error *err)
{
    struct sy_fabric *fabric = calloc(1, sizeof *fabric);
    enum sy_status status = SY_OK;

    if (!fabric) {
        status = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the fabric");
    } else if (config->n_slots < 1) {
        status = sy_error_set(err, SY_ERR_USAGE, "a ring of %d chunks, at least 1 is needed", config->n_slots);
    } else {
        fabric->group = group;
        fabric->config = *config;
        status = open_local(fabric, err);
    }
    status = sy_group_agree(group, status, err);
    for (int v = 0; v < N_VIA && status == SY_OK; v++)
        if (fabric->transports[v])
            status = transport_ops[v]->attach(fabric->transports[v], &fabric->arena, err);
    if (status != SY_OK) {
        sy_fabric_close(fabric);
        return status;
    }
    describe(fabric);
    *out = fabric;
    return SY_OK;
}

void sy_fabric_close(struct sy_fabric *fabric)
{
    if (!fabric)
        return;
    for (int v = 0; v < N_VIA; v++)
        if (fabric->transports[v])
            transport_ops[v]->close(fabric->transports[v]);
    sy_arena_fini(&fabric->arena);
    free(fabric->via);
    free(fabric->n_put);
    free(fabric);
}

struct sy_group *sy_fabric_group(const struct sy_fabric *fabric)
{
    return fabric->group;
}

const struct sy_transport_config *sy_fabric_config(const struct sy_fabric *fabric)
{
    return &fabric->config;
}

const char *sy_fabric_describe(const struct sy_fabric *fabric)
{
    return fabric->description;
}

size_t sy_fabric_arena_bytes(const struct sy_fabric *fabric)
{
    return fabric->arena.bytes;
}

uint64_t sy_fabric_wire_bytes(const struct sy_fabric *fabric)
{
    uint64_t bytes = 0;

    for (int v = 0; v < N_VIA; v++)
        if (fabric->transports[v])
            bytes += transport_ops[v]->wire_bytes(fabric->transports[v]);
    return bytes;
}

enum sy_status sy_fabric_put(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov, int n_iov,
                             struct sy_error *err)
{
    struct sy_transport *t = fabric->via[peer];
    uint64_t *n_put = &fabric->n_put[peer][lane];
    enum sy_status status = t->ops->put(t, peer, lane, *n_put, iov, n_iov, err);

    *n_put += status == SY_OK;
    return status;
}

enum sy_status sy_fabric_poll(struct sy_fabric *fabric, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                              struct sy_error *err)
{
    struct sy_transport *t = fabric->via[peer];

    return t->ops->poll(t, peer, lane, data, bytes, err);
}

enum sy_status sy_fabric_release(struct sy_fabric *fabric, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    struct sy_transport *t = fabric->via[peer];

    return t->ops->release(t, peer, lane, n, err);
}

enum sy_status sy_fabric_progress(struct sy_fabric *fabric, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    for (int v = 0; v < N_VIA && status == SY_OK; v++)
        if (fabric->transports[v])
            status = transport_ops[v]->progress(fabric->transports[v], err);
    return status;
}

struct sy_ring_state sy_fabric_state(const struct sy_fabric *fabric, int peer, enum sy_lane lane, int outgoing)
{
    const struct sy_transport *t = fabric->via[peer];

    return t->ops->state(t, peer, lane, outgoing);
}

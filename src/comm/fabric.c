/* SPDX-License-Identifier: Apache-2.0
 * fabric.c - which transport serves which peer, and one arena for all of them
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "comm/group_mpi.h"
#include "comm/transport.h"

enum { VIA_SELF, VIA_SHM, VIA_MPI, N_VIA };

#define ARENA_PITCH ((size_t)64 << 10) /* of the arenas of a node: whole pages, of any size that is usual */

static const struct sy_transport_ops *const transport_ops[N_VIA] = {&sy_transport_self, &sy_transport_shm,
                                                                    &sy_transport_mpi};

struct sy_fabric {
    struct sy_group *group;
    struct sy_transport_config config;
    struct sy_transport *transports[N_VIA]; /* NULL: serves nobody */
    int n_peers[N_VIA];
    int *via;                      /* [size] which one serves a peer */
    uint64_t (*n_put)[SY_N_LANES]; /* [size] chunks put to a peer */
    struct sy_arena arena;
    void *block; /* that the arenas of this node lie in; NULL: the arena is this rank's own */
    size_t block_bytes;
    struct sy_error unshared; /* why the ranks of this node share no memory */
    char description[600];
};

enum sy_transport_choice sy_transport_choice_of(const char *name)
{
    static const char *const names[SY_N_TRANSPORT_CHOICES] = {"auto", "shm", "mpi"};

    for (int i = 0; i < SY_N_TRANSPORT_CHOICES; i++)
        if (!strcmp(name, names[i]))
            return (enum sy_transport_choice)i;
    return SY_TRANSPORT_AUTO;
}

/* "shm for 3 peers on this node (why)" for one transport of several. */
static void describe(struct sy_fabric *fabric)
{
    bool forced = fabric->config.choice != SY_TRANSPORT_AUTO, alone = sy_group_node_size(fabric->group) == 1;
    int n_shm = fabric->n_peers[VIA_SHM], n_mpi = fabric->n_peers[VIA_MPI];
    char *out = fabric->description, why[sizeof fabric->unshared.text + 64];
    size_t room = sizeof fabric->description;

    snprintf(out, room, "self for this rank%s", n_shm || n_mpi ? "" : ", which is the only one");
    if (n_shm)
        snprintf(out + strlen(out), room - strlen(out), ", shm for %d peer%s on this node (%s)", n_shm,
                 n_shm == 1 ? "" : "s", forced ? "--transport" : "they share memory");
    if (forced)
        snprintf(why, sizeof why, "--transport");
    else if (fabric->unshared.text[0])
        snprintf(why, sizeof why, "no memory is shared on this node: %s", fabric->unshared.text);
    else
        snprintf(why, sizeof why, alone || n_shm ? "on other nodes" : "no other transport is built in");
    if (n_mpi)
        snprintf(out + strlen(out), room - strlen(out), ", mpi (%s, point to point) for %d peer%s (%s)",
                 sy_group_mpi_version(), n_mpi, n_mpi == 1 ? "" : "s", why);
}

/* Whether the ranks of this node can have a block of memory in common. Collective. */
static enum sy_status probe_memory(struct sy_fabric *fabric, bool *can, struct sy_error *err)
{
    void *block;
    int shared = 0;
    enum sy_status status = sy_group_share(fabric->group, SY_ARENA_ALIGN, &block, &shared, &fabric->unshared);

    *can = status == SY_OK && shared;
    if (status == SY_OK)
        sy_group_unshare(block, SY_ARENA_ALIGN);
    else if (err)
        *err = fabric->unshared;
    return status;
}

static enum sy_status choose(struct sy_fabric *fabric, bool can_share, struct sy_error *err)
{
    struct sy_group *group = fabric->group;
    int size = sy_group_size(group), rank = sy_group_rank(group);
    enum sy_transport_choice choice = fabric->config.choice;

    for (int r = 0; r < size; r++) {
        bool near = sy_group_node_of(group, r) == sy_group_node_of(group, rank);
        int via = r == rank ? VIA_SELF : near && can_share && choice != SY_TRANSPORT_MPI ? VIA_SHM : VIA_MPI;
        if (choice == SY_TRANSPORT_SHM && via == VIA_MPI)
            return sy_error_set(err, SY_ERR_USAGE, "--transport shm cannot reach rank %d (%s) from rank %d (%s): %s", r,
                                sy_group_host(group, r), rank, sy_group_host(group, rank),
                                near ? fabric->unshared.text : "it is on another node");
        fabric->via[r] = via;
        fabric->n_peers[via]++;
    }
    return SY_OK;
}

/* The transports that serve somebody, and the bytes of arena that they take. */
static enum sy_status open_transports(struct sy_fabric *fabric, size_t *bytes, struct sy_error *err)
{
    int size = sy_group_size(fabric->group);
    uint8_t *peers = calloc((size_t)size, 1);
    enum sy_status status = SY_OK;

    if (!peers)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a fabric of %d ranks", size);
    for (int v = 0; v < N_VIA && status == SY_OK; v++) {
        if (!fabric->n_peers[v])
            continue;
        for (int r = 0; r < size; r++)
            peers[r] = fabric->via[r] == v;
        status = transport_ops[v]->open(fabric->group, &fabric->config, peers, &fabric->transports[v], err);
        if (status == SY_OK)
            *bytes += transport_ops[v]->arena_bytes(&fabric->config, fabric->n_peers[v]);
    }
    free(peers);
    return status;
}

/* This rank's arena: a slice of a block of the node where ranks reach one another through memory, otherwise its own.
 * Collective over the node. */
static enum sy_status make_arena(struct sy_fabric *fabric, size_t bytes, struct sy_error *err)
{
    struct sy_team *node = sy_group_node(fabric->group);
    uint64_t mine = bytes, all[node->size];
    size_t pitch = 0, window = sy_arena_round(fabric->config.window_bytes);
    int shared = 0;

    enum sy_status status = sy_team_agree(node, SY_TEAM_SHARE, SY_OK, &mine, sizeof mine, all, err);
    if (!status && !fabric->n_peers[VIA_SHM]) {
        status = sy_arena_init(&fabric->arena, bytes, err);
        fabric->arena.used = window;
    }
    if (status || !fabric->n_peers[VIA_SHM])
        return status;
    for (int i = 0; i < node->size; i++)
        pitch = all[i] > pitch ? (size_t)all[i] : pitch;
    pitch = (pitch + ARENA_PITCH - 1) / ARENA_PITCH * ARENA_PITCH;
    fabric->block_bytes = pitch * (size_t)node->size;
    status = sy_group_share(fabric->group, fabric->block_bytes, &fabric->block, &shared, err);
    if (status == SY_OK && !shared) {
        sy_error_prefix(err, "%zu bytes for the rings of this node's ranks", fabric->block_bytes);
        return SY_ERR_SYSTEM;
    }
    if (status == SY_OK)
        fabric->arena = (struct sy_arena){.base = (uint8_t *)fabric->block + pitch * (size_t)node->rank,
                                          .bytes = bytes,
                                          .used = window,
                                          .pitch = pitch};
    return status;
}

static enum sy_status open_local(struct sy_fabric *fabric, bool can_share, size_t *bytes, struct sy_error *err)
{
    int size = sy_group_size(fabric->group);

    fabric->via = calloc((size_t)size, sizeof *fabric->via);
    fabric->n_put = calloc((size_t)size, sizeof *fabric->n_put);
    if (!fabric->via || !fabric->n_put)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a fabric of %d ranks", size);
    if (fabric->config.n_slots < 1)
        return sy_error_set(err, SY_ERR_USAGE, "a ring of %d chunks, at least 1 is needed", fabric->config.n_slots);
    enum sy_status status = choose(fabric, can_share, err);
    return status ? status : open_transports(fabric, bytes, err);
}

enum sy_status sy_fabric_open(struct sy_group *group, const struct sy_transport_config *config, struct sy_fabric **out,
                              struct sy_error *err)
{
    struct sy_fabric *fabric = calloc(1, sizeof *fabric);
    enum sy_status status = fabric ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the fabric");
    size_t bytes = sy_arena_round(config->window_bytes);
    bool can_share = false;

    status = sy_group_agree(group, status, err);
    if (status == SY_OK) {
        fabric->group = group;
        fabric->config = *config;
        fabric->config.epoch = sy_group_next_epoch(group);
        status = probe_memory(fabric, &can_share, err);
    }
    if (status == SY_OK)
        status = sy_group_agree(group, open_local(fabric, can_share, &bytes, err), err);
    if (status == SY_OK)
        status = sy_group_agree(group, make_arena(fabric, bytes, err), err);
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
    if (fabric->block)
        sy_group_unshare(fabric->block, fabric->block_bytes);
    else
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

size_t sy_fabric_need(const struct sy_group *group, const struct sy_transport_config *config)
{
    int n_near = sy_group_node_size(group) - 1, n_others = sy_group_size(group) - 1;
    int n_shm = config->choice == SY_TRANSPORT_MPI ? 0 : n_near;

    return sy_arena_round(config->window_bytes) + sy_transport_self.arena_bytes(config, 1) +
           sy_transport_shm.arena_bytes(config, n_shm) + sy_transport_mpi.arena_bytes(config, n_others - n_shm);
}

void *sy_fabric_window(const struct sy_fabric *fabric)
{
    return fabric->arena.base;
}

bool sy_fabric_writes(const struct sy_fabric *fabric, int peer)
{
    return transport_ops[fabric->via[peer]]->write != NULL;
}

enum sy_status sy_fabric_write(struct sy_fabric *fabric, int peer, size_t offset, const void *data, size_t bytes,
                               struct sy_error *err)
{
    struct sy_transport *t = fabric->transports[fabric->via[peer]];

    return t->ops->write(t, peer, offset, data, bytes, err);
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
    struct sy_transport *t = fabric->transports[fabric->via[peer]];
    uint64_t *n_put = &fabric->n_put[peer][lane];
    enum sy_status status = t->ops->put(t, peer, lane, *n_put, iov, n_iov, err);

    *n_put += status == SY_OK;
    return status;
}

enum sy_status sy_fabric_poll(struct sy_fabric *fabric, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                              struct sy_error *err)
{
    struct sy_transport *t = fabric->transports[fabric->via[peer]];

    return t->ops->poll(t, peer, lane, data, bytes, err);
}

enum sy_status sy_fabric_release(struct sy_fabric *fabric, int peer, enum sy_lane lane, int n, struct sy_error *err)
{
    struct sy_transport *t = fabric->transports[fabric->via[peer]];

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
    const struct sy_transport *t = fabric->transports[fabric->via[peer]];

    return t->ops->state(t, peer, lane, outgoing);
}

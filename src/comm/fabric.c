/* SPDX-License-Identifier: Apache-2.0
 * fabric.c - which transport serves which peer, and one arena for all of them
 */
#include "config.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "comm/carried.h"
#include "comm/group_mpi.h"
#include "comm/lent.h"
#include "comm/transport.h"

enum { VIA_SELF, VIA_SHM, VIA_UCX, VIA_MPI, N_VIA };

#define IOV_MAX_STORED 4 /* pieces of a chunk that tells of rows that are stored */

#define ARENA_PITCH ((size_t)64 << 10) /* of the arenas of a node: whole pages, of any size that is usual */

static const struct sy_transport_ops *const transport_ops[N_VIA] = {
    &sy_transport_self,
    &sy_transport_shm,
#ifdef HAVE_UCX
    &sy_transport_ucx,
#else
    NULL,
#endif
    &sy_transport_mpi,
};

struct sy_fabric {
    struct sy_group *group;
    struct sy_transport_config config;
    struct sy_transport *transports[N_VIA]; /* NULL: serves nobody */
    int n_peers[N_VIA];
    int *via;                      /* [size] which one serves a peer */
    uint64_t (*n_put)[SY_N_LANES]; /* [size] chunks put to a peer */
    struct sy_arena arena;
    void *block; /* that the arenas of this node lie in; NULL: they do not */
    size_t block_bytes;
    bool lent;                  /* the arena is a transport's */
    bool attached;              /* transports have their rings */
    struct sy_lent *windows;    /* in memory of devices; NULL: they are in the arenas, or */
    struct sy_carried *carried; /* in memory of devices, from where rows are carried */
    struct sy_carried_way way;  /* how; no carrier: not so */
    uint64_t window_bytes;      /* written to other ranks' there */
    struct sy_error unshared;   /* why the ranks of this node share no memory */
    struct sy_error no_ucx;     /* why ucx was not taken between nodes */
    struct sy_error no_ipc;     /* why ipc was not taken between ranks on GPUs */
    struct sy_error no_direct;  /* why rows do not go from memory of devices to memory of devices */
    char description[900];
};

static const char *const choice_names[SY_N_TRANSPORT_CHOICES] = {"auto", "shm", "ipc", "nccl", "ucx", "mpi"};

enum sy_transport_choice sy_transport_choice_of(const char *name)
{
    for (int i = 0; i < SY_N_TRANSPORT_CHOICES; i++)
        if (!strcmp(name, choice_names[i]))
            return (enum sy_transport_choice)i;
    return SY_TRANSPORT_AUTO;
}

static void add_to(struct sy_fabric *fabric, const char *name, const char *detail, int n, const char *where,
                   const char *why)
{
    size_t used = strlen(fabric->description);

    snprintf(fabric->description + used, sizeof fabric->description - used, ", %s%s%s%s for %d peer%s%s (%s)", name,
             *detail ? " (" : "", detail, *detail ? ")" : "", n, n == 1 ? "" : "s", where, why);
}

/* How rows go to ranks of this node. */
static const char *near_name(const struct sy_fabric *fabric)
{
    return fabric->windows ? "ipc" : fabric->carried ? "nccl" : "shm";
}

/* "self for this rank, shm for 3 peers on this node (why), mpi (Open MPI 4.1.4, point to point) for 4 peers (why)" */
static void describe(struct sy_fabric *fabric)
{
    bool forced = fabric->config.choice != SY_TRANSPORT_AUTO, alone = sy_group_node_size(fabric->group) == 1;
    const int *n = fabric->n_peers;
    bool others = n[VIA_SHM] || n[VIA_UCX] || n[VIA_MPI];
    char why[2 * SY_ERROR_TEXT_MAX], rows[SY_ERROR_TEXT_MAX + 40], detail[SY_ERROR_TEXT_MAX + 400];

    snprintf(fabric->description, sizeof fabric->description, "self for this rank%s",
             others ? "" : ", which is the only one");
    snprintf(why, sizeof why, "%s%s%s",
             forced            ? "--transport"
             : fabric->windows ? "GPUs reach each other's memory"
                               : "they share memory",
             fabric->no_ipc.text[0] ? "; not ipc: " : "", fabric->no_ipc.text);
    if (n[VIA_SHM])
        add_to(fabric, near_name(fabric), "", n[VIA_SHM], " on this node", why);
    snprintf(rows, sizeof rows, "%s%s",
             fabric->carried             ? ", from GPU to GPU"
             : fabric->no_direct.text[0] ? ", through the host's memory: "
                                         : "",
             fabric->no_direct.text);
    if (n[VIA_UCX]) {
        snprintf(detail, sizeof detail, "%s%s", fabric->transports[VIA_UCX]->ops->describe(fabric->transports[VIA_UCX]),
                 rows);
        add_to(fabric, "ucx", detail, n[VIA_UCX], "", forced ? "--transport" : "on other nodes");
    }
    if (!n[VIA_MPI])
        return;
    if (forced)
        snprintf(why, sizeof why, "--transport");
    else if (fabric->unshared.text[0])
        snprintf(why, sizeof why, "no memory is shared on this node: %s", fabric->unshared.text);
    else
        snprintf(why, sizeof why, "%s%s%s", alone || n[VIA_SHM] ? "on other nodes" : "no other transport is built in",
                 fabric->no_ucx.text[0] ? "; " : "", fabric->no_ucx.text);
    snprintf(detail, sizeof detail, "%s, point to point%s", sy_group_mpi_version(), rows);
    add_to(fabric, "mpi", detail, n[VIA_MPI], "", why);
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

static int via_of(const struct sy_fabric *fabric, int r, bool can_share)
{
    struct sy_group *group = fabric->group;
    bool near = sy_group_node_of(group, r) == sy_group_node_of(group, sy_group_rank(group));
    enum sy_transport_choice choice = fabric->config.choice;

    if (r == sy_group_rank(group))
        return VIA_SELF;
    if (choice == SY_TRANSPORT_UCX)
        return VIA_UCX;
    if (choice == SY_TRANSPORT_MPI)
        return VIA_MPI;
    if (near && can_share)
        return VIA_SHM;
    /* Between nodes ucx is tried first. */
    return choice == SY_TRANSPORT_AUTO && !near && transport_ops[VIA_UCX] ? VIA_UCX : VIA_MPI;
}

static enum sy_status choose(struct sy_fabric *fabric, bool can_share, struct sy_error *err)
{
    struct sy_group *group = fabric->group;
    enum sy_transport_choice choice = fabric->config.choice;
    int size = sy_group_size(group), rank = sy_group_rank(group);

    if (choice == SY_TRANSPORT_UCX && !transport_ops[VIA_UCX])
        return sy_error_set(err, SY_ERR_USAGE,
                            "--transport ucx: this program was built without UCX; install it (Debian, Ubuntu: "
                            "libucx-dev) and build again, or use another transport");
    if (choice == SY_TRANSPORT_NCCL && fabric->config.lender && !fabric->config.courier)
        return sy_error_set(err, SY_ERR_USAGE,
                            "--transport nccl: this program was built without NCCL; build it again without "
                            "--without-nccl, or use another transport");
    if ((choice == SY_TRANSPORT_IPC && !fabric->config.lender) ||
        (choice == SY_TRANSPORT_NCCL && !fabric->config.courier))
        return sy_error_set(err, SY_ERR_USAGE,
                            "--transport %s goes between ranks on GPUs, and rows are in the host's memory here; take "
                            "--device cuda, or another transport",
                            choice_names[choice]);
    for (int r = 0; r < size; r++) {
        int via = via_of(fabric, r, can_share);
        if ((choice == SY_TRANSPORT_SHM || choice == SY_TRANSPORT_IPC || choice == SY_TRANSPORT_NCCL) && via == VIA_MPI)
            return sy_error_set(err, SY_ERR_USAGE, "--transport %s cannot reach rank %d (%s) from rank %d (%s): %s",
                                choice_names[choice], r, sy_group_host(group, r), rank, sy_group_host(group, rank),
                                sy_group_node_of(group, r) == sy_group_node_of(group, rank) ? fabric->unshared.text
                                                                                            : "it is on another node");
        fabric->via[r] = via;
        fabric->n_peers[via]++;
    }
    return SY_OK;
}

static enum sy_status open_one(struct sy_fabric *fabric, int v, struct sy_error *err)
{
    int size = sy_group_size(fabric->group);
    uint8_t peers[size];

    for (int r = 0; r < size; r++)
        peers[r] = fabric->via[r] == v;
    return transport_ops[v]->open(fabric->group, &fabric->config, peers, &fabric->transports[v], err);
}

/* ucx between nodes where its puts need no help. Elsewhere mpi, which is as fast over tcp and always there. All ranks come to the
 * same. */
static void try_ucx(struct sy_fabric *fabric)
{
    struct sy_transport **t = &fabric->transports[VIA_UCX];
    enum sy_status status = open_one(fabric, VIA_UCX, &fabric->no_ucx);

    if (status == SY_OK && (*t)->ops->one_sided(*t))
        return;
    if (status == SY_OK) {
        sy_error_set(&fabric->no_ucx, SY_ERR_USAGE, "ucx would be %s", (*t)->ops->describe(*t));
        (*t)->ops->close(*t);
        *t = NULL;
    }
    for (int r = 0; r < sy_group_size(fabric->group); r++)
        if (fabric->via[r] == VIA_UCX)
            fabric->via[r] = VIA_MPI;
    fabric->n_peers[VIA_MPI] += fabric->n_peers[VIA_UCX];
    fabric->n_peers[VIA_UCX] = 0;
}

/* Collective, and all ranks have agreed on what comes of it; therefore not among the others, of which one may fail before. */
static enum sy_status open_ucx(struct sy_fabric *fabric, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    if (fabric->n_peers[VIA_UCX] && fabric->config.choice == SY_TRANSPORT_AUTO)
        try_ucx(fabric);
    else if (fabric->n_peers[VIA_UCX])
        status = open_one(fabric, VIA_UCX, err);
    return status;
}

/* Bytes at the begin of an arena. */
static size_t window_in_arena(const struct sy_fabric *fabric)
{
    return sy_fabric_on_device(fabric) ? 0 : sy_arena_round(fabric->config.window_bytes);
}

/* The transports that serve somebody, and the bytes of arena that they take. */
static enum sy_status open_transports(struct sy_fabric *fabric, size_t *bytes, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    *bytes = window_in_arena(fabric);
    for (int v = 0; v < N_VIA && status == SY_OK; v++) {
        if (!fabric->n_peers[v])
            continue;
        if (!fabric->transports[v])
            status = open_one(fabric, v, err);
        if (status == SY_OK)
            *bytes += transport_ops[v]->arena_bytes(&fabric->config, fabric->n_peers[v]);
    }
    return status;
}

/* The arena of a rank that shares none with its node: from the transport that wants to make it, or plain memory. */
static enum sy_status own_arena(struct sy_fabric *fabric, size_t bytes, struct sy_error *err)
{
    for (int v = 0; v < N_VIA && bytes; v++) {
        struct sy_transport *t = fabric->transports[v];
        if (!t || !t->ops->lend_arena)
            continue;
        fabric->lent = true;
        return t->ops->lend_arena(t, bytes, &fabric->arena, err);
    }
    return sy_arena_init(&fabric->arena, bytes, err);
}

/* The next chunk of a peer, as the transport that serves it has it, once it has rings. */
static enum sy_status poll_chunk(void *ctx, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                                 struct sy_error *err)
{
    struct sy_fabric *fabric = ctx;
    struct sy_transport *t = fabric->transports[fabric->via[peer]];

    return fabric->attached ? t->ops->poll(t, peer, lane, data, bytes, err) : SY_AGAIN;
}

static enum sy_status move(void *ctx, struct sy_error *err)
{
    return sy_fabric_progress(ctx, err);
}

/* Chunks tell a carrier what it is to carry. */
static void will_carry(struct sy_fabric *fabric, const struct sy_carrier *carrier, const struct sy_courier *courier)
{
    fabric->way = (struct sy_carried_way){.name = choice_names[fabric->config.choice],
                                          .carrier = carrier,
                                          .courier = courier,
                                          .poll = poll_chunk,
                                          .move = move,
                                          .ctx = fabric};
    for (int lane = 0; lane < SY_N_LANES; lane++) {
        size_t more = sy_carried_trailer_bytes(&fabric->config);
        fabric->config.chunk_bytes[lane] += more;
        fabric->config.brief_bytes[lane] += fabric->config.brief_bytes[lane] ? more : 0;
    }
}

/* What brings rows from memory of devices to memory of devices, if that can be; NULL: nothing does. */
static const struct sy_post *post_of(const struct sy_transport_config *config)
{
    if (!config->porter)
        return NULL;
#ifdef HAVE_UCX
    if (config->choice == SY_TRANSPORT_UCX)
        return &sy_post_ucx;
#endif
    return config->choice == SY_TRANSPORT_MPI ? &sy_post_mpi : NULL;
}

/* Whether every rank's MPI or UCX takes such memory; else why not. Collective. */
static enum sy_status all_take(struct sy_group *group, const struct sy_post *post, enum sy_memory memory, bool *take,
                               const char **why, struct sy_error *err)
{
    int size = sy_group_size(group);
    uint8_t mine = post->takes(memory, why), all[size];
    enum sy_status status = sy_group_allgather(group, &mine, sizeof mine, all, err);

    *take = mine;
    for (int r = 0; r < size && !status && *take; r++)
        if (!all[r])
            *take = false, *why = "another rank's does not take memory of GPUs";
    return status;
}

enum sy_status sy_fabric_ask_direct(struct sy_group *group, const struct sy_transport_config *config, bool *direct,
                                    struct sy_error *err)
{
    const struct sy_post *post = post_of(config);
    const char *why;

    *direct = false;
    return post && sy_group_size(group) > 1 ? all_take(group, post, config->porter->memory, direct, &why, err) : SY_OK;
}

/* Rows straight from memory of devices to memory of devices, where every rank's MPI or UCX takes it; else by way of the host's,
 * as one that knows nothing of devices has them. Collective, with the same outcome on all ranks. */
static enum sy_status choose_direct(struct sy_fabric *fabric, struct sy_error *err)
{
    const struct sy_courier *porter = fabric->config.porter;
    const struct sy_post *post = post_of(&fabric->config);
    const char *why;
    bool take;
    enum sy_status status = all_take(fabric->group, post, porter->memory, &take, &why, err);

    if (status)
        return status;
    if (!take) {
        sy_error_set(&fabric->no_direct, SY_ERR_USAGE, "%s", why);
        return SY_OK;
    }
    /* No rows are in chunks. */
    for (int lane = 0; lane < SY_N_LANES; lane++)
        if (fabric->config.brief_bytes[lane])
            fabric->config.chunk_bytes[lane] = fabric->config.brief_bytes[lane];
    will_carry(fabric, &sy_carrier_direct, porter);
    fabric->way.post = post;
    return SY_OK;
}

/* Whether and how rows are carried, which chunks have room for. Collective. */
static enum sy_status choose_carrier(struct sy_fabric *fabric, struct sy_error *err)
{
    if (fabric->config.choice == SY_TRANSPORT_NCCL)
        will_carry(fabric, &sy_carrier_rounds, fabric->config.courier);
    else if (post_of(&fabric->config) && fabric->n_peers[VIA_MPI] + fabric->n_peers[VIA_UCX])
        return choose_direct(fabric, err);
    return SY_OK;
}

/* Windows in memory of devices, which every rank then has. Where ranks may choose they do without when they cannot. Collective,
 * with the same outcome on all ranks. */
static enum sy_status open_windows(struct sy_fabric *fabric, struct sy_error *err)
{
    const struct sy_transport_config *config = &fabric->config;
    bool choose = config->choice == SY_TRANSPORT_AUTO, all_near = sy_group_n_nodes(fabric->group) == 1;
    enum sy_status status;

    if (fabric->way.carrier) {
        fabric->way.post_ctx = fabric->n_peers[VIA_UCX] ? (void *)fabric->transports[VIA_UCX] : fabric->group;
        return sy_carried_open(fabric->group, &fabric->config, &fabric->way, &fabric->carried, err);
    }
    if (config->choice != SY_TRANSPORT_IPC && !(choose && config->lender && fabric->n_peers[VIA_SHM]))
        return SY_OK;
    if (choose && !all_near) {
        sy_error_set(&fabric->no_ipc, SY_ERR_USAGE, "other ranks are on other nodes");
        return SY_OK;
    }
    status = sy_lent_open(sy_group_node(fabric->group), config->lender, config->window_bytes, &fabric->windows,
                          choose ? &fabric->no_ipc : err);
    if (choose && status == SY_ERR_SYSTEM)
        return SY_OK;
    if (choose && status != SY_OK && err)
        *err = fabric->no_ipc;
    if (status == SY_ERR_SYSTEM)
        sy_error_prefix(err, "--transport ipc");
    return status;
}

/* This rank's arena: a slice of a block of the node where ranks reach one another through memory, otherwise its own.
 * Collective over the node. */
static enum sy_status make_arena(struct sy_fabric *fabric, size_t bytes, struct sy_error *err)
{
    struct sy_team *node = sy_group_node(fabric->group);
    uint64_t mine = bytes, all[node->size];
    size_t pitch = 0, window = window_in_arena(fabric);
    int shared = 0;

    enum sy_status status = sy_team_agree(node, SY_TEAM_SHARE, SY_OK, &mine, sizeof mine, all, err);
    if (!status && !fabric->n_peers[VIA_SHM]) {
        status = own_arena(fabric, bytes, err);
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

static enum sy_status prepare(struct sy_fabric *fabric, bool can_share, struct sy_error *err)
{
    int size = sy_group_size(fabric->group);

    fabric->via = calloc((size_t)size, sizeof *fabric->via);
    fabric->n_put = calloc((size_t)size, sizeof *fabric->n_put);
    if (!fabric->via || !fabric->n_put)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a fabric of %d ranks", size);
    if (fabric->config.n_slots < 1)
        return sy_error_set(err, SY_ERR_USAGE, "a ring of %d chunks, at least 1 is needed", fabric->config.n_slots);
    return choose(fabric, can_share, err);
}

enum sy_status sy_fabric_open(struct sy_group *group, const struct sy_transport_config *config, struct sy_fabric **out,
                              struct sy_error *err)
{
    struct sy_fabric *fabric = calloc(1, sizeof *fabric);
    enum sy_status status = fabric ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for the fabric");
    size_t bytes = 0;
    bool can_share = false;

    status = sy_group_agree(group, status, err);
    if (status == SY_OK) {
        fabric->group = group;
        fabric->config = *config;
        fabric->config.epoch = sy_group_next_epoch(group);
        fabric->unshared = fabric->no_ucx = fabric->no_ipc = fabric->no_direct = (struct sy_error)SY_ERROR_INIT;
        status = probe_memory(fabric, &can_share, err);
    }
    if (status == SY_OK)
        status = sy_group_agree(group, prepare(fabric, can_share, err), err);
    if (status == SY_OK)
        status = choose_carrier(fabric, err);
    if (status == SY_OK)
        status = open_ucx(fabric, err);
    if (status == SY_OK)
        status = open_windows(fabric, err);
    if (status == SY_OK)
        status = sy_group_agree(group, open_transports(fabric, &bytes, err), err);
    if (status == SY_OK)
        status = sy_group_agree(group, make_arena(fabric, bytes, err), err);
    for (int v = 0; v < N_VIA && status == SY_OK; v++)
        if (fabric->transports[v])
            status = transport_ops[v]->attach(fabric->transports[v], &fabric->arena, err);
    fabric->attached = status == SY_OK;
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
    sy_carried_close(fabric->carried);
    for (int v = 0; v < N_VIA; v++)
        if (fabric->transports[v])
            transport_ops[v]->close(fabric->transports[v]);
    sy_lent_close(fabric->windows);
    if (fabric->block)
        sy_group_unshare(fabric->block, fabric->block_bytes);
    else if (!fabric->lent)
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

const char *sy_fabric_name(const struct sy_fabric *fabric, int peer)
{
    return fabric->via[peer] == VIA_SHM ? near_name(fabric) : transport_ops[fabric->via[peer]]->name;
}

const char *sy_fabric_describe(const struct sy_fabric *fabric)
{
    return fabric->description;
}

/* Which of ucx and mpi will serve ranks of other nodes is not known yet. */
size_t sy_fabric_need(const struct sy_group *group, const struct sy_transport_config *config)
{
    bool shm = config->choice == SY_TRANSPORT_AUTO || config->choice == SY_TRANSPORT_SHM ||
               config->choice == SY_TRANSPORT_IPC || config->choice == SY_TRANSPORT_NCCL;
    int n_shm = shm ? sy_group_node_size(group) - 1 : 0, n_rest = sy_group_size(group) - 1 - n_shm;
    size_t ucx = 0, mpi = sy_transport_mpi.arena_bytes(config, n_rest);

    if (transport_ops[VIA_UCX] && (config->choice == SY_TRANSPORT_AUTO || config->choice == SY_TRANSPORT_UCX))
        ucx = transport_ops[VIA_UCX]->arena_bytes(config, n_rest);
    return sy_arena_round(config->window_bytes) + sy_transport_self.arena_bytes(config, 1) +
           sy_transport_shm.arena_bytes(config, n_shm) + (ucx > mpi ? ucx : mpi);
}

void *sy_fabric_window(const struct sy_fabric *fabric)
{
    if (fabric->carried)
        return sy_carried_window(fabric->carried);
    return fabric->windows ? fabric->windows->windows[fabric->windows->team->rank] : fabric->arena.base;
}

bool sy_fabric_on_device(const struct sy_fabric *fabric)
{
    return fabric->windows || fabric->carried;
}

bool sy_fabric_apart(const struct sy_fabric *fabric)
{
    return !fabric->carried && fabric->windows && fabric->windows->apart;
}

void *sy_fabric_block(const struct sy_fabric *fabric, size_t *bytes)
{
    *bytes = 0;
    if (sy_fabric_on_device(fabric))
        return NULL;
    *bytes = fabric->block ? fabric->block_bytes : fabric->arena.bytes;
    return fabric->block ? fabric->block : fabric->arena.base;
}

bool sy_fabric_writes(const struct sy_fabric *fabric, int peer)
{
    return fabric->carried || transport_ops[fabric->via[peer]]->place;
}

/* All ranks are of one node. */
static void *place_on_device(struct sy_fabric *fabric, int peer, size_t offset, size_t bytes)
{
    const struct sy_team *team = fabric->windows->team;

    if (offset > fabric->windows->bytes || bytes > fabric->windows->bytes - offset)
        return NULL;
    for (int i = 0; i < team->size; i++) {
        if (team->world[i] != peer)
            continue;
        fabric->window_bytes += i == team->rank ? 0 : bytes;
        return (uint8_t *)fabric->windows->windows[i] + offset;
    }
    return NULL;
}

void *sy_fabric_place(struct sy_fabric *fabric, int peer, enum sy_lane lane, size_t offset, size_t bytes)
{
    if (!fabric->carried && fabric->windows)
        return place_on_device(fabric, peer, offset, bytes);
    if (!fabric->carried) {
        struct sy_transport *t = fabric->transports[fabric->via[peer]];
        return t->ops->place(t, peer, offset, bytes);
    }
    void *place = sy_carried_place(fabric->carried, peer, lane, offset, bytes);
    fabric->window_bytes += place && peer != sy_group_rank(fabric->group) ? bytes : 0;
    return place;
}

bool sy_fabric_stores(const struct sy_fabric *fabric)
{
    return fabric->carried != NULL;
}

int sy_fabric_room(const struct sy_fabric *fabric, int peer, enum sy_lane lane, int *together)
{
    if (fabric->carried)
        return sy_carried_room(fabric->carried, peer, lane, together);
    return *together = INT_MAX;
}

uint64_t sy_fabric_wire_bytes(const struct sy_fabric *fabric)
{
    uint64_t bytes = fabric->window_bytes;

    for (int v = 0; v < N_VIA; v++)
        if (fabric->transports[v])
            bytes += transport_ops[v]->wire_bytes(fabric->transports[v]);
    return bytes;
}

static enum sy_status put(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov, int n_iov,
                          struct sy_error *err)
{
    struct sy_transport *t = fabric->transports[fabric->via[peer]];
    uint64_t *n_put = &fabric->n_put[peer][lane];
    enum sy_status status = t->ops->put(t, peer, lane, *n_put, iov, n_iov, err);

    *n_put += status == SY_OK;
    return status;
}

enum sy_status sy_fabric_put_rows(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov,
                                  int n_iov, int n_rows, struct sy_error *err)
{
    struct iovec all[IOV_MAX_STORED + SY_CARRIED_IOV];

    if (!fabric->carried || peer == sy_group_rank(fabric->group))
        return put(fabric, peer, lane, iov, n_iov, err);
    if (n_iov > IOV_MAX_STORED)
        return sy_error_set(err, SY_ERR_INTERNAL, "a chunk of %d pieces, at most %d", n_iov, IOV_MAX_STORED);
    enum sy_status status = sy_carried_trail(fabric->carried, peer, lane, n_rows, all + n_iov, err);
    if (status == SY_OK) {
        memcpy(all, iov, (size_t)n_iov * sizeof *iov);
        status = put(fabric, peer, lane, all, n_iov + SY_CARRIED_IOV, err);
    }
    if (status == SY_OK)
        status = sy_carried_put(fabric->carried, peer, lane, n_rows, err);
    return status;
}

enum sy_status sy_fabric_put(struct sy_fabric *fabric, int peer, enum sy_lane lane, const struct iovec *iov, int n_iov,
                             struct sy_error *err)
{
    return sy_fabric_put_rows(fabric, peer, lane, iov, n_iov, 0, err);
}

enum sy_status sy_fabric_poll(struct sy_fabric *fabric, int peer, enum sy_lane lane, const void **data, size_t *bytes,
                              struct sy_error *err)
{
    struct sy_transport *t = fabric->transports[fabric->via[peer]];

    if (fabric->carried && peer != sy_group_rank(fabric->group))
        return sy_carried_poll(fabric->carried, peer, lane, data, bytes, err);
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
    if (status == SY_OK && fabric->carried)
        status = sy_carried_progress(fabric->carried, err);
    return status;
}

struct sy_ring_state sy_fabric_state(const struct sy_fabric *fabric, int peer, enum sy_lane lane, int outgoing)
{
    const struct sy_transport *t = fabric->transports[fabric->via[peer]];

    struct sy_ring_state state = t->ops->state(t, peer, lane, outgoing);

    /* Chunks whose rows are on their way are here already. */
    if (fabric->carried && !outgoing && peer != sy_group_rank(fabric->group))
        state.head = sy_carried_polled(fabric->carried, peer, lane);
    return state;
}

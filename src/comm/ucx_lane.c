/* SPDX-License-Identifier: Apache-2.0
 * ucx_lane.c - what UCX uses between two ranks, and whether a put there needs the other side
 *
 * ucp_put_nbx() works on every lane. Where the lane has no remote access of its own (tcp), or cannot reach that memory (shared
 * memory, and a region that is not), UCX sends a message and lets the peer's worker copy, and the put is not complete before
 * the peer has answered: then a message of our own is better. UCX 1.13 has no call that tells the two apart: ucp_ep_query() knows
 * names only, and what ucp_ep_print_info() says of puts leaves out the memory and is another text in every version. So they are
 * told apart by the difference itself: a put to a peer that waits inside MPI, where it cannot help, is complete soon or is not.
 * Whoever tries must not be helping others meanwhile, so in a round one half of the ranks tries the other half, which the bits of
 * the ranks' numbers divide. A put that was late by chance makes the transport slower, not wrong.
 *
 * tcp is known without trying, which saves the connections when nobody will use them. Its name is one of the lanes that
 * ucp_ep_print_info() lists; ucp_ep_query() tells them from 1.14 on only.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "comm/ucx_private.h"

#define PROBE_BYTES 4096
#define PROBE_NS    10000000 /* a put over a network takes a few microseconds */
#define PROBE_MOVES 1000     /* at least, however long this rank was off its core */

/* "#  lane[0]:  1:tcp/lo.0 md[1]  -> md[1]/tcp/sysdev[255] rma_bw#0 am am_bw#0": the transport of the lane that says "am". */
static void name_lane(struct sy_ucx_peer *peer)
{
    char *text = NULL, *save = NULL, found[sizeof peer->lane];
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);

    snprintf(peer->lane, sizeof peer->lane, "a lane without name");
    if (!out)
        return;
    ucp_ep_print_info(peer->ep, out);
    fclose(out);
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        const char *lane = strstr(line, "lane["), *am = strstr(line, " am");
        if (lane && am && (!am[3] || am[3] == ' ') && sscanf(lane, "lane[%*d]: %*d:%23[^/ ]", found) == 1) {
            memcpy(peer->lane, found, sizeof found);
            break;
        }
    }
    free(text);
}

static bool worth_trying(const struct sy_ucx_peer *peer)
{
    return peer->rank != sy_group_rank(peer->ucx->base.group) && !peer->in_line;
}

/* The round of two ranks is that of the lowest bit in which their numbers differ. */
static bool in_round(const struct sy_ucx_peer *peer, int bit)
{
    unsigned differ = (unsigned)(peer->rank ^ sy_group_rank(peer->ucx->base.group));

    return worth_trying(peer) && differ >> bit & 1 && !(differ & ((1u << bit) - 1));
}

static void try_puts(struct sy_ucx *ucx, int bit)
{
    static const uint64_t word = 1;
    ucp_request_param_t none = {0};
    int64_t begin_ns = sy_clock_ns();
    int n_open = 0;

    for (int p = 0; p < ucx->n_peers; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        if (!in_round(peer, bit))
            continue;
        n_open++;
        sy_ucx_started(peer, ucp_put_nbx(peer->ep, &word, sizeof word, peer->remote, peer->rkey, &none),
                       &peer->message_sent, "a first put there");
        sy_ucx_started(peer, ucp_ep_flush_nbx(peer->ep, &none), &peer->flushed, "a first put there");
    }
    for (int moves = 0; n_open && (moves < PROBE_MOVES || sy_clock_ns() - begin_ns < PROBE_NS); moves++) {
        for (int p = 0; p < ucx->n_peers; p++) {
            struct sy_ucx_peer *peer = &ucx->peers[p];
            if (!in_round(peer, bit) || peer->one_sided || !sy_ucx_done(peer, &peer->flushed, "a first put there"))
                continue;
            peer->one_sided = true;
            n_open--;
        }
        sy_ucx_move(ucx);
    }
}

static enum sy_status all_rounds(struct sy_ucx *ucx, struct sy_error *err)
{
    struct sy_group *group = ucx->base.group;
    enum sy_status status = sy_ucx_meet(ucx, err);

    status = sy_group_agree(group, status, err);
    for (int bit = 0; (sy_group_size(group) - 1) >> bit && status == SY_OK; bit++) {
        for (int side = 0; side < 2 && status == SY_OK; side++) {
            if ((sy_group_rank(group) >> bit & 1) == side)
                try_puts(ucx, bit);
            status = sy_group_agree(group, sy_ucx_failed(ucx, err), err);
        }
    }
    return status ? status : sy_group_agree(group, sy_ucx_meet(ucx, err), err);
}

/* The memory tried is of the same kind as that of the mailboxes: UCX's own. */
static enum sy_status probe(struct sy_ucx *ucx, struct sy_error *err)
{
    ucp_mem_h memory = NULL;
    void *page = NULL;
    uint64_t *mine = calloc((size_t)ucx->n_peers + 1, sizeof *mine);
    ucs_status_t ucs = sy_ucx_map(ucx, NULL, PROBE_BYTES, &memory, &page);
    enum sy_status status = SY_OK;

    if (ucs != UCS_OK || !mine)
        status = sy_error_set(err, SY_ERR_SYSTEM, "ucx transport: no memory to try the lanes: %s",
                              ucs_status_string(ucs));
    for (int p = 0; p < ucx->n_peers && status == SY_OK; p++)
        mine[p] = (uintptr_t)page;
    status = sy_ucx_exchange_keys(ucx, status, memory, mine, err);
    if (status == SY_OK)
        status = all_rounds(ucx, err);
    for (int p = 0; p < ucx->n_peers; p++) {
        if (ucx->peers[p].rkey)
            ucp_rkey_destroy(ucx->peers[p].rkey);
        ucx->peers[p].rkey = NULL;
    }
    if (memory)
        ucp_mem_unmap(ucx->context, memory);
    free(mine);
    return status;
}

/* Whether one rank at least says so. Collective. */
static enum sy_status any_says(struct sy_group *group, bool mine, bool *any, struct sy_error *err)
{
    uint8_t says = mine, all[sy_group_size(group)];
    enum sy_status status = sy_group_allgather(group, &says, sizeof says, all, err);

    *any = false;
    for (int r = 0; r < sy_group_size(group) && status == SY_OK; r++)
        *any = *any || all[r];
    return status;
}

/* "rc_mlx5, put" or "tcp, active messages", and more of them after semicolons. */
static void describe(struct sy_ucx *ucx)
{
    char *text = ucx->description, one[48];

    for (int p = 0; p < ucx->n_peers; p++) {
        const struct sy_ucx_peer *peer = &ucx->peers[p];
        snprintf(one, sizeof one, "%s, %s", peer->lane, peer->by_put ? "put" : "active messages");
        if (peer->rank != sy_group_rank(ucx->base.group) && !strstr(text, one))
            snprintf(text + strlen(text), sizeof ucx->description - strlen(text), "%s%s", *text ? "; " : "", one);
    }
}

enum sy_status sy_ucx_survey(struct sy_ucx *ucx, struct sy_error *err)
{
    enum sy_ucx_way way = ucx->base.config.ucx_way;
    bool try_some = false, any, all_one_sided = true;
    enum sy_status status;

    for (int p = 0; p < ucx->n_peers; p++) {
        name_lane(&ucx->peers[p]);
        ucx->peers[p].in_line = !strcmp(ucx->peers[p].lane, "tcp");
        try_some = try_some || (way == SY_UCX_BEST && worth_trying(&ucx->peers[p]));
    }
    status = any_says(ucx->base.group, try_some, &any, err);
    if (status == SY_OK && any)
        status = probe(ucx, err);
    for (int p = 0; p < ucx->n_peers; p++) {
        struct sy_ucx_peer *peer = &ucx->peers[p];
        peer->by_put = way == SY_UCX_PUT || (way == SY_UCX_BEST && peer->one_sided);
        all_one_sided = all_one_sided && (peer->by_put || peer->rank == sy_group_rank(ucx->base.group));
    }
    describe(ucx);
    if (status == SY_OK)
        status = any_says(ucx->base.group, !all_one_sided, &any, err);
    ucx->one_sided = status == SY_OK && !any;
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 * overdue.c - who waits for whom, when a deadline has passed
 */
#include <stdio.h>
#include <string.h>

#include "moe/moe.h"

#define NAMES_MAX 4 /* ranks listed in the sentence */

/* What a rank can be waited for. The first comes first: whoever misses tokens also holds back results and credit, even
 * those of its own experts. */
enum owed { OWED_TOKENS, OWED_RESULTS, OWED_CREDIT, N_OWED };

static const char *const owed_name[N_OWED] = {"tokens", "expert results", "credit to send"};
static const char *const lane_name[SY_N_LANES] = {[SY_LANE_DISPATCH] = "dispatch", [SY_LANE_COMBINE] = "combine"};

static bool owes(const struct sy_moe *moe, int p, enum owed what)
{
    const struct sy_peer_state *peer = &moe->peers[p];

    if (p == moe->rank)
        return false;
    if (what == OWED_CREDIT)
        return !peer->sent_last || peer->n_staged;
    return what == OWED_TOKENS ? !peer->received_last : peer->n_outstanding > 0;
}

/* The lane that what is owed comes on, or that there is no credit for. */
static enum sy_lane lane_of(const struct sy_moe *moe, int p, enum owed what)
{
    if (what == OWED_CREDIT)
        return moe->peers[p].sent_last ? SY_LANE_COMBINE : SY_LANE_DISPATCH;
    return what == OWED_TOKENS ? SY_LANE_DISPATCH : SY_LANE_COMBINE;
}

/* Everything that a peer owes, and where its rings stand. Returns the bytes of the line; 0: nothing. */
static size_t write_line(const struct sy_moe *moe, int p, char *out, size_t room)
{
    const struct sy_fabric *fabric = moe->config.fabric;
    size_t n = 0;

    for (enum owed what = OWED_TOKENS; what < N_OWED; what++) {
        if (!owes(moe, p, what) || n >= room)
            continue;
        enum sy_lane lane = lane_of(moe, p, what);
        struct sy_ring_state ring = sy_fabric_state(fabric, p, lane, what == OWED_CREDIT);
        if (!n)
            n = (size_t)snprintf(out, room, "waits for rank %d (%.100s) by %s: ", p,
                                 sy_group_host(sy_fabric_group(fabric), p), sy_fabric_name(fabric, p));
        else
            n += (size_t)snprintf(out + n, room - n, ", ");
        if (n < room)
            n += (size_t)snprintf(out + n, room - n, "%s (%s %s, chunk %llu, head %llu, tail %llu)", owed_name[what],
                                  lane_name[lane], what == OWED_CREDIT ? "out" : "in", (unsigned long long)ring.head,
                                  (unsigned long long)ring.head, (unsigned long long)ring.tail);
    }
    if (n && n < room)
        n += (size_t)snprintf(out + n, room - n, ", epoch %u\n", moe->sequence);
    if (n >= room) {
        n = room - 1;
        out[n - 1] = '\n';
    }
    return n;
}

/* A line for each peer that owes anything. */
static const char *write_lines(struct sy_moe *moe)
{
    size_t at = 0;

    for (int p = 0; p < moe->n_ranks; p++)
        at += write_line(moe, p, moe->overdue + at, SY_OVERDUE_LINE);
    moe->overdue[at] = 0;
    return moe->overdue;
}

enum sy_status sy_moe_overdue(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_group *group = sy_fabric_group(moe->config.fabric);
    long long timeout_ms = (long long)sy_group_timeout_ms(group);

    for (enum owed what = OWED_TOKENS; what < N_OWED; what++) {
        char ranks[NAMES_MAX * 300] = "";
        int n = 0, first = 0;
        for (int p = 0; p < moe->n_ranks; p++) {
            size_t at = strlen(ranks);
            if (!owes(moe, p, what))
                continue;
            if (n < NAMES_MAX)
                snprintf(ranks + at, sizeof ranks - at, "%srank %d (%s)", n ? ", " : "", p, sy_group_host(group, p));
            first = n++ ? first : p;
        }
        if (!n)
            continue;
        enum sy_status st = sy_error_set(err, SY_ERR_PEER,
                                         "%s layer %d: no progress for %lld ms, waiting for %s from %s%s",
                                         lane_name[lane_of(moe, first, what)], moe->layer, timeout_ms, owed_name[what],
                                         ranks, n > NAMES_MAX ? " and more" : "");
        if (err)
            err->lines = write_lines(moe);
        return st;
    }
    return sy_error_set(err, SY_ERR_INTERNAL, "layer %d: no progress for %lld ms, and no peer is owed or owes anything",
                        moe->layer, timeout_ms);
}

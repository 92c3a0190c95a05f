/* SPDX-License-Identifier: Apache-2.0
 * lent.c - windows in memory of devices, which the ranks of a node lend to one another
 */
#include "comm/lent.h"

#include <stdlib.h>

static void give_back(struct sy_lent *lent)
{
    for (int i = 0; i < lent->team->size; i++)
        if (i != lent->team->rank && lent->windows[i])
            lent->lender->give_back(lent->windows[i]);
}

/* Whether no handle but that of the team's rank is of its device, as far as devices are told. */
static bool is_apart(const struct sy_handle *handles, int size, int rank)
{
    bool apart = handles[rank].device >= 0;

    for (int i = 0; i < size; i++)
        apart = apart && (i == rank || (handles[i].device >= 0 && handles[i].device != handles[rank].device));
    return apart;
}

/* The others' windows. */
static enum sy_status borrow(struct sy_lent *lent, const struct sy_handle *handles, struct sy_error *err)
{
    enum sy_status status = SY_OK;

    for (int i = 0; i < lent->team->size && status == SY_OK; i++) {
        if (i == lent->team->rank)
            continue;
        status = lent->lender->borrow(&handles[i], &lent->windows[i], err);
        if (status)
            sy_error_prefix(err, "memory of rank %d for rank %d", lent->team->world[i],
                            sy_group_rank(lent->team->group));
    }
    return status;
}

enum sy_status sy_lent_open(struct sy_team *team, const struct sy_lender *lender, size_t bytes, struct sy_lent **out,
                            struct sy_error *err)
{
    struct sy_lent *lent = calloc(1, sizeof *lent + (size_t)team->size * sizeof lent->windows[0]);
    struct sy_handle mine = {.device = -1}, handles[team->size];
    enum sy_status status;

    if (lent) {
        *lent = (struct sy_lent){.lender = lender, .team = team, .bytes = bytes};
        status = lender->lend(bytes, &lent->windows[team->rank], &mine, err);
    } else {
        status = sy_error_set(err, SY_ERR_SYSTEM, "no memory for the windows of %d ranks", team->size);
    }
    status = sy_team_agree(team, SY_TEAM_SHARE, status, &mine, sizeof mine, handles, err);
    if (status != SY_OK) {
        if (lent && lent->windows[team->rank])
            lender->free(lent->windows[team->rank], bytes);
        free(lent);
        return status;
    }
    lent->apart = is_apart(handles, team->size, team->rank);
    status = sy_team_agree(team, SY_TEAM_SHARE, borrow(lent, handles, err), NULL, 0, NULL, err);
    if (status == SY_OK)
        *out = lent;
    else
        sy_lent_close(lent);
    return status;
}

void sy_lent_close(struct sy_lent *lent)
{
    if (!lent)
        return;
    give_back(lent);
    /* Where somebody is lost this rank ends soon, and its memory with it. */
    (void)sy_team_agree(lent->team, SY_TEAM_SHARE, SY_OK, NULL, 0, NULL, NULL);
    lent->lender->free(lent->windows[lent->team->rank], lent->bytes);
    free(lent);
}

/* SPDX-License-Identifier: Apache-2.0
 * mpi_close.c - the end of the mpi transport's traffic
 */
#include "base/clock.h"
#include "comm/mpi_private.h"

void sy_mpi_drop_receives(struct sy_mpi_transport *t)
{
    for (int p = 0; p < t->n_peers; p++) {
        for (int i = 0; i < SY_MPI_N_NEXT; i++)
            sy_request_drop(&t->next[p * SY_MPI_N_NEXT + i]);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            for (int i = 0; i < t->base.config.n_slots * t->peers[p].n_pieces[lane]; i++)
                sy_request_drop(&t->peers[p].in[lane].requests[i]);
    }
}

static bool all_quiet(struct sy_mpi_transport *t)
{
    int complete = 1;

    for (int p = 0; p < t->n_peers && complete; p++) {
        struct sy_mpi_peer *peer = &t->peers[p];
        MPI_Test(&peer->fin_sent, &complete, MPI_STATUS_IGNORE);
        if (complete)
            MPI_Test(&peer->credit_sent, &complete, MPI_STATUS_IGNORE);
        if (!complete || !peer->fin_in)
            return false;
        for (int lane = 0; lane < SY_N_LANES && complete; lane++) {
            if (peer->in[lane].arrived != peer->n_fin[lane])
                return false;
            MPI_Testall(t->base.config.n_slots * peer->n_pieces[lane], peer->out[lane].requests, &complete,
                        MPI_STATUSES_IGNORE);
        }
    }
    return complete;
}

enum sy_status sy_mpi_drain(struct sy_mpi_transport *t, struct sy_error *err)
{
    struct sy_wait wait;

    t->closing = true;
    for (int p = 0; p < t->n_peers; p++) {
        struct sy_mpi_peer *peer = &t->peers[p];
        peer->fin_out = sy_mpi_compose(t, peer, SY_MPI_KIND_FIN, 0);
        for (int lane = 0; lane < SY_N_LANES; lane++)
            peer->fin_out.count[lane] = peer->out[lane].put;
        int rc = sy_group_row_isend(t->base.group, &peer->fin_out, sizeof peer->fin_out, peer->rank, SY_MPI_TAG_CREDIT,
                                    &peer->fin_sent);
        if (rc != MPI_SUCCESS)
            return sy_mpi_failed(t, peer->rank, err, rc, "sending the end of traffic");
    }
    sy_wait_begin(&wait, sy_group_timeout_ms(t->base.group));
    while (!all_quiet(t)) {
        enum sy_status status = sy_mpi_progress(&t->base, err);
        if (status != SY_OK)
            return status;
        if (sy_wait_pause(&wait))
            continue;
        for (int p = 0; p < t->n_peers; p++)
            if (!t->peers[p].fin_in)
                return sy_error_set(err, SY_ERR_PEER, "end of traffic: no answer within %lld ms from rank %d (%s)",
                                    (long long)sy_group_timeout_ms(t->base.group), t->peers[p].rank,
                                    sy_group_host(t->base.group, t->peers[p].rank));
        return sy_error_set(err, SY_ERR_PEER, "end of traffic: sends were not complete within %lld ms",
                            (long long)sy_group_timeout_ms(t->base.group));
    }
    return SY_OK;
}

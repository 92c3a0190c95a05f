/* SPDX-License-Identifier: Apache-2.0
 * link.c - how fast MPI's messages go between two ranks, for comparison with the transports
 */
#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"
#include "comm/group_mpi.h"

#define IN_FLIGHT 4

/* Wait for n requests. */
static enum sy_status complete(struct sy_group *group, int other, MPI_Request *requests, int n, struct sy_error *err)
{
    struct sy_wait wait;
    int done = 0;

    sy_wait_begin(&wait, sy_group_timeout_ms(group));
    for (;;) {
        int rc = MPI_Testall(n, requests, &done, MPI_STATUSES_IGNORE);
        if (rc != MPI_SUCCESS)
            return sy_mpi_error(err, rc, "measuring a link");
        if (done)
            return SY_OK;
        if (!sy_wait_pause(&wait))
            return sy_error_set(err, SY_ERR_PEER, "measuring a link: no message within %lld ms from or to rank %d (%s)",
                                (long long)sy_group_timeout_ms(group), other, sy_group_host(group, other));
    }
}

enum sy_status sy_group_link(struct sy_group *group, int a, int b, void *buffer, size_t bytes, int n, bool answer,
                             double *seconds, struct sy_error *err)
{
    int rank = sy_group_rank(group), other = rank == a ? b : a;
    MPI_Request requests[IN_FLIGHT];
    enum sy_status status = SY_OK;
    int64_t begin_ns = sy_clock_ns();

    if (bytes > INT_MAX)
        return sy_error_set(err, SY_ERR_INTERNAL, "measuring a link with messages of %zu bytes", bytes);
    if (rank != a && rank != b)
        return SY_OK;
    int each = answer ? 1 : IN_FLIGHT, rc = MPI_SUCCESS;
    for (int i = 0; i < n && status == SY_OK; i += each) {
        int k = n - i < each ? n - i : each;
        /* With answers, every second message goes back. */
        bool send = answer && i % 2 ? rank == b : rank == a;
        for (int j = 0; j < k && rc == MPI_SUCCESS; j++)
            rc = send ? sy_group_row_isend(group, buffer, bytes, other, SY_TAG_LINK, &requests[j])
                      : sy_group_row_irecv(group, buffer, bytes, other, SY_TAG_LINK, &requests[j]);
        status = rc == MPI_SUCCESS ? complete(group, other, requests, k, err)
                                   : sy_mpi_error(err, rc, "measuring a link");
    }
    *seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    return status;
}

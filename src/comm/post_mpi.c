/* SPDX-License-Identifier: Apache-2.0
 * post_mpi.c - messages of rows by MPI, which takes memory of devices where it says so
 */
#include "config.h"

#include <mpi.h>
#ifdef HAVE_MPI_EXT_H
#include <mpi-ext.h>
#endif

#include "comm/carried.h"

#ifdef HAVE_MPI_CUDA_QUERY
/* Open MPI 4 answers as it was built. Whether that is off since, or no driver was found, is a variable of its own. */
static bool is_off(const char *variable)
{
    uint8_t value[16] = {0}; /* of any type that it may have */
    MPI_T_cvar_handle handle;
    int provided, index, n = 0;
    bool off = false;

    if (MPI_T_init_thread(MPI_THREAD_SINGLE, &provided) != MPI_SUCCESS)
        return false;
    if (MPI_T_cvar_get_index(variable, &index) == MPI_SUCCESS &&
        MPI_T_cvar_handle_alloc(index, NULL, &handle, &n) == MPI_SUCCESS) {
        off = n == 1 && MPI_T_cvar_read(handle, value) == MPI_SUCCESS;
        for (size_t i = 0; i < sizeof value; i++)
            off = off && !value[i];
        MPI_T_cvar_handle_free(&handle);
    }
    MPI_T_finalize();
    return off;
}
#endif

static bool mpi_takes(enum sy_memory memory, const char **why)
{
    *why = "";
    if (memory == SY_MEMORY_HOST)
        return true;
#ifdef HAVE_MPI_CUDA_QUERY
    *why = "this MPI says that it does not take memory of GPUs";
    if (MPIX_Query_cuda_support() != 1)
        return false;
    *why = "opal_cuda_support of this MPI is off";
    return !is_off("opal_cuda_support");
#else
    *why = "this program was built with an MPI that cannot be asked whether it takes memory of GPUs";
    return false;
#endif
}

static enum sy_status mpi_begin(void *ctx, const struct sy_parcel *parcel, int lane, struct sy_post_request *request,
                                struct sy_error *err)
{
    const struct sy_group *group = ctx;
    int tag = SY_TAG_DIRECT + lane, rc;

    if (parcel->incoming)
        rc = sy_group_row_irecv(group, parcel->memory, parcel->bytes, parcel->peer, tag, &request->mpi);
    else
        rc = sy_group_row_isend(group, parcel->memory, parcel->bytes, parcel->peer, tag, &request->mpi);
    request->bytes = parcel->bytes;
    request->incoming = parcel->incoming;
    request->begun = rc == MPI_SUCCESS;
    return request->begun ? SY_OK : sy_mpi_error(err, rc, "MPI");
}

static enum sy_status mpi_end(void *ctx, struct sy_post_request *request, struct sy_error *err)
{
    MPI_Status status;
    int done = 0, count = 0;
    int rc = MPI_Test(&request->mpi, &done, &status);

    (void)ctx;
    if (rc != MPI_SUCCESS)
        return sy_mpi_error(err, rc, "MPI");
    if (!done)
        return SY_AGAIN;
    MPI_Get_count(&status, MPI_BYTE, &count);
    request->came = (size_t)count;
    request->begun = false;
    return SY_OK;
}

static void mpi_drop(void *ctx, struct sy_post_request *request)
{
    (void)ctx;
    sy_request_drop(&request->mpi);
    request->begun = false;
}

/* Every test lets MPI move. */
static void mpi_move(void *ctx)
{
    (void)ctx;
}

const struct sy_post sy_post_mpi = {
    .takes = mpi_takes, .begin = mpi_begin, .end = mpi_end, .drop = mpi_drop, .move = mpi_move};

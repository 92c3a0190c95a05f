/* SPDX-License-Identifier: Apache-2.0
 * nccl.cu - NCCL as a courier
 *
 * The library is opened at run time, so that programs start where it is not. What is declared here is in its nccl.h since 2.19
 * (https://github.com/NVIDIA/nccl, src/nccl.h.in): its types are part of a binary interface that later versions keep.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "cuda/porter.cuh"

#ifdef SY_NO_NCCL /* configure's --without-nccl */

const struct sy_courier *sy_cuda_courier(void)
{
    return NULL;
}

#else

#define LIBRARY "libnccl.so.2"
#ifdef SY_NCCL_DIR /* configure's --with-nccl=DIR */
#define LIBRARY_PATH SY_NCCL_DIR "/lib/" LIBRARY
#else
#define LIBRARY_PATH LIBRARY
#endif

/* ncclResult_t, ncclDataType_t */
enum { SUCCESS = 0, IN_PROGRESS = 7 };
enum { BYTES = 0 };

/* ncclConfig_t of 2.19; a later library sets what it has beyond that. */
struct config {
    size_t size;
    unsigned magic, version;
    int blocking, cluster_size, min_blocks, max_blocks;
    const char *net_name;
    int split_share;
};

#define CONFIG_MAGIC   0xcafebeefu
#define CONFIG_VERSION 21900
#define NOT_SET        ((int)0x80000000)

static struct {
    void *library;
    int (*get_unique_id)(struct sy_courier_name *name);
    int (*comm_init_rank_config)(void **comm, int size, struct sy_courier_name name, int rank, struct config *config);
    int (*comm_get_async_error)(void *comm, int *result);
    int (*comm_abort)(void *comm);
    int (*group_start)(void);
    int (*group_end)(void);
    int (*send)(const void *memory, size_t n, int type, int peer, void *comm, cudaStream_t stream);
    int (*recv)(void *memory, size_t n, int type, int peer, void *comm, cudaStream_t stream);
    const char *(*get_error_string)(int result);
    const char *(*get_last_error)(void *comm);
} nccl;

static enum sy_status load(struct sy_error *err)
{
    static const struct {
        const char *name;
        void *where;
    } functions[] = {{"ncclGetUniqueId", &nccl.get_unique_id},
                     {"ncclCommInitRankConfig", &nccl.comm_init_rank_config},
                     {"ncclCommGetAsyncError", &nccl.comm_get_async_error},
                     {"ncclCommAbort", &nccl.comm_abort},
                     {"ncclGroupStart", &nccl.group_start},
                     {"ncclGroupEnd", &nccl.group_end},
                     {"ncclSend", &nccl.send},
                     {"ncclRecv", &nccl.recv},
                     {"ncclGetErrorString", &nccl.get_error_string},
                     {"ncclGetLastError", &nccl.get_last_error}};

    if (nccl.library)
        return SY_OK;
    void *library = dlopen(LIBRARY_PATH, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return sy_error_set(
            err, SY_ERR_USAGE,
            "--transport nccl: NCCL is not here (%s); install it (libnccl2 of NVIDIA's repository), name "
            "its folder in LD_LIBRARY_PATH, or take --transport ipc",
            dlerror());
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *function = dlsym(library, functions[i].name);
        if (!function) {
            dlclose(library);
            return sy_error_set(err, SY_ERR_USAGE, "--transport nccl: %s has no %s; NCCL 2.19 or later is needed",
                                LIBRARY_PATH, functions[i].name);
        }
        memcpy(functions[i].where, &function, sizeof function);
    }
    nccl.library = library;
    return SY_OK;
}

static enum sy_status failed(void *comm, int result, enum sy_status status, struct sy_error *err)
{
    const char *more = nccl.get_last_error(comm);

    return sy_error_set(err, status, "NCCL: %s%s%s", nccl.get_error_string(result), more && *more ? ": " : "",
                        more ? more : "");
}

static enum sy_status make_name(struct sy_courier_name *name, struct sy_error *err)
{
    enum sy_status st = load(err);
    int result = st ? SUCCESS : nccl.get_unique_id(name);

    return result == SUCCESS ? st : failed(NULL, result, SY_ERR_SYSTEM, err);
}

static void close_link(struct sy_courier_link *link)
{
    if (link && link->comm)
        nccl.comm_abort(link->comm);
    sy_cuda_porter_close(link);
}

static enum sy_status open_link(const struct sy_courier_name *name, int rank, int size, struct sy_courier_link **out,
                                struct sy_error *err)
{
    struct config config = {sizeof config, CONFIG_MAGIC, CONFIG_VERSION, 0, NOT_SET, NOT_SET, NOT_SET, NULL, NOT_SET};
    struct sy_courier_link *link;
    enum sy_status st = load(err);

    if (!st)
        st = sy_cuda_porter_open(NULL, rank, size, &link, err);
    if (st)
        return st;
    int result = nccl.comm_init_rank_config(&link->comm, size, *name, rank, &config);
    if (result != SUCCESS && result != IN_PROGRESS)
        st = failed(NULL, result, SY_ERR_SYSTEM, err);
    if (st) {
        close_link(link);
        return st;
    }
    *out = link;
    return SY_OK;
}

static enum sy_status settle(struct sy_courier_link *link, struct sy_error *err)
{
    int state = SUCCESS, result = nccl.comm_get_async_error(link->comm, &state);

    if (result != SUCCESS)
        return failed(link->comm, result, SY_ERR_PEER, err);
    if (state == IN_PROGRESS)
        return SY_AGAIN;
    return state == SUCCESS ? SY_OK : failed(link->comm, state, SY_ERR_PEER, err);
}

static enum sy_status exchange(struct sy_courier_link *link, const struct sy_parcel *parcels, int n,
                               struct sy_error *err)
{
    int result = nccl.group_start();

    for (int i = 0; i < n && (result == SUCCESS || result == IN_PROGRESS); i++) {
        const struct sy_parcel *p = &parcels[i];
        result = p->incoming ? nccl.recv(p->memory, p->bytes, BYTES, p->peer, link->comm, link->queue.stream)
                             : nccl.send(p->memory, p->bytes, BYTES, p->peer, link->comm, link->queue.stream);
    }
    int ended = nccl.group_end();
    if (result == SUCCESS || result == IN_PROGRESS)
        result = ended;
    return result == SUCCESS || result == IN_PROGRESS ? SY_OK : failed(link->comm, result, SY_ERR_PEER, err);
}

/* A peer that is lost shows in the communicator, not in the stream. */
static enum sy_status reached(struct sy_courier_link *link, int which, struct sy_error *err)
{
    enum sy_status st = sy_cuda_porter_reached(link, which, err);

    if (st != SY_AGAIN)
        return st;
    st = settle(link, err);
    return st == SY_OK ? SY_AGAIN : st;
}

const struct sy_courier *sy_cuda_courier(void)
{
    static const struct sy_courier courier = {
        sy_cuda_porter_device, make_name,           open_link,         exchange,      settle,
        sy_cuda_porter_lay,    sy_cuda_porter_mark, reached,           close_link,    sy_cuda_alloc,
        sy_cuda_free,          sy_cuda_alloc_host,  sy_cuda_free_host, SY_MEMORY_CUDA};

    return &courier;
}

#endif

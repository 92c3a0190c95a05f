/* SPDX-License-Identifier: Apache-2.0
 * landing.c - weights reach a device through few windows of host memory, and are what they are on a CPU
 *
 * Without a GPU the device is a file in memory, whose copies are done as late as a queue may do them, and whose pages do not
 * count as this process's.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/blocks.h"
#include "engine/holding.h"
#include "fixture.h"
#include "model/synthetic.h"
#include "tap.h"
#include "tap_mpi.h"

#define N_THREADS   2
#define PENDING_MAX 8

/* ---- a device ---- */

static struct sy_kernels device, host; /* the same layout of weights */
static struct {
    void *to;
    const void *from;
    size_t bytes;
} pending[PENDING_MAX];
static int n_pending, n_syncs, n_syncs_good; /* syncs after which the device is gone; 0: never */

static void *file_alloc(size_t bytes)
{
    int fd = memfd_create("device", MFD_CLOEXEC);
    void *memory = MAP_FAILED;

    if (fd >= 0 && ftruncate(fd, (off_t)(bytes + 1)) == 0)
        memory = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return memory == MAP_FAILED ? NULL : memory;
}

static void file_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, bytes + 1);
}

static void late_copy(struct sy_queue *q, void *to, const void *from, size_t bytes)
{
    (void)q;
    if (n_pending == PENDING_MAX)
        bail("more than %d copies wait", PENDING_MAX);
    pending[n_pending].to = to;
    pending[n_pending].from = from;
    pending[n_pending++].bytes = bytes;
}

static enum sy_status late_sync(struct sy_queue *q, struct sy_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)q;
    if (n_syncs_good && ++n_syncs > n_syncs_good)
        return sy_error_set(err, SY_ERR_SYSTEM, "the device is gone");
    for (int i = 0; i < n_pending; i++) {
        uintptr_t begin = (uintptr_t)pending[i].to / page * page, end = (uintptr_t)pending[i].to + pending[i].bytes;
        memcpy(pending[i].to, pending[i].from, pending[i].bytes);
        madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
    n_pending = 0;
    return SY_OK;
}

static void make_device(void)
{
    host = *sy_kernels_cpu(sy_isa_best());
    if (fixture_kernels()->on_device) {
        device = *fixture_kernels();
        host.panel_bytes = device.panel_bytes;
        host.pack_panel = device.pack_panel;
        return;
    }
    device = host;
    device.on_device = true;
    device.alloc = file_alloc;
    device.free = file_free;
    device.copy = late_copy;
    device.queue_sync = late_sync;
}

/* ---- loading ---- */

struct loaded {
    struct sy_shard *shard;
    struct sy_blocks blocks;
    struct sy_queue *queue;
};

static enum sy_status load(struct sy_group *group, struct sy_pool *pool, const struct sy_kernels *kernels,
                           const struct sy_model *model, struct sy_checkpoint *ckpt, size_t window_bytes,
                           struct loaded *to, struct sy_error *err)
{
    struct sy_placement *placement;
    int n_ranks = sy_group_size(group);

    if (sy_placement_even(model->n_layers, model->n_experts, n_ranks, &placement, err) ||
        sy_holding_shard(model, kernels, placement, sy_group_rank(group), &to->shard, err) ||
        kernels->queue_create(pool, &to->queue, err))
        bail("%s", err->text);
    enum sy_status st = sy_blocks_make(&to->blocks, kernels, group, to->shard, window_bytes, err);
    if (st)
        bail("%s", err->text);
    st = sy_blocks_load(&to->blocks, to->shard, ckpt, to->queue, pool, NULL, err);
    sy_placement_destroy(placement);
    return sy_group_agree(group, st, err);
}

static void drop(struct loaded *loaded)
{
    const struct sy_kernels *kernels = loaded->blocks.kernels;

    sy_blocks_free(&loaded->blocks);
    sy_shard_destroy(loaded->shard);
    kernels->queue_destroy(loaded->queue);
}

static bool same(const struct loaded *on_device, const void *there, const void *here, size_t bytes)
{
    void *copy = device.copy == late_copy ? NULL : malloc(bytes + 1);
    struct sy_error err = SY_ERROR_INIT;

    if (device.copy == late_copy)
        return !memcmp(there, here, bytes);
    if (!copy)
        bail("no memory");
    device.copy(on_device->queue, copy, there, bytes);
    bool equal = !device.queue_sync(on_device->queue, &err) && !memcmp(copy, here, bytes);
    free(copy);
    return equal;
}

static void compare(struct sy_group *group, struct sy_pool *pool, struct fixture *fixture, const char *name,
                    size_t window_bytes)
{
    struct sy_error err = SY_ERROR_INIT;
    struct loaded through, in_place;
    bool good = !load(group, pool, &device, fixture->model, fixture->ckpt, window_bytes, &through, &err) &&
                !load(group, pool, &host, fixture->model, fixture->ckpt, window_bytes, &in_place, &err);

    if (!good)
        bail("%s: %s", name, err.text);
    ok_all(same(&through, through.blocks.dense, in_place.blocks.dense, in_place.blocks.dense_bytes) &&
               same(&through, through.blocks.experts, in_place.blocks.experts, in_place.blocks.expert_bytes),
           "%s: the same weights through windows of %zu bytes", name, window_bytes);
    drop(&through);
    drop(&in_place);
}

static void compare_all(struct sy_group *group, struct sy_pool *pool, const char *folder)
{
    static const size_t sizes[] = {1, 10000, 100000, SY_WINDOW_BYTES};
    char path[4096], name[512];
    struct dirent **entries;
    int n = scandir(fixture_path(folder, path, sizeof path), &entries, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        struct fixture fixture;
        snprintf(name, sizeof name, "%s/%.200s", folder, entries[i]->d_name);
        if (!strchr(entries[i]->d_name, '.')) {
            if (!fixture_open(&fixture, name))
                bail("%s does not open", name);
            compare(group, pool, &fixture, name, sizes[i % 4]);
            fixture_close(&fixture);
        }
        free(entries[i]);
    }
    if (n < 0)
        bail("%s cannot be read", path);
    free(entries);
}

/* ---- memory ---- */

static long status_kb(const char *name)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kb = -1;

    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            kb = strtol(line + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

static bool forget_peak(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, "5", 1) == 1;

    if (fd >= 0)
        close(fd);
    return good;
}

static void test_memory(struct sy_group *group, struct sy_pool *pool)
{
    static const struct sy_shape shape = {"large", "",   "Qwen3MoeForCausalLM", 4,    1024, 8,  2, 64, 16, 2, 512,
                                          32000,   1024, SY_QK_NORM_HEAD,       true, 1e-6, 1e4};
    size_t window = (size_t)8 << 20;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
    struct loaded loaded;

    if (sy_checkpoint_synthetic(&shape, 1, &ckpt, &err) || sy_model_create(ckpt, &model, &err))
        bail("%s", err.text);
    bool known = forget_peak();
    long before = status_kb("VmRSS:");
    int64_t begin_ns = sy_clock_ns();
    enum sy_status st = load(group, pool, &device, model, ckpt, window, &loaded, &err);
    double seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
    long peak = status_kb("VmHWM:") - before;
    size_t bytes = loaded.blocks.dense_bytes + loaded.blocks.expert_bytes;
    diag("%zu MB of weights in %.2f s: %ld kB of the host's memory at most", bytes / 1000000, seconds, peak);
    if (!known)
        skip("the peak of memory cannot be reset here");
    else
        ok_all(!st && bytes > 10 * window && (size_t)peak * 1024 < 2 * window + ((size_t)16 << 20),
               "loading takes two windows of memory and a little, however much there is to load");
    drop(&loaded);
    sy_model_destroy(model);
    sy_checkpoint_close(ckpt);
}

/* ---- faults ---- */

static void test_lost(struct sy_group *group, struct sy_pool *pool)
{
    struct fixture fixture;

    if (!fixture_open(&fixture, "tests/data/demo"))
        bail("the demo does not open");
    for (int bad = 0; bad < sy_group_size(group); bad++) {
        for (int n = 1; n < 400; n = 3 * n + 1) {
            struct sy_error err = SY_ERROR_INIT;
            struct loaded loaded;
            n_syncs = 0;
            n_syncs_good = sy_group_rank(group) == bad ? n : 0;
            int64_t begin_ns = sy_clock_ns();
            enum sy_status st = load(group, pool, &device, fixture.model, fixture.ckpt, 20000, &loaded, &err);
            ok_all(st == SY_ERR_SYSTEM && strstr(err.text, "the device is gone") &&
                       sy_clock_ns() - begin_ns < INT64_C(10000000000),
                   "all ranks end soon when rank %d's device is gone after %d windows", bad, n);
            n_pending = n_syncs_good = 0;
            drop(&loaded);
        }
    }
    fixture_close(&fixture);
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    struct sy_error err = SY_ERROR_INIT;
    struct sy_pool *pool;

    if (sy_pool_create(N_THREADS, NULL, 0, &pool, &err))
        bail("%s", err.text);
    make_device();
    compare_all(group, pool, "tests/data/goldens");
    compare_all(group, pool, "tests/data/odd");
    test_memory(group, pool);
    if (fixture_kernels()->on_device)
        skip("this GPU stays");
    else
        test_lost(group, pool);
    sy_pool_destroy(pool);
    done();
    return tap_mpi_end(group);
}

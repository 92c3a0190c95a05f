/* SPDX-License-Identifier: Apache-2.0
 * load.c - when a rank cannot finish loading, all ranks leave together with its words
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../model/folder.h"
#include "base/file.h"
#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

/* The second tensor in the file; every rank reads a part of it. */
#define CUT "model.embed_tokens.weight"

static const struct sy_kernels *kernels;
static const struct fixture *cut_here;

/* The file becomes shorter when its first panel is packed. One thread only. */
static void pack_panel(enum sy_dtype dtype, int k, int k_begin, int k_end, int n_rows, const void *rows,
                       size_t row_stride, size_t k_stride, void *dst)
{
    const struct sy_tensor *t = cut_here ? sy_checkpoint_find(cut_here->ckpt, CUT) : NULL;

    if (t && truncate(sy_checkpoint_shard_path(cut_here->ckpt, t->shard), (off_t)t->offset))
        bail("cannot cut a file");
    cut_here = NULL;
    kernels->pack_panel(dtype, k, k_begin, k_end, n_rows, rows, row_stride, k_stride, dst);
}

/* A copy of a checkpoint of one file, for each rank. */
static const char *copy(const char *from)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    const char *dir = folder_make();
    char path[PATH_MAX], base[PATH_MAX / 2];

    fixture_path(from, base, sizeof base);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sy_buf bytes = SY_BUF_INIT;
        struct sy_error err = SY_ERROR_INIT;
        snprintf(path, sizeof path, "%s/%s", base, names[i]);
        if (sy_file_read(path, 1 << 24, &bytes, &err))
            bail("%s", err.text);
        folder_write(dir, names[i], bytes.data, bytes.len);
        sy_buf_fini(&bytes);
    }
    return dir;
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    int rank = sy_group_rank(group), last = sy_group_size(group) - 1;
    struct sy_kernels changed = *(kernels = fixture_kernels());

    changed.pack_panel = pack_panel;
    /* Also as if weights belonged to a device, through windows that ranks fill together. */
    for (int i = 0; i <= 2 * last + 1; i++) {
        int bad = i / 2;
        struct sy_error err = SY_ERROR_INIT;
        struct sy_session_config config;
        struct sy_session *session = NULL;
        struct fixture fixture;
        const char *dir = copy("tests/data/goldens/olmoe");
        if (!ok_all(fixture_open(&fixture, dir), "a copy of a checkpoint opens"))
            break;
        changed.on_device = kernels->on_device || i % 2;
        sy_session_config_init(&config);
        config.kernels = &changed;
        config.kv_bytes_max = 1 << 20;
        cut_here = rank == bad ? &fixture : NULL;
        enum sy_status st = sy_session_create(group, fixture.ckpt, fixture.model, &config, &session, &err);
        ok_all(st == SY_ERR_DATA && !session, "no rank has a session when rank %d cannot load%s", bad,
               i % 2 ? ", to a device" : "");
        bool named = strstr(err.text, CUT) && strstr(err.text, "model.safetensors") && strstr(err.text, "ends at byte");
        if (!ok_all(named, "every rank has the tensor's and the file's name"))
            fprintf(stderr, "# rank %d: %s\n", rank, err.text);
        fixture_close(&fixture);
        folder_remove(dir);
    }
    done();
    return tap_mpi_end(group);
}

/* SPDX-License-Identifier: Apache-2.0
 * fixture.c - checkpoints and sessions for tests
 */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "model/safetensors.h"
#include "tap.h"

const char *fixture_path(const char *name, char *out, size_t out_bytes)
{
    const char *top = getenv("SY_SRCDIR");

    snprintf(out, out_bytes, "%s/%s", top ? top : ".", name);
    return out;
}

bool fixture_open(struct fixture *fixture, const char *dir)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf meta = SY_BUF_INIT;

    /* What the engine says of its memory is noise in a test. */
    sy_log_init(SY_LOG_WARN, -1, 1, NULL);
    *fixture = (struct fixture){.ckpt = NULL};
    if (dir[0] == '/')
        snprintf(fixture->dir, sizeof fixture->dir, "%s", dir);
    else
        fixture_path(dir, fixture->dir, sizeof fixture->dir);
    enum sy_status st = sy_checkpoint_read(fixture->dir, &meta, &err);
    if (!st)
        st = sy_checkpoint_parse(fixture->dir, meta.data, meta.len, &fixture->ckpt, &err);
    if (!st)
        st = sy_model_create(fixture->ckpt, &fixture->model, &err);
    if (st)
        diag("%s", err.text);
    sy_buf_fini(&meta);
    return !st;
}

void fixture_close(struct fixture *fixture)
{
    sy_model_destroy(fixture->model);
    sy_checkpoint_close(fixture->ckpt);
}

const struct sy_kernels *fixture_kernels(void)
{
    const char *wanted = getenv("SWITCHYARD_ISA"), *device = getenv("SWITCHYARD_DEVICE");
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    struct sy_cuda_device found;
    struct sy_error err = SY_ERROR_INIT;
    char why[128];

    if (device && !strcmp(device, "cuda")) {
        int n = sy_kernels_cuda() ? 0 : sy_cuda_count(why, sizeof why);
        if (!sy_kernels_cuda() && sy_cuda_open(n && local ? atoi(local) % n : 0, &found, &err))
            bail("%s", err.text);
        return sy_kernels_cuda();
    }
    for (int isa = 0; wanted && isa < SY_N_ISAS; isa++)
        if (!strcmp(wanted, sy_isa_name((enum sy_isa)isa)))
            return sy_kernels_cpu((enum sy_isa)isa);
    return sy_kernels_cpu(sy_isa_best());
}

enum sy_transport_choice fixture_transport(void)
{
    const char *wanted = getenv("SWITCHYARD_TRANSPORT");

    return sy_transport_choice_of(wanted ? wanted : "auto");
}

void *fixture_tensor(const char *path, const char *name, size_t *n)
{
    struct sy_buf file = SY_BUF_INIT;
    struct sy_safetensors header;
    size_t head_bytes = 0;
    void *out = NULL;

    if (sy_file_read(path, (size_t)1 << 30, &file, NULL) == SY_OK &&
        sy_safetensors_head_bytes(path, file.data, file.len < 8 ? file.len : 8, file.len, &head_bytes, NULL) == SY_OK &&
        sy_safetensors_parse(path, file.data, head_bytes, file.len, 0, &header, NULL) == SY_OK) {
        for (size_t i = 0; i < header.n_tensors; i++) {
            const struct sy_tensor *tensor = &header.tensors[i];
            if (strcmp(tensor->name, name))
                continue;
            *n = tensor->bytes / sy_dtype_bytes(tensor->dtype);
            out = malloc(tensor->bytes + 1);
            memcpy(out, file.data + tensor->offset, tensor->bytes);
        }
        sy_safetensors_fini(&header);
    }
    sy_buf_fini(&file);
    return out;
}

enum sy_status fixture_run(struct sy_session *session, struct sy_error *err)
{
    uint8_t left = 1;

    while (left) {
        bool ended;
        enum sy_status st = sy_session_step(session, 0, &ended, err);
        if (st || ended)
            return st;
        struct sy_buf buf = SY_BUF_INIT;
        left = sy_session_n_pending(session) > 0;
        sy_buf_append(&buf, &left, 1);
        st = sy_group_bcast(sy_session_group(session), 0, &buf, err);
        if (st)
            return st;
        left = buf.data[0];
        sy_buf_fini(&buf);
    }
    return SY_OK;
}

enum sy_status fixture_end(struct sy_session *session, struct sy_error *err)
{
    bool ended = false;
    enum sy_status st = SY_OK;

    sy_session_end(session);
    while (!ended && !st)
        st = sy_session_step(session, 0, &ended, err);
    return st;
}

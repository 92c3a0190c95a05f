/* SPDX-License-Identifier: Apache-2.0
 * fixture.h - a checkpoint of the test data, opened, and requests run through a session
 */
#ifndef SY_TESTS_FIXTURE_H
#define SY_TESTS_FIXTURE_H

#include "engine/session.h"
#include "model/checkpoint.h"
#include "model/model.h"

struct fixture {
    char dir[4096];
    struct sy_checkpoint *ckpt;
    struct sy_model *model;
};

/* Path of a file below the top source folder (SY_SRCDIR), in a buffer of the caller. */
const char *fixture_path(const char *name, char *out, size_t out_bytes);

/* Open DIR (below the source folder) on every rank. Returns false, with a diag(), when something is wrong. */
bool fixture_open(struct fixture *fixture, const char *dir);
void fixture_close(struct fixture *fixture);

/* The kernels that the environment asks for: the GPU with SWITCHYARD_DEVICE=cuda (of several each rank of Open MPI takes its
 * own, in turn), or an instruction set (SWITCHYARD_ISA); else those of the best one. */
const struct sy_kernels *fixture_kernels(void);

/* The transport that it asks for (SWITCHYARD_TRANSPORT), else auto. */
enum sy_transport_choice fixture_transport(void);

/* A tensor of a safetensors file, converted: I32 to int32_t, F32 to float. NULL when it is not there; the caller frees it. */
void *fixture_tensor(const char *path, const char *name, size_t *n);

/* Step until every request that rank 0 has submitted is done. Collective. */
enum sy_status fixture_run(struct sy_session *session, struct sy_error *err);

/* End the session: one last step. Collective. */
enum sy_status fixture_end(struct sy_session *session, struct sy_error *err);

#endif

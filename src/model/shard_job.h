/* SPDX-License-Identifier: Apache-2.0
 * shard_job.h - one packed matrix or vector to be filled (private to shard.c, load.c and load_order.c)
 */
#ifndef SY_MODEL_SHARD_JOB_H
#define SY_MODEL_SHARD_JOB_H

#include "model/shard.h"

enum sy_job_kind {
    SY_JOB_PANELS,  /* streams of stacked matrices, their panels alternating */
    SY_JOB_SCALES,  /* of such a matrix, panels of sy_weight's scales */
    SY_JOB_VECTORS, /* stacked vectors (matrices of one input), widened to FP32 */
};

struct sy_shard_job {
    enum sy_job_kind kind;
    bool expert;   /* in the block of experts, else in the dense one */
    size_t offset; /* in its block */
    size_t bytes;  /* packed */
    uint8_t *dst;     /* set by sy_shard_place() */
    enum sy_dtype dtype; /* of the packed panels; of scales SY_F32, or SY_U8 for MXFP4 */
    int n, k;      /* outputs of one stream, inputs; of vectors their length alone */
    int n_streams, n_segments; /* segments of one stream; vectors have no streams */
    struct sy_matrix segments[3]; /* stream by stream */
};

#endif

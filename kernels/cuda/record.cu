/* SPDX-License-Identifier: Apache-2.0
 * record.cu - calls on a queue as one CUDA graph
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"

#define TABLES_BYTES ((size_t)1 << 20)

struct sy_recording {
    cudaGraphExec_t graph;
    uint8_t *tables, *tables_device; /* [TABLES_BYTES] small tables of its launches; the host's until it is made */
    size_t used;
    bool full;
};

bool sy_cuda_record(struct sy_queue *q)
{
    struct sy_recording *r = (struct sy_recording *)calloc(1, sizeof *r);

    if (!r || !sy_cuda_works(q)) {
        free(r);
        return false;
    }
    r->tables = (uint8_t *)malloc(TABLES_BYTES);
    r->tables_device = (uint8_t *)sy_cuda_alloc(TABLES_BYTES);
    /* Other threads and queues may go on meanwhile. */
    if (!r->tables || !r->tables_device ||
        cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeRelaxed) != cudaSuccess) {
        (void)cudaGetLastError();
        sy_cuda_record_free(r);
        return false;
    }
    q->recording = r;
    return true;
}

void *sy_cuda_record_table(struct sy_queue *q, const void *table, size_t bytes)
{
    struct sy_recording *r = q->recording;
    size_t rounded = (bytes + 255) / 256 * 256, at = r->used;

    /* record_end() will say that it failed; until then the launches must have some address. */
    if (rounded > TABLES_BYTES - at) {
        r->full = true;
        return r->tables_device;
    }
    memcpy(r->tables + at, table, bytes);
    r->used += rounded;
    return r->tables_device + at;
}

struct sy_recording *sy_cuda_record_end(struct sy_queue *q)
{
    struct sy_recording *r = q->recording;
    cudaGraph_t graph = NULL;

    q->recording = NULL;
    cudaError_t code = cudaStreamEndCapture(q->stream, &graph);
    if (code == cudaSuccess)
        code = cudaGraphInstantiate(&r->graph, graph, 0);
    if (graph)
        cudaGraphDestroy(graph);
    if (code == cudaSuccess && r->used)
        code = cudaMemcpy(r->tables_device, r->tables, r->used, cudaMemcpyHostToDevice);
    free(r->tables);
    r->tables = NULL;
    if (code == cudaSuccess && !r->full)
        return r;
    (void)cudaGetLastError();
    sy_cuda_record_free(r);
    return NULL;
}

void sy_cuda_replay(struct sy_queue *q, struct sy_recording *recording)
{
    if (sy_cuda_works(q))
        sy_cuda_check(q, cudaGraphLaunch(recording->graph, q->stream), "a recording");
}

void sy_cuda_record_free(struct sy_recording *recording)
{
    if (!recording)
        return;
    if (recording->graph)
        cudaGraphExecDestroy(recording->graph);
    free(recording->tables);
    sy_cuda_free(recording->tables_device, TABLES_BYTES);
    free(recording);
}

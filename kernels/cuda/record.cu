/* SPDX-License-Identifier: Apache-2.0
 * record.cu - calls on a queue as one CUDA graph
 */
#include <stdlib.h>
#include <string.h>

#include "cuda/cuda.h"

#define TABLES_BYTES ((size_t)2 << 10) /* taken at a time, if no table is larger: many recordings have few or none */

/* Small tables of a recording's launches. */
struct tables {
    struct tables *next;
    uint8_t *host, *device; /* [bytes] the host's until the recording is made */
    size_t used, bytes;
};

struct sy_recording {
    cudaGraphExec_t graph;
    struct tables *tables; /* the last that were taken first */
    bool failed;           /* there was no memory for a table */
};

bool sy_cuda_record(struct sy_queue *q)
{
    struct sy_recording *r = (struct sy_recording *)calloc(1, sizeof *r);

    if (!r || !sy_cuda_works(q)) {
        free(r);
        return false;
    }
    /* Other threads and queues may go on meanwhile, and memory be taken. */
    if (cudaStreamBeginCapture(q->stream, cudaStreamCaptureModeRelaxed) != cudaSuccess) {
        (void)cudaGetLastError();
        sy_cuda_record_free(r);
        return false;
    }
    q->recording = r;
    return true;
}

static void tables_free(struct tables *t)
{
    if (!t)
        return;
    cudaFree(t->device);
    free(t->host);
    free(t);
}

/* Not sy_cuda_alloc(), which clears: nothing can be cleared while calls are recorded. */
static struct tables *tables_new(size_t bytes)
{
    struct tables *t = (struct tables *)calloc(1, sizeof *t);

    if (!t)
        return NULL;
    t->bytes = bytes;
    t->host = (uint8_t *)malloc(bytes);
    if (t->host && cudaMalloc(&t->device, bytes) == cudaSuccess)
        return t;
    (void)cudaGetLastError();
    tables_free(t);
    return NULL;
}

void *sy_cuda_record_table(struct sy_queue *q, const void *table, size_t bytes)
{
    struct sy_recording *r = q->recording;
    size_t rounded = (bytes + 255) / 256 * 256;
    struct tables *t = r->tables;

    if (!t || rounded > t->bytes - t->used) {
        t = tables_new(rounded < TABLES_BYTES ? TABLES_BYTES : rounded);
        /* record_end() will say that it failed; until then the launches must have some address. */
        if (!t) {
            r->failed = true;
            return q->table_device;
        }
        t->next = r->tables;
        r->tables = t;
    }
    memcpy(t->host + t->used, table, bytes);
    t->used += rounded;
    return t->device + t->used - rounded;
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
    for (struct tables *t = r->tables; t; t = t->next) {
        if (code == cudaSuccess)
            code = cudaMemcpy(t->device, t->host, t->used, cudaMemcpyHostToDevice);
        free(t->host);
        t->host = NULL;
    }
    if (code == cudaSuccess && !r->failed)
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
    for (struct tables *t = recording->tables, *next; t; t = next) {
        next = t->next;
        tables_free(t);
    }
    free(recording);
}

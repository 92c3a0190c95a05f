/* SPDX-License-Identifier: Apache-2.0
 * across.cuh - what the kernels of a layer across ranks share, and the words by which ranks tell each other what is there
 *
 * Every piece has its own words. One is not set again before it is cleared: rows and choices of the next layer are sent when all
 * results of this one are here, and a rank clears its words of them before it says that results are; and results of the next one
 * after its rows, which are sent after this rank has seen the results and cleared their words.
 */
#ifndef SY_KERNELS_CUDA_ACROSS_CUH
#define SY_KERNELS_CUDA_ACROSS_CUH

#include "cuda/launch.cuh"
#include "cuda/moe.cuh"
#include "cuda/sort.cuh"

#define SY_ACROSS_THREADS 256
#define SY_ORDER_EACH     4  /* blocks of a multiprocessor that put rows in order */
#define SY_WAIT_NS        50 /* between two looks at what another rank says */

/* A piece of a layer, as its kernels take it. */
struct sy_across {
    int T, D, E, K, R, rank, rows_each, most, first, piece, pieces_most;
    const struct sy_moe_window *windows;
    const int32_t *homes, *ids;
    const float *h;
    const uint16_t *rows;              /* what is sent if not h */
    uint32_t *counter, *counter_ahead; /* of blocks that are done; zero before and after */
    unsigned long long *counts;        /* [4] experts and pairs here, rows and results elsewhere; or NULL */
    struct sy_sort sort;
    struct sy_cuda_both_counts both; /* of many */
    uint32_t *x_rows;                /* [pairs] */
    void **y_rows;                   /* [pairs] */
    int *places;                     /* [R][most][K] where rows are in order, of those whose expert is here; of many */
    uint16_t *act;                   /* [pairs][F] */
    bool in_order;                   /* rows of experts are put together first, as wide tiles want them */
    bool apart, ahead, copied;
    uint16_t *sorted; /* [pairs][D] these, or results that are apart */
};

/* The word of rank p that says what rank `from` has brought there. */
static __device__ __forceinline__ uint32_t *sy_word_of(const struct sy_across &a, int p, enum sy_moe_news news,
                                                       int from)
{
    return a.windows[p].arrived + (news * a.pieces_most + a.piece) * a.R + from;
}

/* Tell rank p: it sees then what this thread has stored, or knows to be stored, as the last of a grid knows it of all blocks. */
static __device__ __forceinline__ void sy_tell(const struct sy_across &a, int p, enum sy_moe_news news)
{
    asm volatile("st.release.sys.global.u32 [%0], 1;" ::"l"(sy_word_of(a, p, news, a.rank)) : "memory");
}

/* Until rank `from` has told this one. */
static __device__ __forceinline__ void sy_await(const struct sy_across &a, enum sy_moe_news news, int from)
{
    const uint32_t *word = sy_word_of(a, a.rank, news, from);
    uint32_t told;

    for (;;) {
        asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(told) : "l"(word) : "memory");
        if (told)
            return;
        __nanosleep(SY_WAIT_NS);
    }
}

/* The stream goes on when all ranks have said so: where kernels must not wait for them. */
void sy_cuda_stream_wait(struct sy_queue *q, const struct sy_moe_across *given, enum sy_moe_news news, int piece);

/* Rank p has this rank's rows, when the stream beside comes there. */
void sy_cuda_tell_beside(struct sy_queue *q, const struct sy_moe_across *given, int p);

/* What comes after this finds what all ranks have said; of results their words are free again. */
void sy_cuda_wait_for(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a,
                      enum sy_moe_news news);

/* All ranks have their results, which the kernels before have stored; words of their rows and choices are free again. */
void sy_cuda_tell_results(struct sy_queue *q, const struct sy_across *a);

/* This rank's rows to all ranks, beside what q does. */
void sy_cuda_rows_ahead(struct sy_queue *q, const struct sy_moe_across *given, const struct sy_across *a);

/* Which experts they are for, and the rows themselves where they did not go ahead. */
void sy_cuda_rows_send(struct sy_queue *q, const struct sy_across *a);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * bench_exchange.h - ways to move the rows of one layer, for bench dispatch (private to the bench files)
 *
 * All ways move the same rows by the same plan: to each rank one copy of a token with its experts, and one result for each
 * expert back. ours: the engine's transports; alltoallv: MPI_Alltoallv with packing and unpacking; memcpy: only the
 * copying of as many bytes by every rank at the same time, which no way can beat that copies at all.
 */
#ifndef SY_CLI_BENCH_EXCHANGE_H
#define SY_CLI_BENCH_EXCHANGE_H

#include "cli/bench.h"
#include "moe/moe.h"

/* ---- bench_routing.c ---- */

/* Which experts tokens choose: all equally often, by Zipf's law (the second half as often as the first, and so on; popular
 * experts lie anywhere), or "one": every token the first top_k, which are one rank's. */
struct sy_routing {
    int n_experts, top_k;
    uint64_t seed, n_draws;
    bool one;
    double *below;  /* [E] sum of the popularity up to and with an expert */
    int32_t *order; /* [E] expert of a popularity */
};

enum sy_status sy_routing_init(struct sy_routing *routing, const char *name, int n_experts, int top_k, uint64_t seed,
                               struct sy_error *err);
void sy_routing_fini(struct sy_routing *routing);
/* ids [T, K]: K different experts for each token of a rank, others in every call. */
void sy_routing_draw(struct sy_routing *routing, int rank, int T, int32_t *ids);

/* ---- bench_baseline.c ---- */

enum sy_way { SY_WAY_OURS, SY_WAY_ALLTOALLV, SY_WAY_MEMCPY, SY_N_WAYS };
enum sy_direction { SY_TO_EXPERTS, SY_BACK, SY_N_DIRECTIONS };

/* Buffers of the baselines, and what one rank moves. */
struct sy_baseline {
    struct sy_moe *moe;
    uint8_t *send, *recv;    /* [bytes] packed */
    uint8_t *rows, *results; /* [R, max_tokens] and [max_tokens * K] rows, unpacked */
    uint8_t *own;            /* [max_tokens] rows that name their rank and token; a copy of the moe's own */
    size_t bytes;
    int *send_bytes, *send_at; /* [R] */
    int *recv_bytes, *recv_at;
    int *n_pairs; /* [R] pairs that came from a rank */
};

/* Errors: SY_ERR_USAGE for more than MPI_Alltoallv can count; as the backend's queue_sync(). */
enum sy_status sy_baseline_init(struct sy_baseline *baseline, struct sy_moe *moe, struct sy_error *err);
void sy_baseline_fini(struct sy_baseline *baseline);

/* One exchange of the moe's present plan in a direction; *seconds is this rank's time. A way back follows the same way to
 * the experts. Collective; between barriers. */
enum sy_status sy_baseline_run(struct sy_baseline *baseline, enum sy_way way, enum sy_direction direction,
                               double *seconds, struct sy_error *err);

/* Whether the results that alltoallv brought are the rows that were sent. */
bool sy_baseline_right(const struct sy_baseline *baseline);

/* ---- bench_link.c ---- */

/* Half a round trip of 8 bytes, and bytes a second of rows one after the other, between this group's first and last rank. */
struct sy_link {
    double half_trip_s, rate;
};

/* ours: through the fabric of moe; mpi: by messages of MPI of 8 bytes and 1 MiB. Zero where there is one rank. Collective. */
enum sy_status sy_link_measure(struct sy_moe *moe, struct sy_link *ours, struct sy_link *mpi, struct sy_error *err);

/* ---- bench_exchange_report.c ---- */

struct sy_exchange_spread {
    double p50, p99, max; /* seconds */
};

struct sy_exchange_cell {
    int n_tokens, n_iterations;        /* tokens of each rank */
    bool by_devices;                   /* which write to each other's memory and wait, without the host */
    double row_bytes[SY_N_DIRECTIONS]; /* rows to other ranks in an iteration, of the rank that has most */
    struct sy_exchange_spread spread[SY_N_WAYS][SY_N_DIRECTIONS];
};

/* What is measured, in chunks of how many rows, and the link; then a cell. Rank 0 alone prints. */
void sy_report_exchange_open(struct sy_bench *bench, const char *transports, int chunk_rows, const struct sy_link *ours,
                             const struct sy_link *mpi);
void sy_report_exchange(struct sy_bench *bench, const struct sy_exchange_cell *cell);

#endif

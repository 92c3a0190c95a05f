/* SPDX-License-Identifier: Apache-2.0
 * bench_exchange_report.c - what bench dispatch found, as a table and as JSON
 */
#include <string.h>

#include "cli/bench_exchange.h"
#include "cli/bench_report.h"

static const char *const direction_names[SY_N_DIRECTIONS] = {"dispatch", "combine"};

static json_t *json_of_link(const struct sy_link *link)
{
    return json_pack("{s:f,s:f}", "half_trip_s", link->half_trip_s, "bytes_per_s", link->rate);
}

void sy_report_exchange_open(struct sy_bench *bench, const char *transports, int chunk_rows, const struct sy_link *ours,
                             const struct sy_link *mpi)
{
    const struct sy_setup *setup = bench->setup;
    const struct sy_settings *s = setup->settings;
    int n_nodes = sy_group_n_nodes(setup->group), row = (int)s->hidden * (strcmp(s->compute, "f32") ? 2 : 4);

    if (setup->rank)
        return;
    printf("hidden %d (rows of %d bytes), %d experts, %d of them for a token, routing %s; %d rank%s on %d node%s\n",
           (int)s->hidden, row, (int)s->experts, (int)s->active, s->routing, setup->n_ranks,
           setup->n_ranks == 1 ? "" : "s", n_nodes, n_nodes == 1 ? "" : "s");
    printf("transports of rank 0: %s; chunks of %d rows\n", transports, chunk_rows);
    if (setup->n_ranks > 1)
        printf("from rank 0 to rank %d: half a round trip %.2f us, rows %.2f GB/s; MPI messages %.2f us, 1 MiB %.2f "
               "GB/s\n",
               setup->n_ranks - 1, ours->half_trip_s * 1e6, ours->rate * 1e-9, mpi->half_trip_s * 1e6,
               mpi->rate * 1e-9);
    printf("\n%7s %-9s %10s %10s %10s %10s %10s %10s %14s %14s  %s\n", "tokens", "", "sent MB", "p50 us", "p99 us",
           "max us", "wire GB/s", "all GB/s", "alltoallv us", "memcpy us", "by");
    fflush(stdout);
    if (!bench->json)
        return;
    json_object_update_new(bench->json,
                           json_pack("{s:i,s:i,s:i,s:s,s:s,s:i,s:i,s:[]}", "hidden", (int)s->hidden, "experts",
                                     (int)s->experts, "active", (int)s->active, "routing", s->routing, "compute",
                                     s->compute, "chunk_rows", chunk_rows, "slots", (int)s->slots, "cells"));
    json_object_set_new(bench->json, "transports", json_string(transports));
    json_object_set_new(bench->json, "link", json_of_link(ours));
    json_object_set_new(bench->json, "mpi_link", json_of_link(mpi));
}

static json_t *json_of_spread(const struct sy_exchange_spread *s)
{
    return json_pack("{s:f,s:f,s:f}", "p50_s", s->p50, "p99_s", s->p99, "max_s", s->max);
}

/* Who moves the rows. */
static const char *by(const struct sy_exchange_cell *cell)
{
    return cell->by_devices ? "devices" : "host";
}

static json_t *json_of_exchange(const struct sy_exchange_cell *cell)
{
    static const char *const way_names[SY_N_WAYS] = {"ours", "alltoallv", "memcpy"};
    json_t *out = json_pack("{s:i,s:i,s:s}", "tokens", cell->n_tokens, "iterations", cell->n_iterations, "by",
                            by(cell));

    for (int d = 0; d < SY_N_DIRECTIONS; d++) {
        json_t *one = json_pack("{s:f}", "row_bytes_sent", cell->row_bytes[d]);
        for (int way = 0; way < SY_N_WAYS; way++)
            json_object_set_new(one, way_names[way], json_of_spread(&cell->spread[way][d]));
        json_object_set_new(out, direction_names[d], one);
    }
    return out;
}

void sy_report_exchange(struct sy_bench *bench, const struct sy_exchange_cell *cell)
{
    const struct sy_settings *s = bench->setup->settings;
    double row = (double)s->hidden * (strcmp(s->compute, "f32") ? 2 : 4);

    if (bench->setup->rank)
        return;
    for (int d = 0; d < SY_N_DIRECTIONS; d++) {
        const struct sy_exchange_spread *ours = &cell->spread[SY_WAY_OURS][d];
        double alltoallv = cell->spread[SY_WAY_ALLTOALLV][d].p50, copy = cell->spread[SY_WAY_MEMCPY][d].p50;
        printf("%7d %-9s %10.3f %10.1f %10.1f %10.1f %10.2f %10.2f %9.1f %3.1fx %9.1f %3.1fx  %s\n", cell->n_tokens,
               direction_names[d], cell->row_bytes[d] * 1e-6, ours->p50 * 1e6, ours->p99 * 1e6, ours->max * 1e6,
               cell->row_bytes[d] / ours->p50 * 1e-9,
               (double)cell->n_tokens * (double)s->active * row / ours->p50 * 1e-9, alltoallv * 1e6,
               alltoallv / ours->p50, copy * 1e6, copy > 0 ? ours->p50 / copy : 0, by(cell));
    }
    fflush(stdout);
    if (bench->json)
        json_array_append_new(json_object_get(bench->json, "cells"), json_of_exchange(cell));
}

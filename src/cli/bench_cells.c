/* SPDX-License-Identifier: Apache-2.0
 * bench_cells.c - what is measured, from the lists of the command line
 */
#include <string.h>

#include "base/amount.h"
#include "cli/bench.h"

#define COUNT_MAX 1000000

/* One item of a list, up to a comma or the end. */
static const char *read_cell(const char *text, struct sy_bench_cell *cell)
{
    int first, second = 0;
    const char *end = sy_amount_read(text, COUNT_MAX, &first);

    if (end && *end == 'x' && cell->kind == SY_BENCH_PREFILL)
        end = sy_amount_read(end + 1, COUNT_MAX, &second);
    if (!end || (*end && *end != ','))
        return NULL;
    cell->n_sequences = second || cell->kind == SY_BENCH_DECODE ? first : 1;
    cell->n_tokens = second ? second : first;
    return end;
}

enum sy_status sy_bench_cells_read(struct sy_bench *bench, enum sy_bench_kind kind, const char *option,
                                   const char *list, struct sy_error *err)
{
    const char *at = strcmp(list, "none") ? list : "";

    while (*at) {
        struct sy_bench_cell cell = {.kind = kind};
        at = read_cell(at, &cell);
        if (!at)
            return sy_error_set(err, SY_ERR_USAGE,
                                "--%s: expected numbers from 1 to %d as in %s, or none, found \"%.200s\"", option,
                                COUNT_MAX, kind == SY_BENCH_PREFILL ? "512,2x256" : "1,8,32", list);
        if (bench->n_cells == SY_BENCH_CELLS_MAX)
            return sy_error_set(err, SY_ERR_USAGE, "--%s: over %d things to measure in all", option,
                                SY_BENCH_CELLS_MAX);
        if (kind == SY_BENCH_DECODE)
            cell.n_tokens = (int)bench->setup->settings->context;
        bench->cells[bench->n_cells++] = cell;
        /* A comma at the end promises another number. */
        at += *at == ',' && at[1];
    }
    return SY_OK;
}

const char *sy_bench_cell_name(const struct sy_bench_cell *cell, char *out, size_t out_bytes)
{
    switch (cell->kind) {
    case SY_BENCH_PREFILL:
        if (cell->n_sequences > 1)
            snprintf(out, out_bytes, "prefill %dx%d", cell->n_sequences, cell->n_tokens);
        else
            snprintf(out, out_bytes, "prefill %d", cell->n_tokens);
        break;
    case SY_BENCH_DECODE:
        snprintf(out, out_bytes, "decode %d", cell->n_sequences);
        break;
    case SY_BENCH_DISPATCH:
        snprintf(out, out_bytes, "dispatch %d", cell->n_tokens);
        break;
    case SY_BENCH_LAYER:
        snprintf(out, out_bytes, "layer %d", cell->n_tokens);
        break;
    }
    return out;
}

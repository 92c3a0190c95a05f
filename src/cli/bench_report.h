/* SPDX-License-Identifier: Apache-2.0
 * bench_report.h - what was measured, as a table on standard output and as a JSON document
 *
 * Called on every rank; rank 0 alone prints and writes.
 */
#ifndef SY_CLI_BENCH_REPORT_H
#define SY_CLI_BENCH_REPORT_H

#include "cli/bench_figures.h"

/* What is measured and on what. The file of --json is tried here, before anything takes long. */
enum sy_status sy_report_open(struct sy_bench *bench, struct sy_error *err);

/* One set of ceilings. */
void sy_report_ceilings(struct sy_bench *bench, const struct sy_bench_ceilings *ceilings, int n_reps);

/* All cells, from the samples. */
void sy_report_cells(struct sy_bench *bench);

/* Write the document. Errors: SY_ERR_IO, SY_ERR_SYSTEM. */
enum sy_status sy_report_close(struct sy_bench *bench, struct sy_error *err);

/* ---- bench_json.c ---- */
json_t *sy_json_of_job(const struct sy_bench *bench);
json_t *sy_json_of_ceilings(const struct sy_bench *bench, const struct sy_bench_ceilings *ceilings, int n_reps,
                            unsigned low);
json_t *sy_json_of_cell(const struct sy_bench *bench, int cell, const struct sy_bench_figures *figures);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * report.h - what is wrong with a description that a person wrote: every error with its place, all in one run
 *
 *   n.yaml:12:7: error: no device 'gpu8' in node type 'dgx'
 *   n.yaml:5:16: note: the nearest is 'gpu7', defined here
 */
#ifndef SY_TOPO_REPORT_H
#define SY_TOPO_REPORT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"

#define SY_REPORT_ERRORS_MAX 20

/* Where something stands. line 0: the file as a whole. */
struct sy_place {
    const char *file;
    int line, column; /* from 1 */
};

struct sy_report;

/* NULL when there is no memory; the calls below accept that and do nothing. */
struct sy_report *sy_report_create(void);
void sy_report_destroy(struct sy_report *report);

/* The first SY_REPORT_ERRORS_MAX errors and as many warnings are kept, each once. */
void sy_report_error(struct sy_report *report, struct sy_place place, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void sy_report_warning(struct sy_report *report, struct sy_place place, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* More about the error or warning before it. */
void sy_report_note(struct sy_report *report, struct sy_place place, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

int sy_report_n_errors(const struct sy_report *report); /* all, those that are not kept too */
int sy_report_n_warnings(const struct sy_report *report);

/* The lines, in the order of the files' reports and of lines in them, appended to out; false when there is no memory. */
bool sy_report_print(const struct sy_report *report, struct sy_buf *out);

/* SY_OK, or with errors SY_ERR_DATA: text is the first line, lines the others, which belong to the report. */
enum sy_status sy_report_status(struct sy_report *report, struct sy_error *err);

#endif

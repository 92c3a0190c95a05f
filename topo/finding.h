/* SPDX-License-Identifier: Apache-2.0
 * finding.h - what is odd about a machine: a list of sentences, each with its weight and where it was seen
 *
 * Discovery and the readers of other programs' files put a finding here when they go on after it; the caller shows all of them.
 * The owner calls sy_findings_fini().
 */
#ifndef SY_TOPO_FINDING_H
#define SY_TOPO_FINDING_H

#include <stdbool.h>
#include <stdio.h>

enum sy_severity { SY_FINDING_NOTE, SY_FINDING_WARNING, SY_FINDING_ERROR };

struct sy_finding {
    enum sy_severity severity;
    char where[300]; /* "FILE:LINE:COLUMN", a host, or "" */
    char text[500];  /* lower case, without a closing period */
};

struct sy_findings {
    int n, n_left_out; /* a file of a million faults is not worth a million lines */
    struct sy_finding *list;
};

#define SY_FINDINGS_INIT \
    {                    \
        0, 0, NULL       \
    }
#define SY_FINDINGS_MAX 200

/* findings may be NULL: nobody wants to know. */
void sy_findings_add(struct sy_findings *findings, enum sy_severity severity, const char *where, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* How many are at least so severe. */
int sy_findings_count(const struct sy_findings *findings, enum sy_severity least);

/* Lines "where: warning: text". */
void sy_findings_print(const struct sy_findings *findings, FILE *out);

void sy_findings_fini(struct sy_findings *findings);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * finding.c - a growing list of what is odd about a machine
 */
#include "finding.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void sy_findings_add(struct sy_findings *findings, enum sy_severity severity, const char *where, const char *fmt, ...)
{
    va_list args;

    if (!findings)
        return;
    if (findings->n == SY_FINDINGS_MAX) {
        findings->n_left_out++;
        return;
    }
    if (findings->n % 16 == 0) {
        struct sy_finding *more = realloc(findings->list, (size_t)(findings->n + 16) * sizeof *more);
        if (!more) {
            findings->n_left_out++;
            return;
        }
        findings->list = more;
    }
    struct sy_finding *f = &findings->list[findings->n++];
    f->severity = severity;
    snprintf(f->where, sizeof f->where, "%s", where ? where : "");
    va_start(args, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, args);
    va_end(args);
}

int sy_findings_count(const struct sy_findings *findings, enum sy_severity least)
{
    int n = 0;

    for (int i = 0; i < findings->n; i++)
        n += findings->list[i].severity >= least;
    return n;
}

void sy_findings_print(const struct sy_findings *findings, FILE *out)
{
    static const char *const names[] = {"note", "warning", "error"};

    for (int i = 0; i < findings->n; i++) {
        const struct sy_finding *f = &findings->list[i];
        fprintf(out, "%s%s%s: %s\n", f->where, f->where[0] ? ": " : "", names[f->severity], f->text);
    }
    if (findings->n_left_out)
        fprintf(out, "note: %d more are left out\n", findings->n_left_out);
}

void sy_findings_fini(struct sy_findings *findings)
{
    free(findings->list);
    *findings = (struct sy_findings)SY_FINDINGS_INIT;
}

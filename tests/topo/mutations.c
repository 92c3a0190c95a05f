/* SPDX-License-Identifier: Apache-2.0
 * mutations.c - the examples with random typing errors: each is accepted, or refused with its line
 *
 * What is wrong may show only where it is used; then a note has the line. For a line that is missing it is enough that something
 * has a place (where it is used), since what is missing has none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cluster.h"
#include "tap.h"
#include "testrand.h"

#define N_MUTANTS 60 /* of each of five files */

/* A text in lines, of which one is changed. */
struct mutant {
    char *text;
    int line; /* from 1 */
    bool deleted;
    char what[200];
};

static const char *line_at(const char *text, int line)
{
    for (int i = 1; i < line; i++)
        text = strchr(text, '\n') + 1;
    return text;
}

/* What a hand that slips may do to a line of n bytes; the new line is in out. */
static void slip(struct testrand *rand, const char *line, int n, char *out, size_t bytes)
{
    static const char keys[] = "abcxyz0159 {}[],:-\"'#&*!%./";
    int at = (int)(testrand_next(rand) % (unsigned)n);

    switch (testrand_next(rand) % 4) {
    case 0: /* a letter is missing */
        snprintf(out, bytes, "%.*s%.*s", at, line, n - at - 1, line + at + 1);
        break;
    case 1: /* is another one */
        snprintf(out, bytes, "%.*s%c%.*s", at, line, keys[testrand_next(rand) % (sizeof keys - 1)], n - at - 1,
                 line + at + 1);
        break;
    case 2: /* is one too many */
        snprintf(out, bytes, "%.*s%c%.*s", at, line, keys[testrand_next(rand) % (sizeof keys - 1)], n - at, line + at);
        break;
    default: /* two are exchanged */
        at = at + 1 < n ? at : n > 1 ? n - 2 : 0;
        snprintf(out, bytes, "%.*s%c%c%.*s", at, line, line[at + (n > 1)], line[at], n - at - 1 - (n > 1),
                 line + at + 1 + (n > 1));
        break;
    }
}

static struct mutant mutate(struct testrand *rand, const char *text)
{
    struct mutant m = {0};
    int n_lines = 0;
    char edit[500] = "";

    for (const char *c = text; *c; c++)
        n_lines += *c == '\n';
    /* A comment may be anything: not the first two lines. */
    m.line = 3 + (int)(testrand_next(rand) % (unsigned)(n_lines - 2));
    const char *line = line_at(text, m.line);
    int n = (int)strcspn(line, "\n");
    m.deleted = testrand_next(rand) % 6 == 0 || !n;
    if (!m.deleted)
        slip(rand, line, n, edit, sizeof edit);
    if (asprintf(&m.text, "%.*s%s%s", (int)(line - text), text, edit, m.deleted ? line + n + 1 : line + n) < 0)
        bail("no memory");
    /* A comment sign takes away what it stands before. */
    m.deleted |= strchr(edit, '#') != NULL;
    snprintf(m.what, sizeof m.what, "line %d %s '%.150s'", m.line, m.deleted ? "without" : "as",
             m.deleted ? line : edit);
    m.what[strcspn(m.what, "\n")] = '\0';
    return m;
}

/* Does a report name this line of the file? */
static bool names_line(const char *said, const char *file, int line)
{
    char place[4200];
    size_t n = (size_t)snprintf(place, sizeof place, "%s:%d:", file, line);

    for (const char *at = said; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        if (!strncmp(at, place, n))
            return true;
    return false;
}

/* Does each line begin with a place, "FILE:LINE:COLUMN: ", but for one that counts what is not shown? */
static bool all_placed(const char *said)
{
    const char *next;

    for (const char *at = said; *at; at = next) {
        const char *colon = strchr(at, ':');
        int line, column, n = 0;
        next = at + strcspn(at, "\n");
        next += *next != 0;
        bool placed = colon && sscanf(colon, ":%d:%d: %n", &line, &column, &n) == 2 && n && line > 0 && column > 0;
        if (!placed && !strstr(at, " more error"))
            return false;
    }
    return *said;
}

static bool check(struct testrand *rand, const char *path, const char *text)
{
    struct mutant m = mutate(rand, text);
    struct sy_report *report = sy_report_create();
    struct sy_buf said = SY_BUF_INIT;
    struct sy_cluster *c = sy_cluster_read_text(path, m.text, strlen(m.text), report);

    if (c)
        sy_cluster_check(c, report);
    sy_report_print(report, &said);
    bool held = !sy_report_n_errors(report);
    if (!held)
        held = all_placed((char *)said.data) && (m.deleted || names_line((char *)said.data, path, m.line));
    if (!held)
        diag("%s: %s: %s", strrchr(path, '/'), m.what, said.len ? (char *)said.data : "nothing said");
    sy_cluster_destroy(c);
    sy_report_destroy(report);
    sy_buf_fini(&said);
    free(m.text);
    return held;
}

int main(void)
{
    static const char *const names[] = {"laptop", "dgx-h100", "h200-4x8", "gb200-nvl72", "cpu-eth-16"};
    const char *top = getenv("SY_SRCDIR");
    struct testrand rand = testrand_begin();
    int n = getenv("SY_VALGRIND") ? 5 : N_MUTANTS;

    plan(5);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sy_buf text = SY_BUF_INIT;
        struct sy_error err = SY_ERROR_INIT;
        char path[4000];
        int held = 0;
        snprintf(path, sizeof path, "%s/topo/clusters/%s.yaml", top ? top : ".", names[i]);
        if (sy_file_read(path, 1 << 20, &text, &err) != SY_OK || !sy_buf_append(&text, "", 1))
            bail("%s", err.text);
        for (int k = 0; k < n; k++)
            held += check(&rand, path, (const char *)text.data);
        is_int(held, n, "%d mutants of %s", n, names[i]);
        sy_buf_fini(&text);
    }
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * tap.c - TAP output
 */
#include "tap.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RANKS_MAX 256

static int n_planned = -1, n_run, n_failed;
static int tap_rank, tap_n_ranks = 1;
static void (*tap_gather)(int mine, int *all);

void plan(int n)
{
    n_planned = n;
    if (tap_rank == 0)
        printf("1..%d\n", n);
    fflush(stdout);
}

void done(void)
{
    plan(n_run);
}

void skip_all(const char *why, ...)
{
    char text[512];
    va_list ap;

    va_start(ap, why);
    vsnprintf(text, sizeof text, why, ap);
    va_end(ap);
    if (tap_rank == 0)
        printf("1..0 # SKIP %s\n", text);
    fflush(stdout);
    exit(0);
}

/* A failure with a directive is a known one. */
static void line(bool held, const char *name, const char *directive)
{
    n_run++;
    n_failed += !held && !*directive;
    if (tap_rank == 0)
        printf("%sok %d - %s%s\n", held ? "" : "not ", n_run, name, directive);
    fflush(stdout);
}

#define FORMAT_NAME()                                                                                                  \
    char text[512];                                                                                                    \
    va_list ap;                                                                                                        \
    va_start(ap, name);                                                                                                \
    vsnprintf(text, sizeof text, name, ap);                                                                            \
    va_end(ap)

void skip(const char *name, ...)
{
    FORMAT_NAME();
    char directive[600];
    snprintf(directive, sizeof directive, " # SKIP %s", text);
    line(true, "skipped", directive);
}

bool ok(bool condition, const char *name, ...)
{
    FORMAT_NAME();
    line(condition, text, "");
    return condition;
}

bool is_int(int64_t found, int64_t expected, const char *name, ...)
{
    FORMAT_NAME();
    line(found == expected, text, "");
    if (found != expected)
        diag("found %lld, expected %lld", (long long)found, (long long)expected);
    return found == expected;
}

bool is_str(const char *found, const char *expected, const char *name, ...)
{
    FORMAT_NAME();
    bool held = found && expected ? strcmp(found, expected) == 0 : found == expected;
    line(held, text, "");
    if (!held)
        diag("found \"%s\", expected \"%s\"", found ? found : "(null)", expected ? expected : "(null)");
    return held;
}

bool has_str(const char *found, const char *part, const char *name, ...)
{
    FORMAT_NAME();
    bool held = found && strstr(found, part);
    line(held, text, "");
    if (!held)
        diag("found \"%s\", expected it to contain \"%s\"", found ? found : "(null)", part);
    return held;
}

bool is_close(double found, double expected, double atol, double rtol, const char *name, ...)
{
    FORMAT_NAME();
    bool held = fabs(found - expected) <= atol + rtol * fabs(expected);
    line(held, text, "");
    if (!held)
        diag("found %.9g, expected %.9g (off by %.3g)", found, expected, fabs(found - expected));
    return held;
}

void diag(const char *fmt, ...)
{
    char text[2048];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    for (char *at = text, *next; at && *at; at = next) {
        next = strchr(at, '\n');
        if (next)
            *next++ = 0;
        fprintf(tap_rank ? stderr : stdout, "# %s\n", at);
    }
    fflush(stdout);
}

void bail(const char *fmt, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    printf("Bail out! %s\n", text);
    fflush(stdout);
    exit(1);
}

int tap_exit(void)
{
    if (n_planned >= 0 && n_run != n_planned && tap_rank == 0)
        printf("# ran %d checks, planned %d\n", n_run, n_planned);
    fflush(stdout);
    return n_failed || (n_planned >= 0 && n_run != n_planned) ? 1 : 0;
}

void tap_ranks(int rank, int n_ranks, void (*gather)(int mine, int *all))
{
    if (n_ranks > RANKS_MAX)
        bail("%d ranks, at most %d", n_ranks, RANKS_MAX);
    tap_rank = rank;
    tap_n_ranks = n_ranks;
    tap_gather = gather;
    if (rank)
        dup2(STDERR_FILENO, STDOUT_FILENO);
}

bool ok_all(bool condition, const char *name, ...)
{
    FORMAT_NAME();
    int all[RANKS_MAX] = {0};
    char failing[RANKS_MAX * 5] = "";
    bool held = true;

    if (!tap_gather)
        bail("ok_all() before tap_ranks()");
    tap_gather(condition, all);
    for (int r = 0; r < tap_n_ranks; r++) {
        if (!all[r]) {
            size_t len = strlen(failing);
            snprintf(failing + len, sizeof failing - len, " %d", r);
            held = false;
        }
    }
    line(held, text, "");
    if (!held && tap_rank == 0)
        diag("failing ranks:%s", failing);
    return held;
}

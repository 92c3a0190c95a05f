/* SPDX-License-Identifier: Apache-2.0
 * range.c - brackets to names and back
 */
#include "range.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BRACKETS_MAX 4

/* A number of a bracket with the digits it is written with. */
struct numbers {
    long *values;
    int *widths;
    int n, room;
};

struct pattern {
    const char *plain[BRACKETS_MAX + 1]; /* text before each bracket and after the last */
    size_t plain_bytes[BRACKETS_MAX + 1];
    struct numbers brackets[BRACKETS_MAX];
    int n_brackets;
};

struct scan {
    const char *text, *at;
    char *why;
    size_t why_bytes;
};

static bool refuse(struct scan *s, const char *what)
{
    snprintf(s->why, s->why_bytes, "bad range '%.80s': %s", s->text, what);
    return false;
}

static bool add(struct numbers *list, long value, int width)
{
    if (list->n == list->room) {
        int room = list->room ? 2 * list->room : 16;
        long *values = realloc(list->values, (size_t)room * sizeof *values);
        if (values)
            list->values = values;
        int *widths = realloc(list->widths, (size_t)room * sizeof *widths);
        if (widths)
            list->widths = widths;
        if (!values || !widths)
            return false;
        list->room = room;
    }
    list->values[list->n] = value;
    list->widths[list->n++] = width;
    return true;
}

static bool digits(struct scan *s, long *value, int *width)
{
    size_t n = strspn(s->at, "0123456789");

    if (!n)
        return refuse(s, *s->at ? "expected a number" : "a bracket is not closed");
    if (n > 9)
        return refuse(s, "more than 9 digits");
    *value = strtol(s->at, NULL, 10);
    *width = (int)n;
    s->at += n;
    return true;
}

/* After '[' up to and with ']'. */
static bool bracket(struct scan *s, struct numbers *list)
{
    for (;;) {
        long first, last;
        int width, width_last;
        const char *begin = s->at;
        if (!digits(s, &first, &width))
            return false;
        last = first;
        if (*s->at == '-') {
            s->at++;
            if (!digits(s, &last, &width_last))
                return false;
            bool zeros = (begin[0] == '0' && width > 1) || (s->at[-width_last] == '0' && width_last > 1);
            if (last < first) {
                s->at = begin;
                return refuse(s, "it runs backwards");
            }
            if (zeros && width != width_last) {
                s->at = begin;
                return refuse(s, "both ends of a span need the same number of digits when one begins with 0");
            }
            if (!zeros)
                width = 0;
        } else if (!(begin[0] == '0' && width > 1)) {
            width = 0;
        }
        if (last - first >= SY_RANGE_NAMES_MAX || list->n + (last - first) >= SY_RANGE_NAMES_MAX) {
            s->at = begin;
            return refuse(s, "too many names");
        }
        for (long i = first; i <= last; i++)
            if (!add(list, i, width))
                return refuse(s, "there is no memory");
        if (*s->at == ',') {
            s->at++;
            continue;
        }
        if (*s->at != ']')
            return refuse(s, *s->at ? "expected ',', '-' or ']'" : "a bracket is not closed");
        s->at++;
        return true;
    }
}

static bool scan(struct scan *s, struct pattern *p)
{
    p->plain[0] = s->at;
    while (*s->at) {
        if (*s->at == ']')
            return refuse(s, "']' without '['");
        if (*s->at != '[') {
            p->plain_bytes[p->n_brackets]++;
            s->at++;
            continue;
        }
        if (p->n_brackets == BRACKETS_MAX)
            return refuse(s, "more than 4 brackets");
        s->at++;
        if (!bracket(s, &p->brackets[p->n_brackets]))
            return false;
        p->plain[++p->n_brackets] = s->at;
    }
    return true;
}

/* Name number i: the last bracket turns fastest. */
static int write_name(const struct pattern *p, long i, char *out, size_t bytes)
{
    long which[BRACKETS_MAX];
    size_t at = 0;

    for (int b = p->n_brackets; b-- > 0;) {
        which[b] = i % p->brackets[b].n;
        i /= p->brackets[b].n;
    }
    for (int b = 0; b <= p->n_brackets; b++) {
        int n = snprintf(out + at, bytes - at, "%.*s", (int)p->plain_bytes[b], p->plain[b]);
        if (b < p->n_brackets && n >= 0 && (size_t)n < bytes - at) {
            at += (size_t)n;
            n = snprintf(out + at, bytes - at, "%0*ld", p->brackets[b].widths[which[b]],
                         p->brackets[b].values[which[b]]);
        }
        if (n < 0 || (size_t)n >= bytes - at)
            return -1;
        at += (size_t)n;
    }
    return (int)at;
}

static bool expand(struct scan *s, const struct pattern *p, struct sy_range *range)
{
    int64_t n = 1;
    size_t used = 0, plain = 0;

    for (int b = 0; b < p->n_brackets; b++) {
        n *= p->brackets[b].n;
        if (n > SY_RANGE_NAMES_MAX)
            return refuse(s, "too many names");
    }
    for (int b = 0; b <= p->n_brackets; b++)
        plain += p->plain_bytes[b];
    size_t each = plain + 11 * (size_t)p->n_brackets + 1;
    if (each > SY_RANGE_BYTES_MAX || (uint64_t)n * each > (64u << 20))
        return refuse(s, "the names are too long");
    range->names = malloc((size_t)n * sizeof *range->names);
    range->bytes = malloc((size_t)n * each);
    if (!range->names || !range->bytes)
        return refuse(s, "there is no memory");
    for (int64_t i = 0; i < n; i++) {
        range->names[i] = range->bytes + used;
        int length = write_name(p, (long)i, range->bytes + used, each);
        if (length < 0)
            return refuse(s, "the names are too long");
        used += (size_t)length + 1;
    }
    range->n = (int)n;
    return true;
}

bool sy_range_expand(const char *text, struct sy_range *range, char *why, size_t why_bytes, size_t *at)
{
    struct scan s = {.text = text, .at = text, .why = why, .why_bytes = why_bytes};
    struct pattern p = {0};

    *range = (struct sy_range){0};
    bool held = scan(&s, &p) && expand(&s, &p, range);
    if (at)
        *at = (size_t)(s.at - text);
    for (int b = 0; b < BRACKETS_MAX; b++) {
        free(p.brackets[b].values);
        free(p.brackets[b].widths);
    }
    if (!held)
        sy_range_fini(range);
    return held;
}

void sy_range_fini(struct sy_range *range)
{
    free(range->names);
    free(range->bytes);
    *range = (struct sy_range){0};
}

/* A group of names: what stands before and after their number, and its digits where they are fixed (0: they are not). */
struct group {
    size_t before, after;
    int width;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The number of a name of the group; false: it is not one of it. */
static bool number_of(const struct group *g, const char *first, const char *name, long *number)
{
    size_t n = strlen(name), n_first = strlen(first), digits = n - g->before - g->after;

    if (n <= g->before + g->after || digits > 9 || strncmp(name, first, g->before) != 0 ||
        strcmp(name + n - g->after, first + n_first - g->after) != 0 || strspn(name + g->before, "0123456789") < digits)
        return false;
    bool zero = name[g->before] == '0' && digits > 1;
    if (g->width ? (int)digits != g->width : zero)
        return false;
    *number = strtol(name + g->before, NULL, 10);
    return true;
}

/* What two neighbours have in common, if they differ in one number only. */
static bool form_group(const char *a, const char *b, struct group *g)
{
    size_t n = strlen(a), m = strlen(b), before = 0, after = 0;
    long number;

    while (before < n && before < m && a[before] == b[before])
        before++;
    while (after < n - before && after < m - before && a[n - 1 - after] == b[m - 1 - after])
        after++;
    while (before && is_digit(a[before - 1]))
        before--;
    while (after && is_digit(a[n - after]))
        after--;
    *g = (struct group){.before = before, .after = after};
    /* A text may be a range itself: its brackets stay whole. */
    const char *open = memrchr(a, '[', before);
    if (open && !memchr(open, ']', before - (size_t)(open - a)))
        return false;
    if (n <= before + after || m <= before + after)
        return false;
    bool zero = (a[before] == '0' && n - before - after > 1) || (b[before] == '0' && m - before - after > 1);
    g->width = zero ? (int)(n - before - after) : 0;
    return number_of(g, a, a, &number) && number_of(g, a, b, &number);
}

static bool write_group(const struct group *g, const char *const *names, int n, struct sy_buf *text)
{
    const char *first = names[0];
    bool held = sy_buf_printf(text, "%.*s[", (int)g->before, first);

    for (int i = 0; i < n && held;) {
        long begin = 0, end = 0, next;
        int k = i + 1;
        number_of(g, first, names[i], &begin);
        for (end = begin; k < n && number_of(g, first, names[k], &next) && next == end + 1; k++)
            end = next;
        held = sy_buf_printf(text, "%s%0*ld", i ? "," : "", g->width, begin);
        if (held && end > begin)
            held = sy_buf_printf(text, "-%0*ld", g->width, end);
        i = k;
    }
    return held && sy_buf_printf(text, "]%s", first + strlen(first) - g->after);
}

bool sy_range_fold(const char *const *names, int n, bool (*each)(void *arg, const char *text), void *arg)
{
    struct sy_buf text = SY_BUF_INIT;
    bool held = true;

    for (int i = 0; i < n && held;) {
        struct group g;
        int k = i + 1;
        long number;
        if (k == n || !form_group(names[i], names[k], &g)) {
            held = each(arg, names[i++]);
            continue;
        }
        while (k < n && k - i < SY_RANGE_NAMES_MAX / 2 && number_of(&g, names[i], names[k], &number))
            k++;
        text.len = 0;
        held = write_group(&g, names + i, k - i, &text) && each(arg, (const char *)text.data);
        i = k;
    }
    sy_buf_fini(&text);
    return held;
}

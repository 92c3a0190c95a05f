/* SPDX-License-Identifier: Apache-2.0
 * nfc.c - form C by utf8proc, where the text is not already in it
 *
 * Source: Unicode Standard Annex 15, sections 9 (quick check) and 1.2 (canonical ordering, composition). utf8proc gives
 * the decomposition of a character and composes an ordered run. The ordering is done here: utf8proc's own exchanges
 * neighbours, which is quadratic in the length of a run of marks.
 */
#include "model/nfc.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

/* No character from here on has a decomposition or takes part in a composition. */
#define POINTS_END     0x30000
#define DECOMPOSED_MAX 32

/* Bit c of STABLE: c is its own form C, has combining class 0 and never composes with what is before it; so text can be
 * cut before c, and form C of the halves is form C of the whole. Filled once. */
static uint64_t stable_bits[POINTS_END / 64];
static pthread_once_t stable_once = PTHREAD_ONCE_INIT;

static void clear_stable(utf8proc_int32_t c)
{
    if (c >= 0 && c < POINTS_END)
        stable_bits[c / 64] &= ~(1ull << (c % 64));
}

static int decompose(utf8proc_int32_t c, utf8proc_int32_t out[DECOMPOSED_MAX])
{
    int boundary = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char(c, out, DECOMPOSED_MAX, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
                                                 &boundary);

    if (n >= 1 && n <= DECOMPOSED_MAX)
        return (int)n;
    out[0] = c;
    return 1;
}

/* Canonical combining class, 0 to 254. */
static unsigned mark_class(utf8proc_int32_t c)
{
    return utf8proc_get_property(c)->combining_class & 0xff;
}

static void fill_stable(void)
{
    utf8proc_int32_t parts[DECOMPOSED_MAX];

    memset(stable_bits, 0xff, sizeof stable_bits);
    for (utf8proc_int32_t c = 0x80; c < POINTS_END; c++) {
        if (c >= 0xd800 && c < 0xe000)
            continue;
        int n = decompose(c, parts);
        if (mark_class(c))
            clear_stable(c);
        if (n == 1 && parts[0] == c)
            continue;
        /* What stands after the first place of a decomposition may compose with what is before it. */
        for (int i = 1; i < n; i++)
            clear_stable(parts[i]);
        if (utf8proc_normalize_utf32(parts, n, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1 || parts[0] != c)
            clear_stable(c);
    }
}

static inline int is_stable(uint32_t c)
{
    if (c < POINTS_END)
        return (int)(stable_bits[c / 64] >> (c % 64) & 1);
    return mark_class((utf8proc_int32_t)c) == 0;
}

size_t sy_nfc_prefix(const uint8_t *text, size_t len)
{
    size_t last = 0; /* where the last stable character begins: it may compose with an unstable one after it */

    pthread_once(&stable_once, fill_stable);
    for (size_t i = 0; i < len;) {
        uint64_t word;
        if (len - i >= sizeof word && (memcpy(&word, text + i, sizeof word), !(word & 0x8080808080808080u))) {
            i += sizeof word;
            last = i - 1;
            continue;
        }
        uint32_t c;
        int n = sy_utf8_get(text + i, &c);
        if (!is_stable(c))
            return last;
        last = i;
        i += (size_t)n;
    }
    return len;
}

/* Length of the run that begins at text: everything up to the next stable character after the first. */
static size_t unstable_run(const uint8_t *text, size_t len)
{
    uint32_t c;
    size_t i = (size_t)sy_utf8_get(text, &c);

    while (i < len) {
        int n = sy_utf8_get(text + i, &c);
        if (is_stable(c))
            break;
        i += (size_t)n;
    }
    return i;
}

/* Sort each run of characters with a combining class other than 0 by that class, keeping the order of equals. */
static int order_marks(utf8proc_int32_t *c, size_t n)
{
    utf8proc_int32_t *sorted = NULL;

    for (size_t i = 0, end; i < n; i = end + 1) {
        for (end = i; end < n && mark_class(c[end]);)
            end++;
        if (end - i < 2)
            continue;
        if (!sorted && !(sorted = malloc(n * sizeof *sorted)))
            return -1;
        size_t at[257] = {0};
        for (size_t k = i; k < end; k++)
            at[mark_class(c[k]) + 1]++;
        for (int k = 1; k < 257; k++)
            at[k] += at[k - 1];
        for (size_t k = i; k < end; k++)
            sorted[at[mark_class(c[k])]++] = c[k];
        memcpy(c + i, sorted, (end - i) * sizeof *c);
    }
    free(sorted);
    return 0;
}

static int append_run(const uint8_t *text, size_t len, struct sy_buf *points, struct sy_buf *out)
{
    points->len = 0;
    for (size_t i = 0; i < len;) {
        utf8proc_int32_t parts[DECOMPOSED_MAX];
        uint32_t c;
        i += (size_t)sy_utf8_get(text + i, &c);
        int n = decompose((utf8proc_int32_t)c, parts);
        if (!sy_buf_append(points, parts, (size_t)n * sizeof *parts))
            return -1;
    }
    utf8proc_int32_t *c = (utf8proc_int32_t *)(void *)points->data;
    size_t n = points->len / sizeof *c;
    if (order_marks(c, n))
        return -1;
    utf8proc_ssize_t left = utf8proc_normalize_utf32(c, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < left; i++) {
        uint8_t bytes[4];
        int k = sy_utf8_put((uint32_t)c[i], bytes);
        if (!sy_buf_append(out, bytes, (size_t)k))
            return -1;
    }
    return left < 0 ? -1 : 0;
}

int sy_nfc_append(const uint8_t *text, size_t len, struct sy_buf *out)
{
    struct sy_buf points = SY_BUF_INIT;
    size_t i = 0;
    int rc = 0;

    while (i < len && !rc) {
        size_t same = sy_nfc_prefix(text + i, len - i);
        if (!sy_buf_append(out, text + i, same))
            rc = -1;
        i += same;
        if (i < len && !rc) {
            size_t run = unstable_run(text + i, len - i);
            rc = append_run(text + i, run, &points, out);
            i += run;
        }
    }
    sy_buf_fini(&points);
    return rc;
}

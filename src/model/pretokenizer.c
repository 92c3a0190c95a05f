/* SPDX-License-Identifier: Apache-2.0
 * pretokenizer.c - cutting text by patterns
 */
#include "model/pretokenizer.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "model/pretokenizer_impl.h"

#define JIT_STACK_BYTES_MAX ((size_t)8 << 20)
#define HEAP_KIB_MAX        65536 /* of the interpreter, when there is no JIT */

/* Backtracking steps a match may take from one place: what an honest pattern needs is a small multiple of the piece. */
#define STEPS_BASE     20000
#define STEPS_PER_BYTE 16

/* A match is looked for at this many places at a time, so that the clock can be read in between. With JIT that costs
 * nothing. The interpreter scans ahead past the places it may begin at, so without JIT their number doubles each time. */
#define PLACES      256
#define CLOCK_EVERY 8 /* times */

/* Time for one text: twice this at most, see out_of_time(). Honest patterns take under 0.2 us for a byte, even without
 * JIT. */
#define TIME_BASE_NS     INT64_C(2500000000)
#define TIME_PER_BYTE_NS 10000

struct sy_pretokenizer_scratch {
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *jit_stack;
    struct sy_buf prefixed;
    int64_t begin_ns, limit_ns; /* of this text */
    int64_t late_cpu_ns;        /* processor time when the clock on the wall had passed the limit; -1: it has not */
    unsigned n_windows;
    size_t steps, last; /* limits that are set in context; 0 and SIZE_MAX at the begin: none */
};

struct sy_pretokenizer_scratch *sy_pretokenizer_scratch_create(void)
{
    struct sy_pretokenizer_scratch *scratch = calloc(1, sizeof *scratch);

    if (!scratch)
        return NULL;
    scratch->match = pcre2_match_data_create(1, NULL);
    scratch->context = pcre2_match_context_create(NULL);
    if (!scratch->match || !scratch->context) {
        sy_pretokenizer_scratch_destroy(scratch);
        return NULL;
    }
    scratch->last = SIZE_MAX;
    pcre2_set_heap_limit(scratch->context, HEAP_KIB_MAX);
    /* NULL when PCRE2 has no JIT. */
    scratch->jit_stack = pcre2_jit_stack_create((size_t)64 << 10, JIT_STACK_BYTES_MAX, NULL);
    if (scratch->jit_stack)
        pcre2_jit_stack_assign(scratch->context, NULL, scratch->jit_stack);
    return scratch;
}

void sy_pretokenizer_scratch_destroy(struct sy_pretokenizer_scratch *scratch)
{
    if (!scratch)
        return;
    pcre2_jit_stack_free(scratch->jit_stack);
    pcre2_match_context_free(scratch->context);
    pcre2_match_data_free(scratch->match);
    sy_buf_fini(&scratch->prefixed);
    free(scratch);
}

struct cut {
    const struct sy_pretokenizer *pt;
    struct sy_pretokenizer_scratch *scratch;
    sy_piece_fn fn;
    void *arg;
    struct sy_error *err;
};

/* Neighbouring segments on their way to becoming one piece. */
struct run {
    size_t begin, end;
    bool open, last_is_match;
};

static enum sy_status cut(const struct cut *c, int s, const uint8_t *text, size_t len);

static enum sy_status close_run(const struct cut *c, int s, const uint8_t *text, struct run *run)
{
    if (!run->open)
        return SY_OK;
    run->open = false;
    return cut(c, s + 1, text + run->begin, run->end - run->begin);
}

/* The next segment of a piece; segments come in order and leave no gap. Empty ones (of patterns that match nothing) count
 * as neighbours but make no piece. */
static enum sy_status segment(const struct cut *c, int s, const uint8_t *text, size_t begin, size_t end, bool is_match,
                              struct run *run)
{
    const struct sy_pretokenizer_stage *stage = &c->pt->stages[s];
    bool join = false;

    is_match ^= stage->invert;
    switch (stage->behavior) {
    case SY_SPLIT_REMOVED:
        return is_match ? SY_OK : cut(c, s + 1, text + begin, end - begin);
    case SY_SPLIT_ISOLATED:
        return cut(c, s + 1, text + begin, end - begin);
    case SY_SPLIT_MERGED_WITH_PREVIOUS:
        join = is_match && !run->last_is_match;
        break;
    case SY_SPLIT_MERGED_WITH_NEXT:
        join = !is_match && run->last_is_match;
        break;
    case SY_SPLIT_CONTIGUOUS:
        join = is_match == run->last_is_match;
        break;
    }
    run->last_is_match = is_match;
    if (join && run->open) {
        run->end = end;
        return SY_OK;
    }
    enum sy_status st = close_run(c, s, text, run);
    run->begin = begin;
    run->end = end;
    run->open = true;
    return st;
}

static int64_t cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The clock on the wall is cheap to read, but the process may have been stopped: once it has passed the limit, the
 * thread's own clock gets the limit again. That one takes a system call, too much for every short text. */
static bool out_of_time(struct sy_pretokenizer_scratch *scratch)
{
    if (sy_clock_ns() - scratch->begin_ns <= scratch->limit_ns)
        return false;
    if (scratch->late_cpu_ns < 0)
        scratch->late_cpu_ns = cpu_ns();
    return cpu_ns() - scratch->late_cpu_ns > scratch->limit_ns;
}

/* The first match that begins at a place from at to last. Returns PCRE2's code. */
static int find_within(const struct cut *c, const struct sy_pretokenizer_stage *stage, const uint8_t *text, size_t len,
                       size_t at, size_t last)
{
    struct sy_pretokenizer_scratch *scratch = c->scratch;
    size_t steps = STEPS_BASE + STEPS_PER_BYTE * len;
    int rc = PCRE2_ERROR_JIT_STACKLIMIT;

    if (scratch->steps != steps) {
        scratch->steps = steps;
        pcre2_set_match_limit(scratch->context, steps < UINT32_MAX ? (uint32_t)steps : UINT32_MAX);
    }
    if (scratch->last != last) {
        scratch->last = last;
        pcre2_set_offset_limit(scratch->context, last);
    }
    if (stage->jit)
        rc = pcre2_jit_match(stage->code, text, len, at, PCRE2_NO_UTF_CHECK, scratch->match, scratch->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(stage->code, text, len, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch->match,
                         scratch->context);
    return rc;
}

/* The first match at or after at. *last, 0 at the begin of a text, is where the places end that are looked at before the
 * clock is read again: it is moved on when at has reached it. */
static int find(const struct cut *c, const struct sy_pretokenizer_stage *stage, const uint8_t *text, size_t len,
                size_t at, size_t *last)
{
    for (size_t places = PLACES;; places *= stage->jit ? 1 : 2) {
        if (at >= *last) {
            if ((++c->scratch->n_windows % CLOCK_EVERY == 0 || places > PLACES) && out_of_time(c->scratch))
                return PCRE2_ERROR_MATCHLIMIT;
            *last = len - at > places ? at + places : len;
            while (*last < len && (text[*last] & 0xc0) == 0x80)
                ++*last;
        }
        int rc = find_within(c, stage, text, len, at, *last);
        if (rc != PCRE2_ERROR_NOMATCH || *last == len)
            return rc;
        at = *last;
    }
}

static enum sy_status cut_by_pattern(const struct cut *c, int s, const uint8_t *text, size_t len)
{
    const struct sy_pretokenizer_stage *stage = &c->pt->stages[s];
    const size_t *ovector = pcre2_get_ovector_pointer(c->scratch->match);
    size_t at = 0, last = 0, done = 0; /* where to search, and up to where the text is handed on */
    bool matched = false;
    struct run run = {0};
    enum sy_status st = SY_OK;

    while (!st && at <= len) {
        int rc = find(c, stage, text, len, at, &last);
        if (rc == PCRE2_ERROR_NOMATCH)
            break;
        size_t begin = ovector[0], end = ovector[1];
        if (rc < 0 || begin > end || begin < done || end > len) {
            char why[160] = "it ends before it begins";
            if (rc < 0)
                pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
            return sy_error_set(c->err, SY_ERR_DATA, "%s: the pattern fails on a text of %zu bytes: %s", stage->where,
                                len, why);
        }
        if (begin == end && matched && end == done) {
            /* An empty match right after a match is none, as in the reference: look again one character on. */
            uint32_t cp;
            at = end < len ? end + (size_t)sy_utf8_get(text + end, &cp) : len + 1;
            continue;
        }
        if (begin > done)
            st = segment(c, s, text, done, begin, false, &run);
        if (!st)
            st = segment(c, s, text, begin, end, true, &run);
        at = done = end;
        matched = true;
    }
    if (!st && done < len)
        st = segment(c, s, text, done, len, false, &run);
    return st ? st : close_run(c, s, text, &run);
}

static enum sy_status cut(const struct cut *c, int s, const uint8_t *text, size_t len)
{
    bool last = s == c->pt->n_stages;

    if (!len)
        return SY_OK;
    /* One buffer is enough: only the last stage has a prefix. */
    if ((last ? c->pt->prefix_space : c->pt->stages[s].prefix_space) && text[0] != ' ') {
        struct sy_buf *prefixed = &c->scratch->prefixed;
        prefixed->len = 0;
        if (!sy_buf_append(prefixed, " ", 1) || !sy_buf_append(prefixed, text, len))
            return sy_error_set(c->err, SY_ERR_SYSTEM, "no memory for a text of %zu bytes", len);
        text = prefixed->data;
        len = prefixed->len;
    }
    return last ? c->fn(c->arg, text, len, c->err) : cut_by_pattern(c, s, text, len);
}

/* Write Metaspace's character for each space, and before the text. No stage of a Metaspace has a prefix, so the buffer is
 * free. */
static bool write_metaspaces(const struct sy_pretokenizer *pt, struct sy_buf *out, const uint8_t *text, size_t len,
                             bool at_begin)
{
    const uint8_t *end = text + len, *space;
    size_t n = strlen(pt->metaspace);
    bool prepend = pt->prepend == SY_PREPEND_ALWAYS || (pt->prepend == SY_PREPEND_FIRST && at_begin);

    out->len = 0;
    if (prepend && text[0] != ' ' && (len < n || memcmp(text, pt->metaspace, n)) &&
        !sy_buf_append(out, pt->metaspace, n))
        return false;
    for (; (space = memchr(text, ' ', (size_t)(end - text))); text = space + 1) {
        if (!sy_buf_append(out, text, (size_t)(space - text)) || !sy_buf_append(out, pt->metaspace, n))
            return false;
    }
    return sy_buf_append(out, text, (size_t)(end - text));
}

enum sy_status sy_pretokenizer_split(const struct sy_pretokenizer *pt, struct sy_pretokenizer_scratch *scratch,
                                     const uint8_t *text, size_t len, bool at_begin, sy_piece_fn fn, void *arg,
                                     struct sy_error *err)
{
    const struct cut c = {.pt = pt, .scratch = scratch, .fn = fn, .arg = arg, .err = err};

    if (pt->metaspace[0] && len) {
        if (!write_metaspaces(pt, &scratch->prefixed, text, len, at_begin))
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a text of %zu bytes", len);
        text = scratch->prefixed.data;
        len = scratch->prefixed.len;
    }

    scratch->begin_ns = sy_clock_ns();
    scratch->late_cpu_ns = -1;
    scratch->limit_ns = TIME_BASE_NS + TIME_PER_BYTE_NS * (int64_t)len;
    return cut(&c, 0, text, len);
}

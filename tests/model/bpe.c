/* SPDX-License-Identifier: Apache-2.0
 * bpe.c - merging against its definition: join the leftmost pair of the lowest rank, again and again
 */
#include "model/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tap.h"
#include "testrand.h"

#define LETTERS  4
#define N_TOKENS 60
#define TEXT_MAX 600

static struct sy_error err = SY_ERROR_INIT;

/* A random vocabulary over "abcd": token i is spelled spelling[i]; merge r joins left[r] and right[r]. */
static struct {
    char spelling[N_TOKENS][40];
    int32_t left[N_TOKENS], right[N_TOKENS], joined[N_TOKENS];
    int n_tokens, n_merges;
} v;

static void make_vocabulary(struct testrand *rand)
{
    memset(&v, 0, sizeof v);
    for (v.n_tokens = 0; v.n_tokens < LETTERS; v.n_tokens++)
        v.spelling[v.n_tokens][0] = (char)('a' + v.n_tokens);
    while (v.n_tokens < N_TOKENS) {
        int l = (int)(testrand_next(rand) % (uint64_t)v.n_tokens),
            r = (int)(testrand_next(rand) % (uint64_t)v.n_tokens);
        char text[80];
        snprintf(text, sizeof text, "%s%s", v.spelling[l], v.spelling[r]);
        if (strlen(text) > 12)
            continue;
        int same = 0;
        while (same < v.n_tokens && strcmp(v.spelling[same], text))
            same++;
        if (same == v.n_tokens)
            snprintf(v.spelling[v.n_tokens++], sizeof v.spelling[0], "%s", text);
        /* Another way to spell a token that is there is a merge of its own, as in some published files. */
        if (v.n_merges < N_TOKENS) {
            v.left[v.n_merges] = l;
            v.right[v.n_merges] = r;
            v.joined[v.n_merges++] = same;
        }
    }
}

static void make_bpe(struct sy_bpe *bpe, bool by_char)
{
    *bpe = (struct sy_bpe){.by_char = by_char, .can_cut = by_char, .unk_id = -1};
    if (sy_bpe_init(bpe, (size_t)v.n_merges, (size_t)v.n_merges, &err) || sy_words_init(&bpe->words, N_TOKENS, &err))
        bail("%s", err.text);
    for (int b = 0; b < 256; b++)
        bpe->byte_id[b] = b >= 'a' && b < 'a' + LETTERS ? b - 'a' : -1;
    for (int i = 0; i < LETTERS; i++)
        sy_words_add(&bpe->words, v.spelling[i], 1, i, &err);
    for (int r = 0; r < v.n_merges; r++) {
        uint8_t last = (uint8_t)v.spelling[v.left[r]][strlen(v.spelling[v.left[r]]) - 1];
        uint8_t first = (uint8_t)v.spelling[v.right[r]][0];
        sy_bpe_add_merge(bpe, v.left[r], v.right[r], r, v.joined[r]);
        bpe->joins[last][first / 64] |= 1ull << (first % 64);
    }
}

/* The definition, with the last of two equal merges counting. */
static size_t merge_plainly(const char *text, int32_t *ids)
{
    size_t n = 0;

    for (; *text; text++)
        ids[n++] = *text - 'a';
    for (;;) {
        int best = -1;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int rank = v.n_merges - 1;
            while (rank >= 0 && (v.left[rank] != ids[i] || v.right[rank] != ids[i + 1]))
                rank--;
            if (rank >= 0 && (best < 0 || rank < best)) {
                best = rank;
                at = i;
            }
        }
        if (best < 0)
            return n;
        ids[at] = v.joined[best];
        memmove(ids + at + 1, ids + at + 2, (--n - at - 1) * sizeof *ids);
    }
}

static void random_text(struct testrand *rand, char *text)
{
    size_t len = testrand_next(rand) % (testrand_next(rand) % 2 ? TEXT_MAX : 50);
    uint64_t letters = 1 + testrand_next(rand) % LETTERS; /* few letters make many equal ranks */

    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + testrand_next(rand) % letters);
    text[len] = 0;
}

static void check_merging(struct testrand *rand, bool by_char)
{
    struct sy_bpe_scratch *scratch = NULL;
    int n_bad = 0, n_long = 0;

    for (int round = 0; round < 40; round++) {
        struct sy_bpe bpe;
        make_vocabulary(rand);
        make_bpe(&bpe, by_char);
        scratch = sy_bpe_scratch_create();
        for (int i = 0; i < 60; i++) {
            char text[TEXT_MAX + 1];
            int32_t expected[TEXT_MAX];
            struct sy_buf out = SY_BUF_INIT;
            random_text(rand, text);
            size_t n = merge_plainly(text, expected);
            /* Twice: the second time it may come from the cache. */
            for (int again = 0; again < 2; again++) {
                out.len = 0;
                if (sy_bpe_encode(&bpe, scratch, (uint8_t *)text, strlen(text), &out, &err) ||
                    out.len != n * sizeof *expected || (n && memcmp(out.data, expected, out.len)))
                    n_bad++;
            }
            n_long += strlen(text) > 48;
            sy_buf_fini(&out);
        }
        sy_bpe_scratch_destroy(scratch);
        sy_bpe_fini(&bpe);
    }
    ok(!n_bad && n_long > 100, "%s: random texts merge as defined (%d long ones)", by_char ? "by character" : "by byte",
       n_long);
}

/* Tokens a, aa, aaaa, ...: a long run is halved again and again. */
static void check_long(void)
{
    enum { LEVELS = 11, LEN = (1 << 20) + 5 };
    struct sy_bpe bpe = {.unk_id = -1};
    struct sy_bpe_scratch *scratch = sy_bpe_scratch_create();
    struct sy_buf out = SY_BUF_INIT;
    uint8_t *text = malloc(LEN);

    if (sy_bpe_init(&bpe, LEVELS, LEVELS, &err) || !text)
        bail("no memory");
    memset(text, 'a', LEN);
    memset(bpe.byte_id, 0xff, sizeof bpe.byte_id);
    bpe.byte_id['a'] = 0;
    for (int32_t i = 0; i < LEVELS - 1; i++)
        sy_bpe_add_merge(&bpe, i, i, i, i + 1);
    int64_t begin = sy_clock_ns();
    enum sy_status st = sy_bpe_encode(&bpe, scratch, text, LEN, &out, &err);
    double seconds = (double)(sy_clock_ns() - begin) / 1e9;
    const int32_t *ids = (const int32_t *)(const void *)out.data;
    size_t n = LEN >> (LEVELS - 1);
    ok(!st && out.len == (n + 2) * sizeof *ids && ids[0] == LEVELS - 1 && ids[n - 1] == LEVELS - 1 && ids[n] == 2 &&
           ids[n + 1] == 0,
       "a piece of 1 MiB of one letter becomes the largest tokens and a rest");
    diag("in %.2f s", seconds);
    ok(seconds < 60, "and does not take quadratic time");
    sy_bpe_scratch_trim(scratch);
    out.len = 0;
    ok(!sy_bpe_encode(&bpe, scratch, text, 100, &out, &err) && out.len == 3 * sizeof *ids,
       "scratch serves on after its memory was given back");
    sy_bpe_scratch_destroy(scratch);
    sy_bpe_fini(&bpe);
    sy_buf_fini(&out);
    free(text);
}

static void check_unknown(void)
{
    static const struct {
        bool fuse, fallback;
        int32_t unk, ids[6];
        size_t n;
        const char *what;
    } CASES[] = {
        {false, false, -1, {0, 1}, 2, "left out"},
        {false, false, 9, {0, 9, 9, 1, 9}, 5, "one by one"},
        {true, false, 9, {0, 9, 1, 9}, 4, "fused"},
        {true, true, 9, {0, 20, 21, 20, 21, 1}, 6, "as bytes"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        struct sy_bpe bpe = {
            .by_char = true, .fuse_unk = CASES[i].fuse, .byte_fallback = CASES[i].fallback, .unk_id = CASES[i].unk};
        struct sy_bpe_scratch *scratch = sy_bpe_scratch_create();
        struct sy_buf out = SY_BUF_INIT;
        /* Without fallback the last character is unknown too; with it, it is left away. */
        const char *text = CASES[i].fallback ? "a\xc3\xa9\xc3\xa9"
                                               "b"
                                             : "a\xc3\xa9\xc3\xa9"
                                               "b\xc3\xa9";
        if (sy_bpe_init(&bpe, 0, 0, &err) || sy_words_init(&bpe.words, 2, &err) ||
            sy_words_add(&bpe.words, "a", 1, 0, &err) || sy_words_add(&bpe.words, "b", 1, 1, &err))
            bail("%s", err.text);
        memset(bpe.byte_id, 0xff, sizeof bpe.byte_id);
        bpe.byte_id[0xc3] = 20;
        bpe.byte_id[0xa9] = 21;
        enum sy_status st = sy_bpe_encode(&bpe, scratch, (const uint8_t *)text, strlen(text), &out, &err);
        ok(!st && out.len == CASES[i].n * sizeof(int32_t) && !memcmp(out.data, CASES[i].ids, out.len),
           "unknown characters are written %s", CASES[i].what);
        sy_buf_fini(&out);
        sy_bpe_scratch_destroy(scratch);
        sy_bpe_fini(&bpe);
    }
}

static void check_whole_words(void)
{
    struct sy_bpe bpe = {.ignore_merges = true, .unk_id = -1};
    struct sy_bpe_scratch *scratch = sy_bpe_scratch_create();
    struct sy_buf out = SY_BUF_INIT;
    static const int32_t EXPECTED[] = {7, 0, 0, 1};

    memset(bpe.byte_id, 0xff, sizeof bpe.byte_id);
    bpe.byte_id['a'] = 0;
    bpe.byte_id['b'] = 1;
    if (sy_bpe_init(&bpe, 0, 0, &err) || sy_words_init(&bpe.words, 1, &err) ||
        sy_words_add(&bpe.words, "ab", 2, 7, &err) ||
        sy_bpe_encode(&bpe, scratch, (const uint8_t *)"ab", 2, &out, &err) ||
        sy_bpe_encode(&bpe, scratch, (const uint8_t *)"aab", 3, &out, &err))
        bail("%s", err.text);
    ok(out.len == sizeof EXPECTED && !memcmp(out.data, EXPECTED, out.len),
       "ignore_merges: a piece that is a token is that token, another is merged");
    sy_buf_fini(&out);
    sy_bpe_scratch_destroy(scratch);
    sy_bpe_fini(&bpe);
}

int main(void)
{
    struct testrand rand = testrand_begin();

    check_merging(&rand, false);
    check_merging(&rand, true);
    check_long();
    check_unknown();
    check_whole_words();
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * added.c - finding added tokens in text
 */
#include "model/added.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

enum sy_status sy_added_add(struct sy_added *added, const struct sy_added_token *token, struct sy_error *err)
{
    if (added->n_tokens == added->cap) {
        size_t cap = added->cap ? added->cap * 2 : 64;
        struct sy_added_token *tokens = realloc(added->tokens, cap * sizeof *tokens);
        if (!tokens)
            return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu added tokens", cap);
        added->tokens = tokens;
        added->cap = cap;
    }
    struct sy_added_token *copy = &added->tokens[added->n_tokens];
    *copy = *token;
    copy->order = (uint32_t)added->n_tokens;
    copy->text = malloc(token->len);
    if (!copy->text)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for an added token of %zu bytes", token->len);
    memcpy(copy->text, token->text, token->len);
    added->n_tokens++;
    return SY_OK;
}

static int compare_text(const struct sy_added_token *a, const struct sy_added_token *b)
{
    int order = memcmp(a->text, b->text, a->len < b->len ? a->len : b->len);

    return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare(const void *va, const void *vb)
{
    const struct sy_added_token *a = va, *b = vb;
    int order = compare_text(a, b);

    return order ? order : (a->order > b->order) - (a->order < b->order);
}

void sy_added_seal(struct sy_added *added)
{
    size_t n = 0;

    if (added->n_tokens)
        qsort(added->tokens, added->n_tokens, sizeof *added->tokens, compare);
    for (size_t i = 0; i < added->n_tokens; i++) {
        if (n && !compare_text(&added->tokens[n - 1], &added->tokens[i]))
            free(added->tokens[i].text);
        else
            added->tokens[n++] = added->tokens[i];
    }
    added->n_tokens = n;
    for (size_t b = 0, i = 0; b <= 256; b++) {
        while (i < n && added->tokens[i].text[0] < b)
            i++;
        added->first[b] = (uint32_t)i;
    }
    added->one_first = n && added->tokens[0].text[0] == added->tokens[n - 1].text[0];
}

void sy_added_fini(struct sy_added *added)
{
    for (size_t i = 0; i < added->n_tokens; i++)
        free(added->tokens[i].text);
    free(added->tokens);
    *added = (struct sy_added){0};
}

/* White_Space, as \s of the reference. */
static bool is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Alphabetic, marks, decimal digits, connectors and joiners, as \w of the reference (Unicode Technical Standard 18,
 * annex C). The symbols that are Alphabetic are the circled and squared letters. */
static bool is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
               (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
    }
}

/* The character that ends before text + at. */
static size_t char_before(const uint8_t *text, size_t at, uint32_t *c)
{
    size_t begin = at - 1;

    while (begin && (text[begin] & 0xc0) == 0x80)
        begin--;
    sy_utf8_get(text + begin, c);
    return begin;
}

/* The longest token at text, by narrowing the sorted list one byte at a time; NULL when none begins here. */
static const struct sy_added_token *longest(const struct sy_added *added, const uint8_t *text, size_t len)
{
    size_t low = added->first[text[0]], high = added->first[text[0] + 1];
    const struct sy_added_token *found = NULL;

    for (size_t depth = 1; low < high; depth++) {
        /* All of low..high - 1 agree with text in depth bytes; one that has no more is the first of them. */
        if (added->tokens[low].len == depth)
            found = &added->tokens[low++];
        if (depth == len)
            break;
        size_t begin = low, end = high;
        while (begin < end) {
            size_t middle = begin + (end - begin) / 2;
            if (added->tokens[middle].text[depth] < text[depth])
                begin = middle + 1;
            else
                end = middle;
        }
        low = begin;
        end = high;
        while (begin < end) {
            size_t middle = begin + (end - begin) / 2;
            if (added->tokens[middle].text[depth] <= text[depth])
                begin = middle + 1;
            else
                end = middle;
        }
        high = begin;
    }
    return found;
}

static bool inside_word(const struct sy_added_walk *walk, size_t begin, size_t end)
{
    uint32_t c;

    if (begin && (char_before(walk->text, begin, &c), is_word(c)))
        return true;
    return end < walk->len && (sy_utf8_get(walk->text + end, &c), is_word(c));
}

/* The first place from at on where a byte is that a token begins with; the end of the text when there is none. */
static size_t candidate(const struct sy_added *added, const uint8_t *text, size_t len, size_t at)
{
    if (added->one_first) {
        const uint8_t *hit = memchr(text + at, added->tokens[0].text[0], len - at);
        return hit ? (size_t)(hit - text) : len;
    }
    while (at < len && added->first[text[at]] == added->first[text[at] + 1])
        at++;
    return at;
}

/* Find the next token from walk->searched on. */
static bool search(const struct sy_added *added, struct sy_added_walk *walk)
{
    while (added->n_tokens && walk->searched < walk->len) {
        size_t at = candidate(added, walk->text, walk->len, walk->searched);
        uint32_t c;
        if (at == walk->len)
            break;
        walk->searched = at + 1;
        const struct sy_added_token *token = longest(added, walk->text + at, walk->len - at);
        if (!token)
            continue;
        walk->searched = at + token->len;
        if (token->single_word && inside_word(walk, at, at + token->len))
            continue;
        walk->begin = at;
        walk->end = at + token->len;
        if (token->lstrip && walk->begin < walk->done)
            walk->begin = walk->done;
        while (token->lstrip && walk->begin > walk->done) {
            size_t before = char_before(walk->text, walk->begin, &c);
            if (!is_space(c))
                break;
            walk->begin = before;
        }
        while (token->rstrip && walk->end < walk->len) {
            size_t n = (size_t)sy_utf8_get(walk->text + walk->end, &c);
            if (!is_space(c))
                break;
            walk->end += n;
        }
        /* All of it may have gone to the token before. */
        if (walk->begin < walk->end) {
            walk->id = token->id;
            return true;
        }
    }
    return false;
}

void sy_added_begin(struct sy_added_walk *walk, const uint8_t *text, size_t len)
{
    *walk = (struct sy_added_walk){.text = text, .len = len, .id = -1};
}

bool sy_added_next(const struct sy_added *added, struct sy_added_walk *walk, size_t *begin, size_t *end, int32_t *id)
{
    if (walk->id < 0 && !search(added, walk)) {
        *begin = walk->done;
        *end = walk->done = walk->len;
        *id = -1;
        return *begin < *end;
    }
    if (walk->begin > walk->done) {
        *begin = walk->done;
        *end = walk->done = walk->begin;
        *id = -1;
        return true;
    }
    /* White space that one token's rstrip took may hold another token: both count, as in the reference. */
    *begin = walk->begin;
    *end = walk->done = walk->end;
    *id = walk->id;
    walk->id = -1;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0
 * mutate_text.c - changes to lists of tensors and to templates
 */
#include <ctype.h>
#include <string.h>

#include "mutate.h"

#define PIECES_MAX 1024

struct piece {
    const char *text;
    size_t n;
};

struct pieces {
    struct piece list[PIECES_MAX];
    size_t n;
    bool tags;
};

/* Length of the piece that text, of n > 0 bytes, begins with: a line with its end, a tag, or what comes before the next one. */
static size_t piece_length(const char *text, size_t n, bool tags)
{
    const char *end = NULL;

    if (!tags) {
        end = memchr(text, '\n', n);
        return end ? (size_t)(end - text) + 1 : n;
    }
    if (n >= 2 && text[0] == '{' && strchr("{%#", text[1])) {
        const char close[2] = {text[1] == '{' ? '}' : text[1], '}'};
        end = memmem(text + 2, n - 2, close, 2);
        return end ? (size_t)(end - text) + 2 : n;
    }
    for (size_t i = 1; i + 1 < n; i++)
        if (text[i] == '{' && strchr("{%#", text[i + 1]))
            return i;
    return n;
}

static void cut(const char *text, size_t n, struct pieces *pieces)
{
    pieces->n = 0;
    pieces->tags = memmem(text, n, "{%", 2) || memmem(text, n, "{{", 2);
    while (n && pieces->n < PIECES_MAX) {
        size_t length = pieces->n + 1 < PIECES_MAX ? piece_length(text, n, pieces->tags) : n;
        pieces->list[pieces->n++] = (struct piece){text, length};
        text += length;
        n -= length;
    }
}

static bool in_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* Any word of a piece. */
static struct piece word_of(const struct piece *piece, struct testrand *rand)
{
    size_t begin = piece->n ? mutate_pick(rand, piece->n) : 0, end;

    while (begin < piece->n && !in_word(piece->text[begin]))
        begin++;
    while (begin > 0 && in_word(piece->text[begin - 1]))
        begin--;
    for (end = begin; end < piece->n && in_word(piece->text[end]); end++)
        ;
    return (struct piece){piece->text + begin, end - begin};
}

/* The piece with one word replaced by one of another, or by a number or type. */
static void change_word(const struct pieces *pieces, const struct piece *piece, struct testrand *rand,
                        struct sy_buf *out)
{
    static const char *const words[] = {
        "0",  "1",   "2",     "31", "32",    "64",   "16777215", "BF16", "F32", "F16", "U8",    "F8_E4M3",
        "I8", "I64", "{0-3}", "@0", "false", "none", "loop",     "[]",   "'a'", "-1",  "1e300", "9223372036854775807"};
    struct piece old = word_of(piece, rand), with = word_of(&pieces->list[mutate_pick(rand, pieces->n)], rand);

    if (mutate_pick(rand, 2)) {
        with.text = words[mutate_pick(rand, sizeof words / sizeof *words)];
        with.n = strlen(with.text);
    }
    sy_buf_append(out, piece->text, (size_t)(old.text - piece->text));
    sy_buf_append(out, with.text, with.n);
    sy_buf_append(out, old.text + old.n, piece->n - old.n - (size_t)(old.text - piece->text));
}

void mutate_text(const char *text, size_t n, struct testrand *rand, struct sy_buf *out)
{
    static struct pieces pieces;

    out->len = 0;
    cut(text, n, &pieces);
    if (!pieces.n)
        return;
    size_t at = mutate_pick(rand, pieces.n), other = mutate_pick(rand, pieces.n), what = mutate_pick(rand, 8);
    for (size_t i = 0; i < pieces.n; i++) {
        const struct piece *piece = &pieces.list[i];
        if (i == at && what == 0) /* left out */
            continue;
        if (i == at && what == 1) /* another one before it */
            sy_buf_append(out, pieces.list[other].text, pieces.list[other].n);
        if (what == 2 && (i == at || i == other)) /* two exchanged */
            piece = &pieces.list[i == at ? other : at];
        if (i == at && what > 2)
            change_word(&pieces, piece, rand, out);
        else
            sy_buf_append(out, piece->text, piece->n);
    }
}

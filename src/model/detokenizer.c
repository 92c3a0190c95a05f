/* SPDX-License-Identifier: Apache-2.0
 * detokenizer.c - ids into text, one by one
 *
 * A byte goes into pending until it is clear which character it belongs to. In a byte-level vocabulary every token is a
 * run of bytes and the longest hopeless run becomes one U+FFFD. With byte fallback a token is whole characters or one
 * byte, and each byte that is no part of a character becomes one U+FFFD. The reference looks at the whole run of byte
 * tokens there and gives up its good characters too when one byte is bad; that could not be streamed.
 */
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer_impl.h"

void sy_detokenizer_init(struct sy_detokenizer *d, const struct sy_tokenizer *tok, bool skip_special)
{
    *d = (struct sy_detokenizer){.tok = tok, .skip_special = skip_special, .n_strip = tok->decoder.n_strip};
}

/* Text that is certain. Spaces at its begin fall to Strip. */
static enum sy_status emit(struct sy_detokenizer *d, const void *text, size_t len, struct sy_buf *out,
                           struct sy_error *err)
{
    const char *s = text;

    for (; d->n_strip && len; s++, len--) {
        d->n_strip = *s == ' ' ? d->n_strip - 1 : 0;
        if (*s != ' ')
            break;
    }
    if (!sy_buf_append(out, s, len))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for decoded text");
    return SY_OK;
}

/* The pending bytes will not become a character. */
static enum sy_status give_up(struct sy_detokenizer *d, struct sy_buf *out, struct sy_error *err)
{
    int n = d->tok->decoder.byte_level ? d->n_pending > 0 : d->n_pending;
    enum sy_status st = SY_OK;

    d->n_pending = 0;
    while (n-- > 0 && !st)
        st = emit(d, SY_UTF8_REPLACEMENT, sizeof SY_UTF8_REPLACEMENT - 1, out, err);
    return st;
}

/* One more byte. */
static enum sy_status push_byte(struct sy_detokenizer *d, uint8_t byte, struct sy_buf *out, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    for (;;) {
        d->pending[d->n_pending++] = byte;
        int k = sy_utf8_step(d->pending, (size_t)d->n_pending);
        if (k == 0)
            return SY_OK;
        if (k > 0) {
            d->n_pending = 0;
            return emit(d, d->pending, (size_t)k, out, err);
        }
        /* What was pending could still have become a character until this byte came; so it is this byte that may begin
         * another one, unless nothing was before it. */
        bool alone = d->n_pending == 1;
        d->n_pending -= !alone;
        st = give_up(d, out, err);
        if (st || alone)
            return st;
    }
}

enum sy_status sy_detokenizer_push(struct sy_detokenizer *d, int32_t id, struct sy_buf *out, struct sy_error *err)
{
    const struct sy_vocab *vocab = &d->tok->vocab;
    enum sy_status st = SY_OK;

    if (!sy_vocab_has(vocab, id) || (d->skip_special && (vocab->tokens[id].flags & SY_TOKEN_SPECIAL)))
        return SY_OK;
    const uint8_t *bytes = vocab->bytes.data + vocab->tokens[id].begin;
    size_t len = vocab->tokens[id].len;
    if (!d->tok->decoder.byte_level && !(vocab->tokens[id].flags & SY_TOKEN_BYTE)) {
        st = give_up(d, out, err);
        return st ? st : emit(d, bytes, len, out, err);
    }
    for (size_t i = 0; i < len && !st;) {
        size_t ascii = 0;
        while (!d->n_pending && i + ascii < len && bytes[i + ascii] < 0x80)
            ascii++;
        if (ascii)
            st = emit(d, bytes + i, ascii, out, err);
        i += ascii;
        if (i < len && !st)
            st = push_byte(d, bytes[i++], out, err);
    }
    return st;
}

enum sy_status sy_detokenizer_finish(struct sy_detokenizer *d, struct sy_buf *out, struct sy_error *err)
{
    return give_up(d, out, err);
}

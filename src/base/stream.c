/* SPDX-License-Identifier: Apache-2.0
 * stream.c - streaming stores, where the instruction set has them
 */
#include "base/stream.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE 64 /* bytes; a line that is written whole is not read first */

void sy_stream_copy(void *dst, const void *src, size_t bytes)
{
    size_t n = ((uintptr_t)dst | (uintptr_t)src) % sizeof(__m128i) ? 0 : bytes / LINE;
    __m128i *to = dst;
    const __m128i *from = src;

    for (size_t i = 0; i < n; i++, to += 4, from += 4) {
        __m128i a = _mm_load_si128(from), b = _mm_load_si128(from + 1);
        __m128i c = _mm_load_si128(from + 2), d = _mm_load_si128(from + 3);
        _mm_stream_si128(to, a);
        _mm_stream_si128(to + 1, b);
        _mm_stream_si128(to + 2, c);
        _mm_stream_si128(to + 3, d);
    }
    memcpy(to, from, bytes - n * LINE);
}

void sy_stream_fence(void)
{
    _mm_sfence();
}

#else

void sy_stream_copy(void *dst, const void *src, size_t bytes)
{
    memcpy(dst, src, bytes);
}

void sy_stream_fence(void)
{
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * stream.c - streaming copies of any length and alignment
 */
#include "base/stream.h"

#include <stdint.h>
#include <string.h>

#include "tap.h"

#define LONGEST 300
#define EDGE    64
#define POISON  0xa5

int main(void)
{
    static _Alignas(64) uint8_t from[LONGEST + EDGE], to[LONGEST + 2 * EDGE], want[LONGEST + 2 * EDGE];
    static const size_t sources[] = {0, 1, 16, 24};
    int n_bad = 0;

    plan(1);
    for (size_t b = 0; b < sizeof from; b++)
        from[b] = (uint8_t)(b * 7 + 1);
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        for (size_t at = 0; at < EDGE; at++) {
            for (size_t bytes = 0; bytes <= LONGEST; bytes++) {
                memset(to, POISON, sizeof to);
                memset(want, POISON, sizeof want);
                memcpy(want + at, from + sources[s], bytes);
                sy_stream_copy(to + at, from + sources[s], bytes);
                sy_stream_fence();
                n_bad += memcmp(to, want, sizeof to) != 0;
            }
        }
    }
    is_int(n_bad, 0, "copies of 0 to %d bytes are memcpy's, and write nothing beside", LONGEST);
    return tap_exit();
}

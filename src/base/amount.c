/* SPDX-License-Identifier: Apache-2.0
 * amount.c - counts and bytes as people read and write them
 */
#include "base/amount.h"

#include <stdio.h>
#include <stdlib.h>

static const char *show(double n, const char *const *units, int n_units, char *out, size_t out_bytes)
{
    int unit = 0;

    for (; n >= 1000 && unit < n_units - 1; unit++)
        n /= 1000;
    snprintf(out, out_bytes, unit ? "%.2f%s" : "%.0f%s", n, units[unit]);
    return out;
}

const char *sy_amount_bytes(double bytes, char *out, size_t out_bytes)
{
    static const char *const units[] = {" B", " kB", " MB", " GB", " TB", " PB"};

    return show(bytes, units, 6, out, out_bytes);
}

const char *sy_amount_count(double count, char *out, size_t out_bytes)
{
    static const char *const units[] = {"", " K", " M", " B"};

    return show(count, units, 4, out, out_bytes);
}

const char *sy_amount_read(const char *text, int max, int *out)
{
    char *end;
    long n = strtol(text, &end, 10);

    if (*text < '0' || *text > '9' || n < 1 || n > max)
        return NULL;
    *out = (int)n;
    return end;
}

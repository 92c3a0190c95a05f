/* SPDX-License-Identifier: Apache-2.0
 * quantity.c - units of bytes, rates, times and arithmetic
 */
#include "quantity.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"

/* From 1e-15 to 1e21: a number outside of it is a mistake, and squares and products of those inside stay finite. */
#define LARGEST 1e21

struct unit {
    const char *name;
    double factor;
    enum sy_measure measure;
    bool bits, shown; /* shown: sy_quantity_show() may use it */
};

static const struct unit units[] = {
    {"B", 1, SY_BYTES, false, true},
    {"kB", 1e3, SY_BYTES, false, true},
    {"KB", 1e3, SY_BYTES, false, false},
    {"MB", 1e6, SY_BYTES, false, true},
    {"GB", 1e9, SY_BYTES, false, true},
    {"TB", 1e12, SY_BYTES, false, true},
    {"KiB", 1024., SY_BYTES, false, true},
    {"MiB", 1048576., SY_BYTES, false, true},
    {"GiB", 1073741824., SY_BYTES, false, true},
    {"TiB", 1099511627776., SY_BYTES, false, true},
    {"B/s", 1, SY_BYTES_PER_S, false, true},
    {"kB/s", 1e3, SY_BYTES_PER_S, false, true},
    {"KB/s", 1e3, SY_BYTES_PER_S, false, false},
    {"MB/s", 1e6, SY_BYTES_PER_S, false, true},
    {"GB/s", 1e9, SY_BYTES_PER_S, false, true},
    {"TB/s", 1e12, SY_BYTES_PER_S, false, true},
    {"MiB/s", 1048576., SY_BYTES_PER_S, false, false},
    {"GiB/s", 1073741824., SY_BYTES_PER_S, false, false},
    {"kb/s", 125, SY_BYTES_PER_S, true, false},
    {"Mb/s", 125e3, SY_BYTES_PER_S, true, false},
    {"Gb/s", 125e6, SY_BYTES_PER_S, true, false},
    {"Tb/s", 125e9, SY_BYTES_PER_S, true, false},
    {"s", 1, SY_SECONDS, false, true},
    {"ms", 1e-3, SY_SECONDS, false, true},
    {"us", 1e-6, SY_SECONDS, false, true},
    {"\xc2\xb5s", 1e-6, SY_SECONDS, false, false},
    {"\xce\xbcs", 1e-6, SY_SECONDS, false, false},
    {"ns", 1e-9, SY_SECONDS, false, true},
    {"FLOP/s", 1, SY_FLOP_PER_S, false, true},
    {"MFLOP/s", 1e6, SY_FLOP_PER_S, false, true},
    {"GFLOP/s", 1e9, SY_FLOP_PER_S, false, true},
    {"TFLOP/s", 1e12, SY_FLOP_PER_S, false, true},
    {"PFLOP/s", 1e15, SY_FLOP_PER_S, false, true},
    {"GOP/s", 1e9, SY_FLOP_PER_S, false, false},
    {"TOP/s", 1e12, SY_FLOP_PER_S, false, false},
};

#define N_UNITS (sizeof units / sizeof *units)

static const struct {
    const char *what, *example;
} measures[SY_N_MEASURES] = {
    {"an amount of memory", "80 GB"},
    {"a bandwidth", "25 GB/s"},
    {"a time", "0.6 us"},
    {"a speed of arithmetic", "989 TFLOP/s"},
};

/* Digits, point, exponent: what strtod() takes besides (inf, nan, hexadecimal) is no number here. */
static const char *number_end(const char *text)
{
    const char *at = text + (*text == '-' || *text == '+');
    size_t digits = strspn(at, "0123456789");

    at += digits;
    if (*at == '.') {
        size_t more = strspn(at + 1, "0123456789");
        digits += more;
        at += 1 + more;
    }
    if (!digits)
        return NULL;
    if (*at == 'e' || *at == 'E') {
        const char *exponent = at + 1 + (at[1] == '-' || at[1] == '+');
        size_t n = strspn(exponent, "0123456789");
        if (n)
            at = exponent + n;
    }
    return at;
}

bool sy_number_read(const char *text, double *value)
{
    const char *end = number_end(text);

    if (!end || *end)
        return false;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

bool sy_whole_read(const char *text, int64_t *value)
{
    size_t n = strspn(text, "0123456789");

    if (!n || n > 18 || text[n])
        return false;
    *value = strtoll(text, NULL, 10);
    return true;
}

static bool refuse(const char *text, enum sy_measure measure, const char *found, char *why, size_t why_bytes)
{
    snprintf(why, why_bytes, "expected %s such as %s, found '%.60s'%s%s", measures[measure].what,
             measures[measure].example, text, *found ? ", " : "", found);
    return false;
}

/* The unit of some other measure, or one that is spelt almost so. */
static bool refuse_unit(const char *text, const char *unit, enum sy_measure measure, char *why, size_t why_bytes)
{
    char found[160];
    const char *names[N_UNITS];
    int n = 0;

    if (!*unit)
        return refuse(text, measure, "a number without unit", why, why_bytes);
    for (size_t i = 0; i < N_UNITS; i++)
        if (!strcmp(units[i].name, unit)) {
            snprintf(found, sizeof found, "which is %s", measures[units[i].measure].what);
            return refuse(text, measure, found, why, why_bytes);
        }
    for (size_t i = 0; i < N_UNITS; i++)
        if (units[i].measure == measure)
            names[n++] = units[i].name;
    const char *nearest = strlen(unit) < 32 ? sy_options_nearest(unit, names, n) : NULL;
    snprintf(found, sizeof found, "unknown unit '%.30s'%s%s%s", unit, nearest ? ", did you mean '" : "",
             nearest ? nearest : "", nearest ? "'?" : "");
    return refuse(text, measure, found, why, why_bytes);
}

bool sy_quantity_read(const char *text, enum sy_measure measure, double *value, bool *in_bits, char *why,
                      size_t why_bytes)
{
    const char *end = number_end(text);

    if (!end)
        return refuse(text, measure, "", why, why_bytes);
    double number = strtod(text, NULL);
    const char *unit = end + strspn(end, " ");
    for (size_t i = 0; i < N_UNITS; i++) {
        if (units[i].measure != measure || strcmp(units[i].name, unit) != 0)
            continue;
        /* Units below one divide by a whole number, which rounds once. */
        *value = units[i].factor < 1 ? number / rint(1 / units[i].factor) : number * units[i].factor;
        if (in_bits)
            *in_bits = units[i].bits;
        if (*value < 0)
            return refuse(text, measure, "which is negative", why, why_bytes);
        if (*value == 0 && measure != SY_SECONDS)
            return refuse(text, measure, "which is zero; leave out what is not known", why, why_bytes);
        if (!(*value <= LARGEST) || (*value != 0 && *value < 1 / LARGEST))
            return refuse(text, measure, "which is out of any range", why, why_bytes);
        return true;
    }
    return refuse_unit(text, unit, measure, why, why_bytes);
}

const char *sy_number_show(double value, char *out, size_t out_bytes)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, out_bytes, "%.*g", digits, value);
        if (strtod(out, NULL) == value)
            break;
    }
    /* 1e+03 is 1000 to people. */
    if (strchr(out, 'e') && fabs(value) < 1e15 && value == rint(value))
        snprintf(out, out_bytes, "%.0f", value);
    return out;
}

const char *sy_quantity_show(double value, enum sy_measure measure, char *out, size_t out_bytes)
{
    char best[48] = "", text[48], number[32], why[8];

    /* The shortest; of equally short ones that with the larger unit, in which the number is not below 1 or is as short. */
    for (size_t i = N_UNITS; i-- > 0;) {
        double back;
        if (units[i].measure != measure || !units[i].shown)
            continue;
        double scaled = units[i].factor < 1 ? value * rint(1 / units[i].factor) : value / units[i].factor;
        if (value != 0 && (scaled < 0.1 || scaled >= 1e5) && strcmp(units[i].name, "B") != 0 && units[i].factor != 1)
            continue;
        sy_number_show(scaled, number, sizeof number);
        snprintf(text, sizeof text, "%s %s", number, units[i].name);
        if (!sy_quantity_read(text, measure, &back, NULL, why, sizeof why) || back != value)
            continue;
        size_t length = strlen(number), shortest = *best ? strcspn(best, " ") : 99;
        if (length < shortest)
            snprintf(best, sizeof best, "%s", text);
    }
    snprintf(out, out_bytes, "%s", best);
    return out;
}

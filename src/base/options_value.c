/* SPDX-License-Identifier: Apache-2.0
 * options_value.c - the text of one value against its row
 */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/options_private.h"

static enum sy_status set_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off"};

    for (int i = 0; i < 4; i++)
        if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
            *out = !strcasecmp(text, yes[i]);
            return SY_OK;
        }
    return SY_ERR_USAGE;
}

/* As in GNU tools: M and MiB are 1024 * 1024 bytes, MB is 1000 * 1000, in messages too. */
static enum sy_status set_bytes(const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;

    errno = 0;
    double number = strtod(text, &end);
    if (end == text || errno || !isfinite(number) || number < 0)
        return SY_ERR_USAGE;
    while (*end == ' ')
        end++;
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    if (unit) {
        bool decimal = end[1] == 'B' || end[1] == 'b';
        for (const char *step = units; step <= unit; step++)
            number *= decimal ? 1000 : 1024;
        end++;
        if (*end == 'i')
            end++;
    }
    if (*end == 'B' || *end == 'b')
        end++;
    if (*end || number >= 9.2e18)
        return SY_ERR_USAGE;
    *out = (uint64_t)number;
    return SY_OK;
}

static bool is_choice(const char *choices, const char *text)
{
    size_t len = strlen(text);

    if (strchr(text, '|'))
        return false;
    for (const char *at = choices; len && at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
        if (!strncmp(at, text, len) && (at[len] == '|' || !at[len]))
            return true;
    return false;
}

static bool within(const struct sy_option *row, double number)
{
    return (row->min == 0 && row->max == 0) || (number >= row->min && number <= row->max);
}

/* What a row's values may be, for messages. */
static const char *expectation(const struct sy_option *row, char *out, size_t out_bytes)
{
    const char *what = row->type == SY_OPTION_INT ? "an integer" : "a number";

    switch (row->type) {
    case SY_OPTION_BOOL:
        snprintf(out, out_bytes, "true or false");
        break;
    case SY_OPTION_BYTES:
        snprintf(out, out_bytes, "a size such as 512, 64K, 3MiB or 2GB");
        break;
    case SY_OPTION_CHOICE:
        snprintf(out, out_bytes, "one of %s", row->choices);
        break;
    case SY_OPTION_STRING:
        snprintf(out, out_bytes, "a text");
        break;
    case SY_OPTION_INT:
    case SY_OPTION_REAL:
        if (row->min == 0 && row->max == 0)
            snprintf(out, out_bytes, "%s", what);
        else
            snprintf(out, out_bytes, "%s from %.15g to %.15g", what, row->min, row->max);
        break;
    }
    return out;
}

enum sy_status sy_option_set(const struct sy_option *row, const char *text, const char *where, void *values,
                             struct sy_error *err)
{
    void *at = (char *)values + row->offset;
    bool good = false;
    char *end = NULL, expected[160];

    errno = 0;
    switch (row->type) {
    case SY_OPTION_BOOL:
        good = !set_bool(text, at);
        break;
    case SY_OPTION_INT: {
        long long number = strtoll(text, &end, 10);
        good = end != text && !*end && !errno && within(row, (double)number);
        if (good)
            *(int64_t *)at = number;
        break;
    }
    case SY_OPTION_REAL: {
        double number = strtod(text, &end);
        good = end != text && !*end && !errno && isfinite(number) && within(row, number);
        if (good)
            *(double *)at = number;
        break;
    }
    case SY_OPTION_BYTES:
        good = !set_bytes(text, at);
        break;
    case SY_OPTION_CHOICE:
        good = is_choice(row->choices, text);
        if (good)
            *(const char **)at = text;
        break;
    case SY_OPTION_STRING:
        good = true;
        *(const char **)at = text;
        break;
    }
    if (good)
        return SY_OK;
    return sy_error_set(err, SY_ERR_USAGE, "%s: expected %s, found \"%.200s\"", where,
                        expectation(row, expected, sizeof expected), text);
}

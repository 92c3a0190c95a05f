/* SPDX-License-Identifier: Apache-2.0
 * cluster_value.c - single values of a cluster file, each refused with its place
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster_private.h"

struct sy_source sy_reader_source(const struct sy_yaml *node)
{
    return sy_source_at(node->file, node->line, node->column);
}

struct sy_place sy_cluster_place(const struct sy_cluster *c, struct sy_source from)
{
    static const char *const elsewhere[] = {"unknown", "default", "imported", "discovered", "file"};
    bool known = from.origin <= SY_ORIGIN_FILE;

    return (struct sy_place){from.file || !known ? sy_cluster_file_name(c, from.file) : elsewhere[from.origin],
                             (int)from.line, (int)from.column};
}

struct sy_place sy_reader_place(const struct sy_reader *r, const struct sy_yaml *node)
{
    return sy_cluster_place(r->cluster, sy_reader_source(node));
}

#define DISTANCE_BYTES 63

int sy_name_distance(const char *a, const char *b)
{
    int rows[3][DISTANCE_BYTES + 1], n = (int)strnlen(a, DISTANCE_BYTES), m = (int)strnlen(b, DISTANCE_BYTES);

    char x[DISTANCE_BYTES], y[DISTANCE_BYTES];

    /* Letters of the other case are the same: who writes A100 has a100 in mind. */
    for (int i = 0; i < n; i++)
        x[i] = (char)tolower((unsigned char)a[i]);
    for (int j = 0; j < m; j++)
        y[j] = (char)tolower((unsigned char)b[j]);
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int change = last[j - 1] + (x[i - 1] != y[j - 1]), drop = last[j] + 1, put = row[j - 1] + 1;
            row[j] = change < drop ? change : drop;
            row[j] = row[j] < put ? row[j] : put;
            if (i > 1 && j > 1 && x[i - 1] == y[j - 2] && x[i - 2] == y[j - 1] && before[j - 2] + 1 < row[j])
                row[j] = before[j - 2] + 1;
        }
    }
    return rows[n % 3][m];
}

static const char *nearest_of(const char *name, const char *const *names, int n)
{
    int best = 4;
    const char *nearest = NULL;

    for (int i = 0; i < n; i++) {
        int d = sy_name_distance(name, names[i]);
        /* More than half of the letters are another word. */
        if (d < best && d * 2 <= (int)strlen(name)) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}

/* "text", "a list", "nothing" */
static const char *kind_of(const struct sy_yaml *node)
{
    if (node->kind == SY_YAML_SCALAR && !node->n && !node->quoted)
        return "nothing";
    return sy_yaml_kind_name(node);
}

static const char *kinds(int takes)
{
    static const char *const names[8] = {"",      "text",          "a list",          "text or a list",
                                         "a map", "text or a map", "a list or a map", "text, a list or a map"};
    return names[takes & 7];
}

static void unknown_key(struct sy_reader *r, const struct sy_yaml *key, const char *what, const struct sy_key *keys,
                        int n)
{
    const char *names[32];
    int n_names = n < 32 ? n : 32;

    for (int i = 0; i < n_names; i++)
        names[i] = keys[i].name;
    const char *nearest = nearest_of(key->text, names, n_names);
    if (nearest)
        sy_reader_error(r, key, "unknown key '%.60s' in %s, did you mean '%s'?", key->text, what, nearest);
    else
        sy_reader_error(r, key, "unknown key '%.60s' in %s", key->text, what);
}

bool sy_reader_map(struct sy_reader *r, const struct sy_yaml *node, const char *what, const struct sy_key *keys, int n,
                   struct sy_yaml **values)
{
    bool held = true;

    memset(values, 0, (size_t)n * sizeof(struct sy_yaml *));
    if (node->kind != SY_YAML_MAP) {
        sy_reader_error(r, node, "expected a map for %s, found %s", what, kind_of(node));
        return false;
    }
    for (int i = 0; i < node->n; i++) {
        struct sy_yaml *key = node->items[2 * i], *value = node->items[2 * i + 1];
        int k = 0;
        while (k < n && strcmp(keys[k].name, key->text) != 0)
            k++;
        if (k == n) {
            unknown_key(r, key, what, keys, n);
            held = false;
        } else if (!(keys[k].takes & 1 << value->kind) || !strcmp(kind_of(value), "nothing")) {
            sy_reader_error(r, value->line ? value : key, "expected %s for '%s', found %s", kinds(keys[k].takes),
                            key->text, kind_of(value));
            held = false;
        } else {
            values[k] = value;
        }
    }
    for (int k = 0; k < n; k++)
        if (keys[k].required && !sy_yaml_key(node, keys[k].name)) {
            sy_reader_error(r, node, "%s needs '%s'", what, keys[k].name);
            held = false;
        }
    return held;
}

bool sy_reader_quantity(struct sy_reader *r, const struct sy_yaml *node, enum sy_measure measure, struct sy_real *out)
{
    char why[200];
    double value;

    if (!node)
        return true;
    if (!sy_quantity_read(node->text, measure, &value, NULL, why, sizeof why)) {
        sy_reader_error(r, node, "%s", why);
        return false;
    }
    *out = sy_real_of(value, sy_reader_source(node));
    return true;
}

bool sy_reader_number(struct sy_reader *r, const struct sy_yaml *node, double min, double max, struct sy_real *out)
{
    double value;

    if (!node)
        return true;
    if (!sy_number_read(node->text, &value) || !(value > min) || !(value <= max)) {
        sy_reader_error(r, node, "expected a number above %g, at most %g, found '%.60s'", min, max, node->text);
        return false;
    }
    *out = sy_real_of(value, sy_reader_source(node));
    return true;
}

bool sy_reader_int(struct sy_reader *r, const struct sy_yaml *node, int64_t min, int64_t max, struct sy_int *out)
{
    int64_t value;

    if (!node)
        return true;
    if (!sy_whole_read(node->text, &value) || value < min || value > max) {
        sy_reader_error(r, node, "expected a whole number from %lld to %lld, found '%.60s'", (long long)min,
                        (long long)max, node->text);
        return false;
    }
    *out = sy_int_of(value, sy_reader_source(node));
    return true;
}

/* For people and for lstopo alike: one line. */
static bool plain_text(struct sy_reader *r, const struct sy_yaml *node, const char *text)
{
    if (strlen(text) > 4 * SY_NAME_MAX) {
        sy_reader_error(r, node, "text of more than %d bytes", 4 * SY_NAME_MAX);
        return false;
    }
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            sy_reader_error(r, node, "text with a control character");
            return false;
        }
    return true;
}

bool sy_reader_text(struct sy_reader *r, const struct sy_yaml *node, struct sy_text *out)
{
    if (!node)
        return true;
    if (!plain_text(r, node, node->text))
        return false;
    *out = sy_text_of(r->cluster, node->text, sy_reader_source(node));
    return true;
}

bool sy_reader_choice(struct sy_reader *r, const struct sy_yaml *node, const char *what, const char *const *names,
                      int n, int *out)
{
    char list[256] = "";

    if (!node)
        return true;
    for (int i = 0; i < n; i++)
        if (!strcmp(node->text, names[i])) {
            *out = i;
            return true;
        }
    for (int i = 0; i < n; i++) {
        size_t at = strlen(list);
        snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = nearest_of(node->text, names, n);
    sy_reader_error(r, node, "unknown %s '%.60s'%s%s%s (there are %s)", what, node->text,
                    nearest ? ", did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "", list);
    return false;
}

bool sy_reader_check_name(struct sy_reader *r, const struct sy_yaml *node, const char *name, bool dots)
{
    size_t n = strlen(name);

    if (!n || n > SY_NAME_MAX) {
        sy_reader_error(r, node, "expected a name of 1 to %d bytes", SY_NAME_MAX);
        return false;
    }
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr(",[]*?\"'", *c) || (*c == '.' && !dots)) {
            sy_reader_error(r, node, "'%.80s' is no name: it has %s", name,
                            *c == '.'                                ? "a dot"
                            : (unsigned char)*c <= ' ' || *c == 0x7f ? "a blank"
                                                                     : "a special character");
            return false;
        }
    return true;
}

bool sy_reader_range(struct sy_reader *r, const struct sy_yaml *node, struct sy_range *out)
{
    char why[200];
    size_t at;

    *out = (struct sy_range){0};
    if (node->kind != SY_YAML_SCALAR || !node->n) {
        sy_reader_error(r, node, "expected a name or range, found %s", kind_of(node));
        return false;
    }
    if (!sy_range_expand(node->text, out, why, sizeof why, &at)) {
        /* The place in a plain text on one line; quotes and escapes may shift it, then it is the begin. */
        struct sy_place place = sy_reader_place(r, node);
        if (!strpbrk(node->text, "\\\"'\n") && (unsigned)node->n > at)
            place.column += (int)at + node->quoted;
        sy_report_error(r->report, place, "%s", why);
        return false;
    }
    return true;
}

/* Item i of a value that is a list, or has a range's name i, or is the same for all. text is set, the place is returned. */
static const struct sy_yaml *item(const struct sy_yaml *node, const struct sy_range *range, int i, const char **text)
{
    const struct sy_yaml *at = node->kind == SY_YAML_LIST ? node->items[i] : node;

    *text = range->n ? range->names[range->n == 1 ? 0 : i] : at->kind == SY_YAML_SCALAR ? at->text : NULL;
    return at;
}

/* Has the value one item for each of n? */
static bool items_fit(struct sy_reader *r, const struct sy_yaml *node, int n, struct sy_range *range)
{
    *range = (struct sy_range){0};
    if (node->kind != SY_YAML_LIST && !sy_reader_range(r, node, range))
        return false;
    int found = node->kind == SY_YAML_LIST ? node->n : range->n;
    if (found == n || (found == 1 && node->kind != SY_YAML_LIST))
        return true;
    sy_reader_error(r, node, "expected %d value%s, one for each id, found %d", n, n == 1 ? "" : "s", found);
    sy_range_fini(range);
    return false;
}

bool sy_reader_ints(struct sy_reader *r, const struct sy_yaml *node, int n, int64_t min, int64_t max,
                    struct sy_int *out)
{
    struct sy_range range;
    bool held = true;

    if (!node)
        return true;
    if (!items_fit(r, node, n, &range))
        return false;
    for (int i = 0; i < n && held; i++) {
        const char *text;
        int64_t value;
        const struct sy_yaml *at = item(node, &range, i, &text);
        held = text && sy_whole_read(text, &value) && value >= min && value <= max;
        if (held)
            out[i] = sy_int_of(value, sy_reader_source(at));
        else
            sy_reader_error(r, at, "expected a whole number from %lld to %lld, found '%.60s'", (long long)min,
                            (long long)max, text ? text : kind_of(at));
    }
    sy_range_fini(&range);
    return held;
}

bool sy_reader_texts(struct sy_reader *r, const struct sy_yaml *node, int n, struct sy_text *out)
{
    struct sy_range range;
    bool held = true;

    if (!node)
        return true;
    if (!items_fit(r, node, n, &range))
        return false;
    for (int i = 0; i < n && held; i++) {
        const char *text;
        const struct sy_yaml *at = item(node, &range, i, &text);
        if (!text)
            sy_reader_error(r, at, "expected text, found %s", kind_of(at));
        held = text && plain_text(r, at, text);
        if (held)
            out[i] = sy_text_of(r->cluster, text, sy_reader_source(at));
    }
    sy_range_fini(&range);
    return held;
}

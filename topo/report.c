/* SPDX-License-Identifier: Apache-2.0
 * report.c - errors, warnings and notes by their place
 */
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_MAX (2 * SY_REPORT_ERRORS_MAX)
#define NOTES_MAX 4

struct item {
    char *text; /* the line and those of its notes */
    char *file;
    int file_order, line, column, n_notes;
};

struct sy_report {
    struct item items[ITEMS_MAX];
    int n_items, n_errors, n_warnings, n_kept_errors, n_kept_warnings, n_files;
    bool dropped; /* the last one was; its notes are too */
    struct sy_buf lines;
};

struct sy_report *sy_report_create(void)
{
    return calloc(1, sizeof(struct sy_report));
}

void sy_report_destroy(struct sy_report *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n_items; i++) {
        free(r->items[i].text);
        free(r->items[i].file);
    }
    sy_buf_fini(&r->lines);
    free(r);
}

/* "file:line:column: what: text\n" in new memory; NULL: none. Bytes that a terminal might obey become '?'. */
static char *format(struct sy_place place, const char *what, const char *fmt, va_list args)
{
    char *text = NULL, *line = NULL, where[32] = "";
    const char *file = place.file && *place.file ? place.file : "(no file)";

    if (vasprintf(&text, fmt, args) < 0)
        return NULL;
    if (place.line > 0)
        snprintf(where, sizeof where, ":%d:%d", place.line, place.column);
    if (asprintf(&line, "%s%s: %s: %s\n", file, where, what, text) < 0)
        line = NULL;
    free(text);
    for (char *c = line; c && *c; c++)
        if (((unsigned char)*c < ' ' && c[1]) || *c == 0x7f)
            *c = '?';
    return line;
}

static int order_of_file(struct sy_report *r, const char *file)
{
    for (int i = 0; i < r->n_items; i++)
        if (!strcmp(r->items[i].file, file))
            return r->items[i].file_order;
    return r->n_files++;
}

static void add(struct sy_report *r, struct sy_place place, const char *what, bool keep, const char *fmt, va_list args)
{
    r->dropped = true;
    if (!keep || r->n_items == ITEMS_MAX)
        return;
    char *text = format(place, what, fmt, args), *file = strdup(place.file ? place.file : "");
    bool there = !text || !file;
    for (int i = 0; i < r->n_items && !there; i++)
        there = !strncmp(r->items[i].text, text, strlen(text));
    if (there) {
        free(text);
        free(file);
        return;
    }
    int order = order_of_file(r, file);
    r->items[r->n_items++] = (struct item){
        .text = text, .file = file, .file_order = order, .line = place.line, .column = place.column};
    r->dropped = false;
}

void sy_report_error(struct sy_report *r, struct sy_place place, const char *fmt, ...)
{
    va_list args;

    if (!r)
        return;
    va_start(args, fmt);
    add(r, place, "error", r->n_kept_errors < SY_REPORT_ERRORS_MAX, fmt, args);
    va_end(args);
    r->n_kept_errors += !r->dropped;
    r->n_errors += !r->dropped || r->n_kept_errors == SY_REPORT_ERRORS_MAX;
}

void sy_report_warning(struct sy_report *r, struct sy_place place, const char *fmt, ...)
{
    va_list args;

    if (!r)
        return;
    va_start(args, fmt);
    add(r, place, "warning", r->n_kept_warnings < SY_REPORT_ERRORS_MAX, fmt, args);
    va_end(args);
    r->n_kept_warnings += !r->dropped;
    r->n_warnings += !r->dropped;
}

void sy_report_note(struct sy_report *r, struct sy_place place, const char *fmt, ...)
{
    va_list args;

    if (!r || r->dropped || !r->n_items || r->items[r->n_items - 1].n_notes == NOTES_MAX)
        return;
    struct item *item = &r->items[r->n_items - 1];
    va_start(args, fmt);
    char *note = format(place, "note", fmt, args), *both = NULL;
    va_end(args);
    if (note && asprintf(&both, "%s%s", item->text, note) >= 0) {
        free(item->text);
        item->text = both;
        item->n_notes++;
    }
    free(note);
}

int sy_report_n_errors(const struct sy_report *r)
{
    return r ? r->n_errors : 0;
}

int sy_report_n_warnings(const struct sy_report *r)
{
    return r ? r->n_warnings : 0;
}

static int by_place(const void *x, const void *y)
{
    const struct item *a = *(const struct item *const *)x, *b = *(const struct item *const *)y;

    if (a->file_order != b->file_order)
        return a->file_order < b->file_order ? -1 : 1;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return a < b ? -1 : a > b;
}

bool sy_report_print(const struct sy_report *r, struct sy_buf *out)
{
    const struct item *sorted[ITEMS_MAX];
    bool held = true;

    if (!r)
        return false;
    for (int i = 0; i < r->n_items; i++)
        sorted[i] = &r->items[i];
    qsort(sorted, (size_t)r->n_items, sizeof *sorted, by_place);
    for (int i = 0; i < r->n_items && held; i++)
        held = sy_buf_printf(out, "%s", sorted[i]->text);
    if (r->n_errors > r->n_kept_errors)
        held = held && sy_buf_printf(out, "%d more errors are not shown\n", r->n_errors - r->n_kept_errors);
    return held;
}

enum sy_status sy_report_status(struct sy_report *r, struct sy_error *err)
{
    if (!r)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to report errors");
    if (!r->n_errors)
        return SY_OK;
    r->lines.len = 0;
    if (!sy_report_print(r, &r->lines) || !r->lines.len)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to report errors");
    char *text = (char *)r->lines.data, *end = strchr(text, '\n');
    size_t n = end ? (size_t)(end - text) : strlen(text);
    sy_error_set(err, SY_ERR_DATA, "%.*s", (int)(n < SY_ERROR_TEXT_MAX ? n : SY_ERROR_TEXT_MAX), text);
    if (err && end && end[1])
        err->lines = end + 1;
    return SY_ERR_DATA;
}

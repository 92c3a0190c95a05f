/* SPDX-License-Identifier: Apache-2.0
 * options.c - flags, environment and config file against one table
 */
#include "base/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/options_private.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)
#define NEAREST_MAX      3
#define NAME_MAX_BYTES   64
#define ENV_LETTERS_MIN  5

bool sy_option_is_action(const struct sy_option *row)
{
    return row->type == SY_OPTION_BOOL && !row->fallback;
}

void sy_option_env_name(const struct sy_option *row, char out[SY_OPTION_ENV_BYTES])
{
    int n = snprintf(out, SY_OPTION_ENV_BYTES, "SWITCHYARD_%s", row->name);

    for (int i = 0; i < n && i < SY_OPTION_ENV_BYTES; i++)
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
}

static int n_rows(const struct sy_option *table)
{
    int n = 0;

    while (table[n].name)
        n++;
    return n;
}

static bool of_command(const struct sy_option *row, int command)
{
    return row->commands & 1u << command;
}

static const struct sy_option *find_row(const struct sy_option *table, const char *name, size_t len)
{
    for (const struct sy_option *row = table; row->name; row++)
        if (strlen(row->name) == len && !memcmp(row->name, name, len))
            return row;
    return NULL;
}

/* Levenshtein distance, for names short enough to be names. */
static int distance(const char *a, const char *b)
{
    int la = (int)strlen(a), lb = (int)strlen(b), row[NAME_MAX_BYTES + 1];

    if (la > NAME_MAX_BYTES || lb > NAME_MAX_BYTES)
        return NAME_MAX_BYTES;
    for (int j = 0; j <= lb; j++)
        row[j] = j;
    for (int i = 1; i <= la; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= lb; j++) {
            int up = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (up + 1 < best)
                best = up + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
            diagonal = up;
        }
    }
    return row[lb];
}

const char *sy_options_nearest(const char *name, const char *const *names, int n_names)
{
    const char *best = NULL;
    int best_distance = NEAREST_MAX + 1;

    for (int i = 0; i < n_names; i++) {
        int d = distance(name, names[i]);
        /* A name of three letters is near to everything: at most half of the letters may differ. */
        if (d < best_distance && d * 2 <= (int)strlen(name)) {
            best_distance = d;
            best = names[i];
        }
    }
    return best;
}

const char *sy_options_near_env(const struct sy_option *table, const char *variable, char *out, size_t out_bytes)
{
    static const char prefix[] = "SWITCHYARD_";
    const char *names[256];
    char name[NAME_MAX_BYTES + 1], env[SY_OPTION_ENV_BYTES];
    size_t len = 0;
    int n = 0;

    if (strncmp(variable, prefix, sizeof prefix - 1))
        return NULL;
    for (const char *at = variable + sizeof prefix - 1; *at && len < NAME_MAX_BYTES; at++)
        name[len++] = *at == '_' ? '-' : (char)tolower((unsigned char)*at);
    name[len] = '\0';
    /* Modules of a site set such as SWITCHYARD_BIN, which a few letters make an option's. */
    if (len < ENV_LETTERS_MIN || find_row(table, name, len))
        return NULL;
    for (const struct sy_option *row = table; row->name && n < 256; row++)
        if (!sy_option_is_action(row))
            names[n++] = row->name;
    const char *near = sy_options_nearest(name, names, n);
    if (!near)
        return NULL;
    sy_option_env_name(find_row(table, near, strlen(near)), env);
    snprintf(out, out_bytes, "%s", env);
    return out;
}

/* The nearest option of this command, in words for the end of a message. */
static const char *suggest(const struct sy_option *table, int command, const char *name, char *out, size_t out_bytes)
{
    const char *names[256];
    int n = 0;

    for (const struct sy_option *row = table; row->name && n < 256; row++)
        if (of_command(row, command))
            names[n++] = row->name;
    const char *near = sy_options_nearest(name, names, n);
    if (near)
        snprintf(out, out_bytes, "; did you mean --%s?", near);
    else
        snprintf(out, out_bytes, "; see --help");
    return out;
}

/* A copy that lives as long as options; NULL without memory. */
static const char *keep(struct sy_options *options, const char *text, size_t len)
{
    char **grown = realloc(options->kept, ((size_t)options->n_kept + 1) * sizeof *grown);

    if (!grown)
        return NULL;
    options->kept = grown;
    char *copy = strndup(text, len);
    if (copy)
        options->kept[options->n_kept++] = copy;
    return copy;
}

/* The value of a config line between text and end: bare and trimmed up to a '#', or in double quotes with the escapes
 * \\ \" and \n. Writes it to out, which has room for all of it. Returns false when the line does not end after it. */
static bool config_value(const char *text, const char *end, char *out)
{
    while (text < end && isspace((unsigned char)*text))
        text++;
    if (text < end && *text == '"') {
        for (text++; text < end && *text != '"'; text++) {
            if (*text == '\\' && text + 1 < end)
                *out++ = *++text == 'n' ? '\n' : *text;
            else
                *out++ = *text;
        }
        *out = '\0';
        if (text == end)
            return false;
        for (text++; text < end && isspace((unsigned char)*text); text++)
            ;
        return text == end || *text == '#';
    }
    const char *hash = memchr(text, '#', (size_t)(end - text));
    if (hash)
        end = hash;
    while (end > text && isspace((unsigned char)end[-1]))
        end--;
    memcpy(out, text, (size_t)(end - text));
    out[end - text] = '\0';
    return true;
}

static enum sy_status config_line(struct sy_options *options, const char *where, const char *text, const char *end,
                                  void *values, struct sy_error *err)
{
    char hint[128], name[NAME_MAX_BYTES + 1];
    const char *equals = memchr(text, '=', (size_t)(end - text)), *stop = equals ? equals : end;

    while (stop > text && isspace((unsigned char)stop[-1]))
        stop--;
    snprintf(name, sizeof name, "%.*s", (int)(stop - text), text);
    const struct sy_option *row = find_row(options->table, text, (size_t)(stop - text));
    if (!row || sy_option_is_action(row) || (options->config_option && !strcmp(row->name, options->config_option)))
        return sy_error_set(err, SY_ERR_USAGE, "%s: unknown option \"%s\"%s", where, name,
                            suggest(options->table, options->command, name, hint, sizeof hint));
    if (!equals)
        return sy_error_set(err, SY_ERR_USAGE, "%s: expected \"%s = value\"", where, name);
    /* One file may serve several commands. */
    if (!of_command(row, options->command))
        return SY_OK;
    char *value = malloc((size_t)(end - equals) + 1);
    if (!value)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory", where);
    if (!config_value(equals + 1, end, value)) {
        free(value);
        return sy_error_set(err, SY_ERR_USAGE, "%s: the quoted value of \"%s\" does not end the line", where, name);
    }
    const char *kept = keep(options, value, strlen(value));
    free(value);
    if (!kept)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory", where);
    enum sy_status st = sy_option_set(row, kept, where, values, err);
    if (!st)
        options->sources[row - options->table] = SY_FROM_CONFIG;
    return st;
}

enum sy_status sy_options_read(struct sy_options *options, const char *name, const char *text, size_t len,
                               void *values, struct sy_error *err)
{
    const char *end = text + len;
    int line = 0;

    if (memchr(text, '\0', len))
        return sy_error_set(err, SY_ERR_USAGE, "%s: not a text file (it has a zero byte)", name);
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text)), *stop = newline ? newline : end;
        char where[512];
        line++;
        snprintf(where, sizeof where, "%s:%d", name, line);
        while (text < stop && isspace((unsigned char)*text))
            text++;
        if (text < stop && *text != '#') {
            enum sy_status st = config_line(options, where, text, stop, values, err);
            if (st)
                return st;
        }
        text = newline ? newline + 1 : end;
    }
    return SY_OK;
}

static enum sy_status read_config(struct sy_options *options, const char *path, void *values, struct sy_error *err)
{
    struct sy_buf buf = SY_BUF_INIT;
    enum sy_status st = sy_file_read(path, CONFIG_BYTES_MAX, &buf, err);

    if (!st && buf.len)
        st = sy_options_read(options, path, (const char *)buf.data, buf.len, values, err);
    sy_buf_fini(&buf);
    return st;
}

/* One argument that begins with '-': find its row, its value, and how many more arguments it takes (0 or 1). */
static enum sy_status match_flag(struct sy_options *options, int argc, char **argv, int i, int *row_at,
                                 const char **value, int *n_taken, struct sy_error *err)
{
    const struct sy_option *table = options->table, *row = NULL;
    const char *arg = argv[i], *equals = NULL;
    char name[NAME_MAX_BYTES + 1], hint[128];
    bool negated = false;

    if (arg[1] == '-') {
        equals = strchr(arg, '=');
        size_t len = equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2);
        row = find_row(table, arg + 2, len);
        if (!row && !equals && !strncmp(arg, "--no-", 5)) {
            row = find_row(table, arg + 5, len - 3);
            negated = row && row->type == SY_OPTION_BOOL && !sy_option_is_action(row);
            row = negated ? row : NULL;
        }
        snprintf(name, sizeof name, "%.*s", (int)(len < sizeof name ? len : sizeof name - 1), arg + 2);
    } else {
        snprintf(name, sizeof name, "%s", arg + 1);
        for (const struct sy_option *r = table; r->name && !arg[2]; r++)
            if (r->letter == arg[1])
                row = r;
    }
    if (row && !of_command(row, options->command))
        row = NULL;
    if (!row)
        return sy_error_set(err, SY_ERR_USAGE, "%s: unknown option %s%s%s", argv[0], arg[1] == '-' ? "--" : "-", name,
                            suggest(table, options->command, name, hint, sizeof hint));
    *row_at = (int)(row - table);
    *n_taken = 0;
    if (row->type == SY_OPTION_BOOL) {
        *value = equals ? equals + 1 : negated ? "false" : "true";
    } else if (equals) {
        *value = equals + 1;
    } else if (i + 1 < argc) {
        *value = argv[i + 1];
        *n_taken = 1;
    } else {
        return sy_error_set(err, SY_ERR_USAGE, "%s: --%s needs a value (%s)", argv[0], row->name,
                            row->unit ? row->unit : row->choices ? row->choices : "text");
    }
    return SY_OK;
}

/* The last value that a flag gives each row, and the other arguments. */
static enum sy_status scan_flags(struct sy_options *options, int argc, char **argv, const char **flags,
                                 struct sy_error *err)
{
    bool only_rest = false;

    for (int i = 1; i < argc; i++) {
        int row = 0, n_taken = 0;
        const char *value = NULL;
        if (only_rest || argv[i][0] != '-' || !argv[i][1]) {
            options->rest[options->n_rest++] = argv[i];
        } else if (!strcmp(argv[i], "--")) {
            only_rest = true;
        } else {
            enum sy_status st = match_flag(options, argc, argv, i, &row, &value, &n_taken, err);
            if (st)
                return st;
            flags[row] = value;
            i += n_taken;
        }
    }
    return SY_OK;
}

static enum sy_status apply_all(struct sy_options *options, const char *const *flags, sy_env_fn env, void *values,
                                struct sy_error *err)
{
    char name[SY_OPTION_ENV_BYTES], where[SY_OPTION_ENV_BYTES + 80];
    const struct sy_option *table = options->table;
    const char *config = NULL;
    enum sy_status st = SY_OK;

    for (int i = 0; table[i].name && !st; i++)
        if (of_command(&table[i], options->command) && table[i].fallback)
            st = sy_option_set(&table[i], table[i].fallback, table[i].name, values, err);
    for (int i = 0; table[i].name && options->config_option; i++)
        if (!strcmp(table[i].name, options->config_option)) {
            sy_option_env_name(&table[i], name);
            config = flags[i] ? flags[i] : env ? env(name) : NULL;
        }
    if (!st && config && *config)
        st = read_config(options, config, values, err);
    for (int i = 0; table[i].name && !st; i++) {
        if (!of_command(&table[i], options->command))
            continue;
        sy_option_env_name(&table[i], name);
        const char *text = env && !sy_option_is_action(&table[i]) ? env(name) : NULL;
        if (text && !flags[i]) {
            snprintf(where, sizeof where, "environment variable %s", name);
            st = sy_option_set(&table[i], text, where, values, err);
            options->sources[i] = SY_FROM_ENVIRONMENT;
        }
        if (flags[i]) {
            snprintf(where, sizeof where, "--%s", table[i].name);
            st = sy_option_set(&table[i], flags[i], where, values, err);
            options->sources[i] = SY_FROM_FLAG;
        }
    }
    return st;
}

enum sy_status sy_options_parse(const struct sy_option *table, int command, int argc, char **argv, sy_env_fn env,
                                const char *config_option, void *values, struct sy_options **out, struct sy_error *err)
{
    int n = n_rows(table);
    const char **flags = calloc((size_t)n + 1, sizeof *flags);
    struct sy_options *options = calloc(1, sizeof *options);
    enum sy_status st;

    if (options) {
        options->sources = calloc((size_t)n + 1, sizeof *options->sources);
        options->rest = calloc((size_t)argc + 1, sizeof *options->rest);
    }
    if (!flags || !options || !options->sources || !options->rest) {
        st = sy_error_set(err, SY_ERR_SYSTEM, "no memory for options");
        goto err_free;
    }
    options->table = table;
    options->command = command;
    options->config_option = config_option;
    options->values = values;
    st = scan_flags(options, argc, argv, flags, err);
    if (!st)
        st = apply_all(options, flags, env, values, err);
    if (st)
        goto err_free;
    free(flags);
    *out = options;
    return SY_OK;

err_free:
    free(flags);
    sy_options_destroy(options);
    return st;
}

int sy_options_n_rest(const struct sy_options *options)
{
    return options->n_rest;
}

const char *sy_options_rest(const struct sy_options *options, int i)
{
    return options->rest[i];
}

enum sy_option_source sy_options_source(const struct sy_options *options, const char *name)
{
    const struct sy_option *row = find_row(options->table, name, strlen(name));

    return row ? options->sources[row - options->table] : SY_FROM_DEFAULT;
}

void sy_options_destroy(struct sy_options *options)
{
    if (!options)
        return;
    for (int i = 0; i < options->n_kept; i++)
        free(options->kept[i]);
    free(options->kept);
    free(options->sources);
    free(options->rest);
    free(options);
}

/* SPDX-License-Identifier: Apache-2.0
 * jsonl.c - picks values out of JSON for shell tests
 *
 * usage: jsonl get FILE PATH...    a line for each JSON value of FILE: what stands at the paths, with tabs between
 *        jsonl list FILE PATH      a line for each element of the array at PATH in FILE's one value
 *        jsonl lines FILE          the number of lines, if each is one JSON object and ends with a newline
 *
 * A path is names and array indices with dots between them; "#" is the length of an array or string. Values are printed
 * as compact JSON, and what is not there as "-". FILE may be "-".
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_input(const char *path)
{
    FILE *in = strcmp(path, "-") ? fopen(path, "r") : stdin;

    if (!in) {
        perror(path);
        exit(2);
    }
    return in;
}

static void print_value(const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    fputs(text ? text : "-", stdout);
    free(text);
}

static json_t *member(json_t *value, const char *name)
{
    if (json_is_object(value))
        return json_object_get(value, name);
    if (json_is_array(value))
        return json_array_get(value, (size_t)strtoul(name, NULL, 10));
    return NULL;
}

static json_t *find(json_t *root, const char *path)
{
    char *copy = strdup(path), *rest = copy;

    for (char *name = strsep(&rest, "."); name && root; name = strsep(&rest, "."))
        root = member(root, name);
    free(copy);
    return root;
}

static void print_path(json_t *root, const char *path)
{
    size_t len = strlen(path);

    if (len < 2 || strcmp(path + len - 2, ".#")) {
        print_value(find(root, path));
        return;
    }
    char *parent = strndup(path, len - 2);
    json_t *value = find(root, parent);
    if (json_is_array(value))
        printf("%zu", json_array_size(value));
    else if (json_is_string(value))
        printf("%zu", json_string_length(value));
    else
        fputs("-", stdout);
    free(parent);
}

/* Is there anything but blanks? */
static int more(FILE *in)
{
    int c = fgetc(in);

    while (c == ' ' || c == '\t' || c == '\n' || c == '\r')
        c = fgetc(in);
    return c != EOF && ungetc(c, in) != EOF;
}

static int get(const char *file, char **paths, int n_paths)
{
    FILE *in = open_input(file);

    while (more(in)) {
        json_error_t why;
        json_t *root = json_loadf(in, JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
        if (!root) {
            fprintf(stderr, "%s:%d: %s\n", file, why.line, why.text);
            return 1;
        }
        for (int i = 0; i < n_paths; i++) {
            fputs(i ? "\t" : "", stdout);
            print_path(root, paths[i]);
        }
        putchar('\n');
        json_decref(root);
    }
    return 0;
}

static int list(const char *file, const char *path)
{
    json_error_t why;
    json_t *root = json_loadf(open_input(file), 0, &why), *array = root ? find(root, path) : NULL;

    if (!json_is_array(array)) {
        fprintf(stderr, "%s: no array at %s: %s\n", file, path, root ? "" : why.text);
        return 1;
    }
    for (size_t i = 0; i < json_array_size(array); i++) {
        print_value(json_array_get(array, i));
        putchar('\n');
    }
    json_decref(root);
    return 0;
}

static int lines(const char *file)
{
    FILE *in = open_input(file);
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    int n = 0;

    while ((len = getline(&line, &room, in)) >= 0) {
        json_error_t why;
        n++;
        if (line[len - 1] != '\n') {
            fprintf(stderr, "%s:%d: half a line: %s\n", file, n, line);
            return 1;
        }
        json_t *value = json_loadb(line, (size_t)len, JSON_ALLOW_NUL, &why);
        if (!json_is_object(value)) {
            fprintf(stderr, "%s:%d: no JSON object: %s\n", file, n, line);
            return 1;
        }
        json_decref(value);
    }
    free(line);
    printf("%d\n", n);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && !strcmp(argv[1], "get"))
        return get(argv[2], argv + 3, argc - 3);
    if (argc == 4 && !strcmp(argv[1], "list"))
        return list(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "lines"))
        return lines(argv[2]);
    fprintf(stderr, "usage: jsonl get FILE PATH... | list FILE PATH | lines FILE\n");
    return 2;
}

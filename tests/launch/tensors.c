/* SPDX-License-Identifier: Apache-2.0
 * tensors.c - looks into safetensors files for shell tests, and spoils them, with a reader of its own
 *
 * usage: tensors ids FILE NAME
 *            the I32 tensor as a JSON array
 *        tensors compare FILE NAME REFERENCE NAME TOLERANCE
 *            two F32 tensors [T,V]: same shape, and the largest difference is within TOLERANCE of the reference's
 *            largest absolute value; prints their ratio
 *        tensors logprobs FILE NAME ID...
 *            the log-probability of each id but the first, from the logits [T,V] of the position before it
 *        tensors spoil FILE NAME
 *            change the sign of the first element of a tensor of any type, in its last byte
 */
#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tensor {
    size_t n_rows, n_columns; /* [T,V]; one row for a vector */
    void *data;
};

struct place {
    size_t n_dims, dims[4], n_elements, bytes;
};

static void die(const char *file, const char *name, const char *why)
{
    fprintf(stderr, "tensors: %s: %s: %s\n", file, name, why);
    exit(2);
}

/* Where a tensor is: `in` stands at its first byte. dtype: that it must have, or NULL for any. */
static struct place find_tensor(FILE *in, const char *file, const char *name, const char *dtype)
{
    uint64_t header_len = 0;

    if (!in || fread(&header_len, sizeof header_len, 1, in) != 1 || header_len > 1 << 20)
        die(file, name, "cannot read the header's length");
    char *header = malloc(header_len);
    if (!header || fread(header, 1, header_len, in) != header_len)
        die(file, name, "cannot read the header");
    json_t *root = json_loadb(header, header_len, 0, NULL), *info = json_object_get(root, name);
    json_t *shape = json_object_get(info, "shape"), *offsets = json_object_get(info, "data_offsets");
    const char *found = json_string_value(json_object_get(info, "dtype"));
    struct place place = {.n_dims = json_array_size(shape), .n_elements = 1};
    if (!found || (dtype && strcmp(found, dtype)) || !place.n_dims || place.n_dims > 4)
        die(file, name, "no such tensor, or of another type");
    for (size_t i = 0; i < place.n_dims; i++)
        place.n_elements *= place.dims[i] = (size_t)json_integer_value(json_array_get(shape, i));
    size_t begin = (size_t)json_integer_value(json_array_get(offsets, 0));
    place.bytes = (size_t)json_integer_value(json_array_get(offsets, 1)) - begin;
    if (!place.n_elements || place.bytes % place.n_elements || fseek(in, (long)(8 + header_len + begin), SEEK_SET))
        die(file, name, "shape and offsets do not agree");
    json_decref(root);
    free(header);
    return place;
}

static struct tensor read_tensor(const char *file, const char *name, const char *dtype)
{
    FILE *in = fopen(file, "rb");
    struct place place = find_tensor(in, file, name, dtype);
    struct tensor t = {.n_rows = place.n_dims == 2 ? place.dims[0] : 1, .n_columns = place.dims[place.n_dims - 1]};

    t.data = malloc(place.bytes);
    if (place.n_dims > 2 || place.bytes != t.n_rows * t.n_columns * 4 || !t.data)
        die(file, name, "shape and offsets do not agree");
    if (fread(t.data, 1, place.bytes, in) != place.bytes)
        die(file, name, "the file is too short");
    fclose(in);
    return t;
}

static int spoil(const char *file, const char *name)
{
    FILE *both = fopen(file, "r+b");
    struct place place = find_tensor(both, file, name, NULL);
    long last = (long)(place.bytes / place.n_elements) - 1;

    if (fseek(both, last, SEEK_CUR))
        die(file, name, "the file is too short");
    int byte = getc(both);
    if (byte == EOF || fseek(both, -1, SEEK_CUR) || putc(byte ^ 0x80, both) == EOF || fclose(both))
        die(file, name, "cannot be changed");
    return 0;
}

static int print_ids(const char *file, const char *name)
{
    struct tensor t = read_tensor(file, name, "I32");
    const int32_t *ids = t.data;

    for (size_t i = 0; i < t.n_rows * t.n_columns; i++)
        printf("%s%d", i ? "," : "[", (int)ids[i]);
    printf("]\n");
    free(t.data);
    return 0;
}

static int compare(char **argv)
{
    struct tensor found = read_tensor(argv[0], argv[1], "F32"), expected = read_tensor(argv[2], argv[3], "F32");
    const float *a = found.data, *b = expected.data;
    double worst = 0, largest = 0;

    if (found.n_rows != expected.n_rows || found.n_columns != expected.n_columns)
        die(argv[0], argv[1], "another shape than the reference");
    for (size_t i = 0; i < found.n_rows * found.n_columns; i++) {
        double diff = fabs((double)a[i] - (double)b[i]);
        /* A NaN must not pass as no difference. */
        worst = isnan(diff) ? INFINITY : fmax(worst, diff);
        largest = fmax(largest, fabs((double)b[i]));
    }
    printf("%.2e\n", worst / largest);
    free(found.data);
    free(expected.data);
    return worst <= strtod(argv[4], NULL) * largest ? 0 : 1;
}

static int logprobs(const char *file, const char *name, char **ids, size_t n)
{
    struct tensor t = read_tensor(file, name, "F32");

    if (n > t.n_rows)
        die(file, name, "fewer positions than ids");
    for (size_t i = 1; i < n; i++) {
        const float *row = (const float *)t.data + (i - 1) * t.n_columns;
        size_t id = strtoul(ids[i], NULL, 10);
        double top = -INFINITY, sum = 0;
        if (id >= t.n_columns)
            die(file, name, "an id outside the vocabulary");
        for (size_t v = 0; v < t.n_columns; v++)
            top = fmax(top, (double)row[v]);
        for (size_t v = 0; v < t.n_columns; v++)
            sum += exp((double)row[v] - top);
        printf("%.9g\n", (double)row[id] - top - log(sum));
    }
    free(t.data);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "ids"))
        return print_ids(argv[2], argv[3]);
    if (argc == 7 && !strcmp(argv[1], "compare"))
        return compare(argv + 2);
    if (argc > 5 && !strcmp(argv[1], "logprobs"))
        return logprobs(argv[2], argv[3], argv + 4, (size_t)(argc - 4));
    if (argc == 4 && !strcmp(argv[1], "spoil"))
        return spoil(argv[2], argv[3]);
    fprintf(stderr, "usage: tensors ids FILE NAME | compare FILE NAME REFERENCE NAME TOLERANCE | "
                    "logprobs FILE NAME ID... | spoil FILE NAME\n");
    return 2;
}

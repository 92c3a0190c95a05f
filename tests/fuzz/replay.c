/* SPDX-License-Identifier: Apache-2.0
 * replay.c - run a fuzz harness over its stored corpus, without a fuzzer
 *
 * Linked with tests/fuzz/fuzz_NAME.c into tests/fuzz/NAME.t, it feeds each file of tests/data/fuzz/NAME to the harness;
 * NAME comes from the program's own name. A harness aborts when a promise is broken, so a broken one fails the test.
 */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Runs one input from memory of exactly its size, so that a sanitizer sees the first byte past its end. */
static bool replay(const char *path)
{
    struct sy_buf file = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;

    if (sy_file_read(path, (size_t)1 << 24, &file, &err)) {
        diag("%s", err.text);
        sy_buf_fini(&file);
        return false;
    }
    uint8_t *exact = malloc(file.len ? file.len : 1);
    if (exact && file.len)
        memcpy(exact, file.data, file.len);
    int rc = exact ? LLVMFuzzerTestOneInput(exact, file.len) : -1;
    free(exact);
    sy_buf_fini(&file);
    return rc == 0;
}

int main(int argc, char **argv)
{
    const char *top = getenv("SY_SRCDIR"), *base = strrchr(argv[0], '/');
    char name[64], dir[PATH_MAX], path[PATH_MAX + 300];
    struct dirent **entries = NULL;

    snprintf(name, sizeof name, "%.60s", base ? base + 1 : argv[0]);
    name[strcspn(name, ".")] = 0;
    if (argc > 1)
        snprintf(dir, sizeof dir, "%s", argv[1]);
    else
        snprintf(dir, sizeof dir, "%s/tests/data/fuzz/%s", top ? top : ".", name);
    int n = scandir(dir, &entries, no_dots, alphasort);
    if (n < 0)
        bail("%s: no such corpus", dir);
    ok(n > 0, "the corpus of %s has %d inputs", name, n);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, entries[i]->d_name);
        ok(replay(path), "%s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    done();
    return tap_exit();
}

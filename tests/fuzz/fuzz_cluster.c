/* SPDX-License-Identifier: Apache-2.0
 * fuzz_cluster.c - any text as a cluster file
 *
 * What is accepted must come back from a dump and from bytes as it was; what is refused must have a line that says why.
 */
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held)
        abort();
}

static struct sy_cluster *read_text(const char *text, size_t size, struct sy_buf *said)
{
    struct sy_report *report = sy_report_create();
    struct sy_cluster *c = sy_cluster_read_text("fuzz", text, size, report);

    demand(!c == (sy_report_n_errors(report) > 0));
    demand(sy_report_print(report, said));
    demand(c || (said->len && said->data[said->len - 1] == '\n' && memmem(said->data, said->len, "error: ", 7)));
    if (c)
        sy_cluster_check(c, report);
    sy_report_destroy(report);
    return c;
}

static void check_dump(const struct sy_cluster *c, bool sources)
{
    struct sy_buf first = SY_BUF_INIT, second = SY_BUF_INIT, said = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;
    char why[200];

    demand(sy_cluster_dump(c, sources, &first, &err) == SY_OK);
    struct sy_cluster *again = read_text((const char *)first.data, first.len, &said);
    demand(again && sy_cluster_equal(c, again, why, sizeof why));
    demand(sy_cluster_dump(again, sources, &second, &err) == SY_OK);
    demand(sources || (first.len == second.len && !memcmp(first.data, second.data, first.len)));
    sy_cluster_destroy(again);
    sy_buf_fini(&first);
    sy_buf_fini(&second);
    sy_buf_fini(&said);
}

static void check_bytes(const struct sy_cluster *c)
{
    struct sy_buf bytes = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_cluster *again = NULL;

    demand(sy_cluster_pack(c, &bytes, &err) == SY_OK);
    struct sy_cursor in = {bytes.data, bytes.len, 0};
    demand(sy_cluster_unpack(&in, &again, &err) == SY_OK && in.at == bytes.len);
    demand(sy_cluster_equal(c, again, NULL, 0));
    sy_cluster_destroy(again);
    sy_buf_fini(&bytes);
}

/* Merging with itself finds no difference. */
static void check_merge(const char *text, size_t size, const struct sy_cluster *c)
{
    struct sy_report *report = sy_report_create();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_cluster *other = sy_cluster_read_text("fuzz", text, size, report);

    demand(other && sy_cluster_merge(other, c, SY_DISCOVER_VERIFY, report, &err) == SY_OK);
    sy_cluster_destroy(other);
    sy_report_destroy(report);
}

static void check_paths(const struct sy_cluster *c)
{
    struct sy_path *paths = calloc((size_t)c->n_vertices + 1, sizeof *paths);
    struct sy_error err = SY_ERROR_INIT;

    demand(paths != NULL);
    if (c->n_ranks) {
        demand(sy_paths_from(c, c->ranks[0], paths, &err) == SY_OK);
        demand(paths[c->ranks[0]].cls == SY_PATH_SELF);
    }
    free(paths);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_buf said = SY_BUF_INIT;
    /* Files of this machine are none of its business. */
    struct sy_cluster *c = memmem(data, size, "include", 7) ? NULL : read_text((const char *)data, size, &said);

    /* Big ones take long, and are like small ones. */
    if (c && c->n_vertices < 5000 && c->n_links < 20000) {
        check_dump(c, false);
        check_dump(c, true);
        check_bytes(c);
        check_merge((const char *)data, size, c);
        check_paths(c);
    }
    sy_cluster_destroy(c);
    sy_buf_fini(&said);
    return 0;
}

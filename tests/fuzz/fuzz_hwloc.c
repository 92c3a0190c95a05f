/* SPDX-License-Identifier: Apache-2.0
 * fuzz_hwloc.c - any XML of hwloc
 *
 * What is accepted becomes a node of a finished cluster that can be shown; what is refused says which file.
 */
#include <stdlib.h>
#include <string.h>

#include "hwloc_view.h"
#include "show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_view *view = sy_view_create();
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf text = SY_BUF_INIT;

    demand(view != NULL);
    enum sy_status st = sy_hwloc_xml_read("fuzz", (const char *)data, size, view, NULL, &err);
    demand(st == SY_OK || st == SY_ERR_DATA);
    if (st) {
        demand(!strncmp(err.text, "fuzz:", 5) && strstr(err.text, ": error: "));
    } else {
        struct sy_cluster *c = sy_cluster_create();
        demand(c && !sy_view_add(view, "n", sy_source_of(SY_ORIGIN_IMPORTED), c, &err) && !sy_cluster_finish(c, &err));
        demand(sy_show_cluster(c, &text) && sy_show_matrix(view, &text));
        sy_cluster_destroy(c);
    }
    sy_buf_fini(&text);
    sy_view_destroy(view);
    return 0;
}

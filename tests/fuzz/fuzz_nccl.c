/* SPDX-License-Identifier: Apache-2.0
 * fuzz_nccl.c - any topology file of NCCL
 *
 * What is accepted becomes a node of a finished cluster, and is written as such a file that reads as the same cluster. What is
 * refused says where.
 */
#include <stdlib.h>
#include <string.h>

#include "nccl_xml.h"
#include "show.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool held)
{
    if (!held)
        abort();
}

static struct sy_cluster *cluster_of(const struct sy_view *view)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_cluster *c = sy_cluster_create();

    demand(c && !sy_view_add(view, "n", sy_source_imported(sy_cluster_file(c, "f"), 0, 0), c, &err));
    demand(!sy_cluster_finish(c, &err));
    return c;
}

/* What is written is read, and written again it is the same text. */
static void write_again(const struct sy_view *view)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf first = SY_BUF_INIT, second = SY_BUF_INIT;
    struct sy_nccl_xml again;

    demand(!sy_nccl_xml_write(view, &first, &err));
    demand(!sy_nccl_xml_read("again", (const char *)first.data, first.len, &again, NULL, &err) && again.n_views == 1);
    demand(!sy_nccl_xml_write(again.views[0], &second, &err));
    demand(first.len == second.len && !memcmp(first.data, second.data, first.len));
    demand(again.views[0]->nvml.n_gpus == view->nvml.n_gpus && again.views[0]->n_switches == view->n_switches);
    sy_nccl_xml_fini(&again);
    sy_buf_fini(&first);
    sy_buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sy_nccl_xml xml;
    struct sy_findings findings = SY_FINDINGS_INIT;
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf text = SY_BUF_INIT;
    enum sy_status st = sy_nccl_xml_read("fuzz", (const char *)data, size, &xml, &findings, &err);

    demand(st == SY_OK || st == SY_ERR_DATA);
    if (st) {
        demand(!strncmp(err.text, "fuzz:", 5) && strstr(err.text, ": error: ") &&
               sy_findings_count(&findings, SY_FINDING_ERROR) > 0);
    } else {
        demand(xml.n_views > 0 && !sy_findings_count(&findings, SY_FINDING_ERROR));
        for (int i = 0; i < xml.n_views; i++) {
            struct sy_cluster *c = cluster_of(xml.views[i]);
            text.len = 0;
            demand(sy_show_cluster(c, &text) && sy_show_matrix(xml.views[i], &text));
            sy_cluster_destroy(c);
            write_again(xml.views[i]);
        }
    }
    sy_buf_fini(&text);
    sy_findings_fini(&findings);
    sy_nccl_xml_fini(&xml);
    return 0;
}

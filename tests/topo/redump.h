/* SPDX-License-Identifier: Apache-2.0
 * redump.h - a cluster through a cluster file and back
 */
#ifndef SY_TESTS_TOPO_REDUMP_H
#define SY_TESTS_TOPO_REDUMP_H

#include <string.h>

#include "cluster.h"
#include "tap.h"

/* Comments say where values come from, which for a file that was read is another place than for what it was written from. */
static inline void without_comments(struct sy_buf *text)
{
    size_t n = 0;

    for (size_t i = 0; i < text->len; i++) {
        if (text->len - i > 4 && !memcmp(text->data + i, "  # ", 4))
            while (i < text->len && text->data[i] != '\n')
                i++;
        if (i < text->len)
            text->data[n++] = text->data[i];
    }
    text->len = n;
}

/* Written as a cluster file it is read as the same cluster, and written again as the same text. */
static inline void redump(const struct sy_cluster *c, const char *name)
{
    struct sy_buf first = SY_BUF_INIT, second = SY_BUF_INIT, lines = SY_BUF_INIT;
    struct sy_report *report = sy_report_create();
    struct sy_error err = SY_ERROR_INIT;
    char why[500] = "";

    if (sy_cluster_dump(c, true, &first, &err))
        bail("%s", err.text);
    struct sy_cluster *again = sy_cluster_read_text("dump.yaml", (const char *)first.data, first.len, report);
    if (!ok(again && sy_cluster_equal(c, again, why, sizeof why), "%s: its cluster file is read as the same", name)) {
        sy_report_print(report, &lines);
        diag("%s\n%.2000s", why, lines.len ? (const char *)lines.data : "");
    }
    if (again && sy_cluster_dump(again, true, &second, &err))
        bail("%s", err.text);
    without_comments(&first);
    without_comments(&second);
    ok(again && first.len == second.len && !memcmp(first.data, second.data, first.len), "%s: and written as the same",
       name);
    sy_cluster_destroy(again);
    sy_report_destroy(report);
    sy_buf_fini(&first);
    sy_buf_fini(&second);
    sy_buf_fini(&lines);
}

#endif

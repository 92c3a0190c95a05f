/* SPDX-License-Identifier: Apache-2.0
 * nccl_xml.h - topology files of NCCL (NCCL_TOPO_DUMP_FILE, NCCL_TOPO_FILE): read into views, written from one
 */
#ifndef SY_TOPO_NCCL_XML_H
#define SY_TOPO_NCCL_XML_H

#include "base/buf.h"
#include "view.h"

#define SY_NCCL_HOSTS_MAX 64

/* The machines of a file: one, or one for each host_hash of a dump that goes over several. */
struct sy_nccl_xml {
    int n_views;
    struct sy_view *views[SY_NCCL_HOSTS_MAX];
};

/* Read a whole file. name: for messages, which begin "NAME:LINE:COLUMN: error: ". What is wrong is among the findings, all of it,
 * and the first of it in err. Errors: SY_ERR_DATA; SY_ERR_SYSTEM. The caller calls sy_nccl_xml_fini(), also after an error, when
 * it holds what could be read. */
enum sy_status sy_nccl_xml_read(const char *name, const char *text, size_t len, struct sy_nccl_xml *xml,
                                struct sy_findings *findings, struct sy_error *err);
void sy_nccl_xml_fini(struct sy_nccl_xml *xml);

/* A machine as NCCL reads it. Errors: SY_ERR_SYSTEM. */
enum sy_status sy_nccl_xml_write(const struct sy_view *view, struct sy_buf *out, struct sy_error *err);

#endif

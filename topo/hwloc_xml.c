/* SPDX-License-Identifier: Apache-2.0
 * hwloc_xml.c - files of lstopo: looked at by expat first, then read by hwloc itself
 *
 * hwloc says on standard error what it does not like and nothing to its caller. What can be wrong with a file is therefore found
 * before: not XML, not a topology, a version that this hwloc does not read, nested without end.
 */
#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hwloc_view.h"

#define DEPTH_MAX 256
#define BYTES_MAX ((size_t)64 << 20)

struct look {
    XML_Parser parser;
    int depth, n_elements, major;
    bool is_topology;
    char text[300]; /* what is wrong */
    long line, column;
};

static void complain(struct look *look, const char *what)
{
    if (look->text[0])
        return;
    snprintf(look->text, sizeof look->text, "%s", what);
    look->line = (long)XML_GetCurrentLineNumber(look->parser);
    look->column = (long)XML_GetCurrentColumnNumber(look->parser) + 1;
    XML_StopParser(look->parser, XML_FALSE);
}

static void look_at_root(struct look *look, const char *name, const char **attributes)
{
    char what[300];

    if (strcmp(name, "topology") != 0) {
        snprintf(what, sizeof what, "expected <topology>, found <%.60s>%s", name,
                 !strcmp(name, "system") ? ": this is a topology of NCCL (--import-nccl)" : "");
        complain(look, what);
        return;
    }
    look->is_topology = true;
    look->major = 1;
    for (int i = 0; attributes[i]; i += 2)
        if (!strcmp(attributes[i], "version"))
            look->major = atoi(attributes[i + 1]);
    if (look->major < 1 || look->major > 2) {
        snprintf(what, sizeof what,
                 "version %d of hwloc's XML, this program reads 1 and 2; write it again with: lstopo "
                 "--export-xml-flags v2, or "
                 "with an lstopo of hwloc 2",
                 look->major);
        complain(look, what);
    }
}

static void XMLCALL begin(void *data, const char *name, const char **attributes)
{
    struct look *look = data;

    look->n_elements++;
    if (!look->depth)
        look_at_root(look, name, attributes);
    if (++look->depth > DEPTH_MAX)
        complain(look, "nested too deep for a machine");
}

static void XMLCALL end(void *data, const char *name)
{
    (void)name;
    ((struct look *)data)->depth--;
}

/* An entity that is defined in the file could stand for any number of others. */
static void XMLCALL entity(void *data, const char *name, int is_parameter, const char *value, int n, const char *base,
                           const char *system, const char *public, const char *notation)
{
    (void)name, (void)is_parameter, (void)value, (void)n, (void)base, (void)system, (void)public, (void)notation;
    complain(data, "entities are not read");
}

static enum sy_status look_at(const char *name, const char *text, size_t len, struct sy_error *err)
{
    struct look look = {.parser = XML_ParserCreate(NULL)};
    enum sy_status st = SY_OK;

    if (!look.parser)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", name);
    XML_SetUserData(look.parser, &look);
    XML_SetElementHandler(look.parser, begin, end);
    XML_SetEntityDeclHandler(look.parser, entity);
    if (len > BYTES_MAX) {
        st = sy_error_set(err, SY_ERR_DATA, "%s: larger than %zu MiB", name, BYTES_MAX >> 20);
    } else if (XML_Parse(look.parser, text, (int)len, XML_TRUE) != XML_STATUS_OK) {
        if (look.text[0])
            st = sy_error_set(err, SY_ERR_DATA, "%s:%ld:%ld: error: %s", name, look.line, look.column, look.text);
        else
            st = sy_error_set(err, SY_ERR_DATA, "%s:%lu:%lu: error: %s", name,
                              (unsigned long)XML_GetCurrentLineNumber(look.parser),
                              (unsigned long)XML_GetCurrentColumnNumber(look.parser) + 1,
                              XML_ErrorString(XML_GetErrorCode(look.parser)));
    }
    XML_ParserFree(look.parser);
    return st;
}

/* hwloc wants a text that ends in a NUL byte, which counts. */
static int load(hwloc_topology_t topology, const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    int rc = -1;

    if (!copy)
        return -1;
    memcpy(copy, text, len);
    copy[len] = 0;
    hwloc_topology_set_io_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_ALL);
    if (hwloc_topology_set_xmlbuffer(topology, copy, (int)len + 1) == 0)
        rc = hwloc_topology_load(topology);
    free(copy);
    return rc;
}

enum sy_status sy_hwloc_xml_read(const char *name, const char *text, size_t len, struct sy_view *view,
                                 struct sy_findings *findings, struct sy_error *err)
{
    hwloc_topology_t topology;
    struct sy_findings mine = SY_FINDINGS_INIT;
    enum sy_status st = look_at(name, text, len, err);

    if (st)
        return st;
    if (hwloc_topology_init(&topology) != 0)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %s", name);
    if (load(topology, text, len) != 0)
        st = sy_error_set(err, SY_ERR_DATA, "%s: error: hwloc %x.%x does not read it as a topology", name,
                          hwloc_get_api_version() >> 16, hwloc_get_api_version() >> 8 & 0xff);
    if (!st)
        st = sy_hwloc_view(topology, SY_GPUS_IN_TREE, view, &mine, err);
    if (!st)
        sy_nvml_check(&view->nvml, "", &mine);
    for (int i = 0; i < mine.n; i++)
        sy_findings_add(findings, mine.list[i].severity, name, "%s", mine.list[i].text);
    sy_findings_fini(&mine);
    hwloc_topology_destroy(topology);
    return st;
}

enum sy_status sy_hwloc_xml_write(hwloc_topology_t topology, const char *path, struct sy_error *err)
{
    /* hwloc's own name for standard output is the usual one. */
    if (hwloc_topology_export_xml(topology, path, 0) != 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot write", path);
    return SY_OK;
}

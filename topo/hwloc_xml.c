/* SPDX-License-Identifier: Apache-2.0
 * hwloc_xml.c - files of lstopo: looked at by expat first, then read by hwloc itself
 *
 * hwloc says on standard error what it does not like and nothing to its caller. What can be wrong with a file is therefore found
 * before: not XML, not a topology, a version that this hwloc does not read, nested without end. The rest is read in a process
 * of its own.
 */
#include <errno.h>
#include <expat.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "hwloc_view.h"

/* Longest time for one file. */
#define SECONDS_MAX 30
#define DEPTH_MAX   256
#define BYTES_MAX   ((size_t)64 << 20)

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

/* In a process of its own, since hwloc does not survive every file: what it made of it, or nothing, through a pipe. */
static void read_alone(int fd, const char *text, size_t len, struct sy_view *view)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sy_findings found = SY_FINDINGS_INIT;
    struct sy_error err = SY_ERROR_INIT;
    hwloc_topology_t topology;

    /* MPI's handlers would write pages about it. */
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    alarm(SECONDS_MAX);
    if (hwloc_topology_init(&topology) || load(topology, text, len) ||
        sy_hwloc_view(topology, SY_GPUS_IN_TREE, view, &found, &err))
        _exit(1);
    sy_nvml_check(&view->nvml, "", &found);
    int32_t n = found.n;
    if (sy_file_write(fd, "pipe", view, sizeof *view, &err) ||
        sy_file_write(fd, "pipe", view->nvml.gpus, (size_t)view->nvml.n_gpus * sizeof *view->nvml.gpus, &err) ||
        sy_file_write(fd, "pipe", &n, sizeof n, &err) ||
        sy_file_write(fd, "pipe", found.list, (size_t)n * sizeof *found.list, &err))
        _exit(1);
    _exit(0);
}

static bool is_place(const struct sy_view *view, const struct sy_view_place *at, int n_above)
{
    return at->numa >= -1 && at->numa < view->n_numa && at->upstream >= -1 && at->upstream < n_above;
}

/* Numbers that are indices are within their arrays, and texts end: a broken heap may have written anything. */
static bool is_sane(struct sy_view *view)
{
    if (view->n_numa < 0 || view->n_numa > SY_VIEW_NUMA_MAX || view->n_switches < 0 ||
        view->n_switches > SY_VIEW_SWITCHES_MAX || view->n_nics < 0 || view->n_nics > SY_VIEW_NICS_MAX ||
        view->nvml.n_gpus < 0 || view->nvml.n_gpus > SY_NVML_GPUS_MAX)
        return false;
    for (int i = 0; i < view->n_switches; i++)
        if (!is_place(view, &view->switches[i].at, view->n_switches) || view->switches[i].at.upstream == i)
            return false;
    for (int i = 0; i < view->n_nics; i++)
        if (!is_place(view, &view->nics[i].at, view->n_switches))
            return false;
    for (int i = 0; i < view->nvml.n_gpus; i++)
        if (!is_place(view, &view->gpus[i], view->n_switches))
            return false;
    return true;
}

/* What the other process wrote, into view and findings. */
static bool take(const struct sy_buf *bytes, const char *name, struct sy_view *view, struct sy_findings *findings)
{
    struct sy_cursor cursor = {bytes->data, bytes->len, 0};
    struct sy_finding f;
    int32_t n = 0;

    bool good = sy_cursor_take(&cursor, view, sizeof *view);
    view->nvml.gpus = NULL;
    view->nvml.pairs = NULL;
    if (!good || !is_sane(view)) {
        memset(view, 0, sizeof *view);
        return false;
    }
    view->nvml.gpus = calloc(SY_NVML_GPUS_MAX, sizeof *view->nvml.gpus);
    if (!view->nvml.gpus ||
        !sy_cursor_take(&cursor, view->nvml.gpus, (size_t)view->nvml.n_gpus * sizeof *view->nvml.gpus) ||
        !sy_cursor_take(&cursor, &n, sizeof n))
        return false;
    for (int i = 0; i < n && sy_cursor_take(&cursor, &f, sizeof f); i++)
        sy_findings_add(findings, f.severity, name, "%.*s", (int)sizeof f.text, f.text);
    return true;
}

/* All that comes through a pipe until its other end is closed. */
static bool read_pipe(int fd, struct sy_buf *bytes)
{
    char piece[65536];
    ssize_t n;

    while ((n = read(fd, piece, sizeof piece)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || !sy_buf_append(bytes, piece, (size_t)n))
            return false;
    }
    return true;
}

enum sy_status sy_hwloc_xml_read(const char *name, const char *text, size_t len, struct sy_view *view,
                                 struct sy_findings *findings, struct sy_error *err)
{
    struct sy_buf bytes = SY_BUF_INIT;
    enum sy_status st = look_at(name, text, len, err);
    int fds[2], ended = -1;

    if (st)
        return st;
    if (pipe2(fds, O_CLOEXEC) != 0)
        return sy_error_errno(err, SY_ERR_SYSTEM, "%s: no pipe", name);
    pid_t pid = fork();
    if (pid == 0)
        read_alone(fds[1], text, len, view);
    close(fds[1]);
    bool good = pid > 0 && read_pipe(fds[0], &bytes);
    close(fds[0]);
    while (pid > 0 && waitpid(pid, &ended, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || !good)
        st = sy_error_errno(err, SY_ERR_SYSTEM, "%s: no process to read it", name);
    else if (!WIFEXITED(ended) || WEXITSTATUS(ended) > 1)
        st = sy_error_set(err, SY_ERR_DATA, "%s: error: hwloc fails when it reads this file", name);
    else if (WEXITSTATUS(ended) || !take(&bytes, name, view, findings))
        st = sy_error_set(err, SY_ERR_DATA,
                          "%s: error: hwloc does not read it as a topology (HWLOC_XML_VERBOSE=1 has it say why)", name);
    sy_buf_fini(&bytes);
    return st;
}

enum sy_status sy_hwloc_xml_write(hwloc_topology_t topology, const char *path, struct sy_error *err)
{
    /* hwloc's own name for standard output is the usual one. */
    if (hwloc_topology_export_xml(topology, path, 0) != 0)
        return sy_error_errno(err, SY_ERR_IO, "%s: cannot write", path);
    return SY_OK;
}

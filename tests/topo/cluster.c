/* SPDX-License-Identifier: Apache-2.0
 * cluster.c - cluster files: the examples, and everything that can be wrong with one, with its place
 */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "path.h"
#include "tap.h"

/* A small cluster in which every section has something to be wrong with. Lines are counted below: edits name them. */
static const char *const base[] = {
    "switchyard_cluster: 1",                                                                                   /* 1 */
    "name: small",                                                                                             /* 2 */
    "link_types:",                                                                                             /* 3 */
    "  nvl4: {class: nvlink, bw: 25 GB/s, efficiency: 0.82, latency: 0.6 us}",                                 /* 4 */
    "  pcie5: {class: pcie, bw: 63 GB/s}",                                                                     /* 5 */
    "  upi: {class: smp, bw: 40 GB/s}",                                                                        /* 6 */
    "  ndr: {class: ib, bw: 400 Gb/s, latency: 2 us}",                                                         /* 7 */
    "device_types: {h100: {kind: gpu, sm: 90, mem: 80 GB, compute: {bf16: 989 TFLOP/s}}}",                     /* 8 */
    "node_types:",                                                                                             /* 9 */
    "  box:",                                                                                                  /* 10 */
    "    numa: 2",                                                                                             /* 11 */
    "    devices: [{id: \"gpu[0-3]\", type: h100, numa: [0, 0, 1, 1]}]",                                       /* 12 */
    "    switches: [{id: nvs0, kind: nvswitch}, {id: \"plx[0-1]\", kind: pcie, numa: \"[0-1]\"}]",             /* 13 */
    "    nics: [{id: \"nic[0-1]\", rail: \"[0-1]\", port: ndr}]",                                              /* 14 */
    "    links:",                                                                                              /* 15 */
    "      - {from: \"gpu[0-3]\", to: nvs0, type: nvl4, count: 18}",                                           /* 16 */
    "      - {zip: [\"gpu[0-3]\", \"plx[0,0,1,1]\"], type: pcie5}",                                            /* 17 */
    "      - {zip: [\"nic[0-1]\", \"plx[0-1]\"], type: pcie5}",                                                /* 18 */
    "      - {from: numa0, to: numa1, type: upi}",                                                             /* 19 */
    "nodes: [{name: \"n[0-1]\", type: box}]",                                                                  /* 20 */
    "fabrics:",                                                                                                /* 21 */
    "  - {name: ib, kind: rail, rails: 2, port: ndr, members: \"n[0-1].nic[0-1]\", spine: {latency: 0.6 us}}", /* 22 */
    "policy: {discover: off}",                                                                                 /* 23 */
};

#define N_LINES (int)(sizeof base / sizeof *base)

/* The base with line `line` replaced (edit NULL: without it), with '\n' after each line; freed by the caller. */
static char *edited(int line, const char *edit)
{
    struct sy_buf text = SY_BUF_INIT;

    for (int i = 1; i <= N_LINES; i++)
        if (i != line || edit)
            sy_buf_printf(&text, "%s\n", i == line ? edit : base[i - 1]);
    return (char *)text.data;
}

/* What is reported about a text, "" for nothing; freed by the caller. */
static char *report_of(const char *text, size_t n, struct sy_cluster **cluster)
{
    struct sy_report *report = sy_report_create();
    struct sy_buf lines = SY_BUF_INIT;
    struct sy_cluster *c = sy_cluster_read_text("c", text, n, report);

    sy_buf_printf(&lines, "%s", "");
    sy_report_print(report, &lines);
    if (!c != (sy_report_n_errors(report) > 0))
        bail("a cluster and errors, or neither");
    sy_report_destroy(report);
    if (cluster)
        *cluster = c;
    else
        sy_cluster_destroy(c);
    return (char *)lines.data;
}

/* One edit of the base, and all that is then said. */
struct mistake {
    int line;
    const char *edit, *said;
};

static const struct mistake mistakes[] = {
#include "cluster_mistakes.h"
};

static void check_mistakes(void)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const struct mistake *m = &mistakes[i];
        char *text = edited(m->line, m->edit), *said = report_of(text, strlen(text), NULL), name[60];
        snprintf(name, sizeof name, "%.59s", m->said);
        name[strcspn(name, "\n")] = '\0';
        is_str(said, m->said, "%s", name);
        free(text);
        free(said);
    }
}

/* Bytes of all kinds after the keys that take them. */
static void check_bytes(void)
{
    static const char nul[] = "switchyard_cluster: 1\nname: \"a\\0b\"\n",
                      latin[] = "switchyard_cluster: 1\nname: caf\xe9\n";
    char *said = report_of(nul, sizeof nul - 1, NULL);

    is_str(said, "c:2:7: error: text with a NUL character\n", "a NUL");
    free(said);
    said = report_of(latin, sizeof latin - 1, NULL);
    ok(strstr(said, "error: not text in UTF-8"), "not UTF-8: %s", said);
    free(said);
    said = report_of("", 0, NULL);
    is_str(said, "c:1:1: error: the file is empty\n", "nothing");
    free(said);
}

/* What editors of other systems write. */
static void check_marks(void)
{
    static const char lines[] = "\xef\xbb\xbfswitchyard_cluster: 1\r\ndevice_types: {c: {kind: cpu}}\r\n"
                                "node_types: {b: {devices: [{id: cpu0, type: c}]}}\r\nnodes: [{name: n, type: b}]\r\n",
                      xml[] = "<system version=\"1\"/>\n";
    char *said = report_of(lines, sizeof lines - 1, NULL);

    is_str(said, "", "a byte order mark, and lines that end in CR LF");
    free(said);
    said = report_of(xml, sizeof xml - 1, NULL);
    has_str(said, "c:1:1: error: this is XML and no cluster file", "a file of another kind");
    free(said);
}

/* Files that are small and want much. */
static void check_hostile(void)
{
    static const char *const texts[] = {
        "switchyard_cluster: 1\nnodes: [{name: \"n[0-1000000000]\", type: t}]\nnode_types: {t: {}}\n",
        "switchyard_cluster: 1\nnodes: [{name: \"n[0-999].[0-999].[0-999].[0-999]\", type: t}]\nnode_types: {t: {}}\n",
        "switchyard_cluster: 1\ndevice_types: {d: {kind: cpu}}\nnode_types: {t: {devices: [{id: \"d[0-99999]\", type: "
        "d}]}}\n"
        "nodes: [{name: \"n[0-99999]\", type: t}]\n",
        "switchyard_cluster: 1\ndevice_types: {d: {kind: cpu}}\nlink_types: {l: {class: shm}}\n"
        "node_types: {t: {devices: [{id: \"[a,b][0-9999]\", type: d}]}}\nnodes: [{name: n, type: t}]\n",
        "switchyard_cluster: 1\ndevice_types: {d: {kind: cpu}}\nlink_types: {l: {class: shm}}\n"
        "node_types: {t: {devices: [{id: \"a[0-9999]\", type: d}], links: [{mesh: \"a[0-9999]\", type: l}]}}\n"
        "nodes: [{name: n, type: t}]\n",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
        "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g]\n",
        "a: &a [*a]\n",
        "a: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *said = report_of(texts[i], strlen(texts[i]), NULL);
        ok(strstr(said, "error: ") != NULL, "refused: %.*s", (int)strcspn(said, "\n"), said);
        free(said);
    }
}

/* At most 20 errors are said, and how many there are. */
static void check_cap(void)
{
    struct sy_buf text = SY_BUF_INIT;
    int n = 0;

    sy_buf_printf(&text, "switchyard_cluster: 1\nlink_types:\n");
    for (int i = 0; i < 30; i++)
        sy_buf_printf(&text, "  l%d: {class: ib, bw: %d}\n", i, i);
    char *said = report_of((char *)text.data, text.len, NULL);
    for (char *at = said; (at = strstr(at, "error: ")); at++)
        n++;
    is_int(n, SY_REPORT_ERRORS_MAX, "20 of many errors");
    has_str(said, "\n10 more errors are not shown\n", "and how many more");
    free(said);
    sy_buf_fini(&text);
}

/* Files that include others. */
static void write_file(const char *dir, const char *name, const char *text)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        bail("cannot write %s", path);
}

static void check_include(void)
{
    char dir[] = "/tmp/switchyard-cluster-XXXXXX", path[300], part[300], expected[2000], *whole = edited(0, NULL);
    struct sy_report *report = sy_report_create();
    struct sy_buf said = SY_BUF_INIT;

    if (!mkdtemp(dir))
        bail("no folder for files");
    write_file(dir, "part.yaml", whole);
    write_file(dir, "c.yaml",
               "include: [part.yaml]\nname: other\nlink_types: {ndr: {class: ib, bw: 200 Gb/s}}\n"
               "node_types: {mine: {base: box, replace: {device_type: {h100: h200}}}}\n"
               "device_types: {h200: {kind: gpu, mem: 141 GB}}\n"
               "nodes: [{name: m0, type: mine, host: \"*.cluster\"}]\n");
    snprintf(path, sizeof path, "%s/c.yaml", dir);
    struct sy_cluster *c = sy_cluster_read(path, report);
    if (!ok(c != NULL, "a file that includes another"))
        sy_report_print(report, &said), bail("%s", (char *)said.data);
    is_int(c->n_nodes, 1, "its nodes replace the other's");
    is_int(c->n_fabrics, 0, "and their fabrics");
    is_str(sy_cluster_text(c, c->name), "other", "its name too");
    const struct sy_vertex *v = &c->vertices[sy_cluster_find(c, "m0.gpu1")];
    ok(c->device_types[v->type].mem.value == 141e9, "the base's devices are of another type");
    v = &c->vertices[sy_cluster_find(c, "m0.nic1")];
    ok(v->port >= 0 && c->link_types[v->port].bw.value == 25e9, "a link type is defined anew");
    is_str(sy_cluster_text(c, c->nodes[0].host.value), "*.cluster", "a host");
    sy_source_show(c, v->rail.from, expected, sizeof expected);
    ok(!strcmp(expected + strlen(expected) - 5, "14:35"), "places are the included file's: %s", expected);
    sy_cluster_destroy(c);

    write_file(dir, "part.yaml", "include: [c.yaml, none.yaml]\nlink_types: {x: {class: ib, bw: 3}}\n");
    ok(!sy_cluster_read(path, report), "a file that includes itself");
    sy_report_print(report, &said);
    snprintf(expected, sizeof expected,
             "%s/part.yaml:1:11: error: %s/c.yaml includes itself, by way of this file\n"
             "%s/part.yaml:1:19: error: %s/none.yaml: cannot open: No such file or directory\n"
             "%s/part.yaml:2:33: error: expected a bandwidth such as 25 GB/s, found '3', a number without unit\n",
             dir, dir, dir, dir, dir);
    has_str((char *)said.data, expected, "and another that is not there");
    sy_report_destroy(report);
    sy_buf_fini(&said);
    free(whole);
    snprintf(part, sizeof part, "%s/part.yaml", dir);
    unlink(part);
    unlink(path);
    rmdir(dir);
}

/* What the examples are, from end to end. */
struct example {
    const char *name;
    int n_nodes, n_ranks, n_domains;
    const char *from, *to;
    enum sy_path_class cls;
    double bw;
};

static const struct example examples[] = {
    {"laptop", 1, 2, 0, "localhost.cpu0", "localhost.cpu1", SY_PATH_SHM, 8e9},
    {"dgx-h100", 1, 8, 1, "dgx01.gpu0", "dgx01.gpu7", SY_PATH_NVLINK, 18 * 25e9 * 0.82},
    {"dgx-h100", 1, 8, 1, "dgx01.gpu2", "dgx01.nic2", SY_PATH_PIX, 63e9 * 0.76},
    {"h200-4x8", 4, 32, 4, "n0.gpu1", "n3.gpu1", SY_PATH_NETWORK, 63e9 * 0.76},
    {"h200-4x8", 4, 32, 4, "n0.nic1", "n3.nic5", SY_PATH_NETWORK, 50e9},
    {"gb200-nvl72", 18, 72, 1, "t00.gpu0", "t17.gpu3", SY_PATH_NVLINK, 18 * 50e9 * 0.8},
    {"gb200-nvl72", 18, 72, 1, "t03.gpu2", "t03.cpu1", SY_PATH_C2C, 224e9},
    {"cpu-eth-16", 16, 32, 0, "c01.cpu0", "c16.cpu1", SY_PATH_NETWORK, 25e9 / 8 * 0.94},
};

static void check_examples(void)
{
    const char *top = getenv("SY_SRCDIR");
    char path[4000];

    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *e = &examples[i];
        struct sy_report *report = sy_report_create();
        struct sy_buf said = SY_BUF_INIT;
        struct sy_error err = SY_ERROR_INIT;
        struct sy_path found;
        snprintf(path, sizeof path, "%s/topo/clusters/%s.yaml", top ? top : ".", e->name);
        struct sy_cluster *c = sy_cluster_read(path, report);
        if (c)
            sy_cluster_check(c, report);
        sy_buf_printf(&said, "%s", "");
        sy_report_print(report, &said);
        is_str((char *)said.data, "", "%s is read", e->name);
        if (c) {
            ok(c->n_nodes == e->n_nodes && c->n_ranks == e->n_ranks && c->n_domains == e->n_domains,
               "%d nodes, %d ranks, %d NVLink domains", c->n_nodes, c->n_ranks, c->n_domains);
            sy_path_find(c, sy_cluster_find(c, e->from), sy_cluster_find(c, e->to), &found, NULL, 0, &err);
            ok(found.cls == (int)e->cls && found.bw.value > e->bw * 0.999999 && found.bw.value < e->bw * 1.000001,
               "%s to %s: %s, %g GB/s", e->from, e->to, sy_path_class_name(found.cls), found.bw.value * 1e-9);
        }
        sy_cluster_destroy(c);
        sy_report_destroy(report);
        sy_buf_fini(&said);
    }
}

int main(void)
{
    char *whole = edited(0, NULL), *said = report_of(whole, strlen(whole), NULL);

    is_str(said, "", "nothing is wrong with the base");
    free(whole);
    free(said);
    check_examples();
    check_mistakes();
    check_bytes();
    check_marks();
    check_hostile();
    check_cap();
    check_include();
    done();
    return tap_exit();
}

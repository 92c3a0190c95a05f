/* SPDX-License-Identifier: Apache-2.0
 * dump.c - clusters written as cluster files: read again they are equal, written again they are the same text
 */
#include "cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "range.h"
#include "tap.h"
#include "testrand.h"

static struct sy_cluster *read_again(const struct sy_buf *text, const char *what)
{
    struct sy_report *report = sy_report_create();
    struct sy_buf said = SY_BUF_INIT;
    struct sy_cluster *c = sy_cluster_read_text("dump", (const char *)text->data, text->len, report);

    sy_report_print(report, &said);
    if (!c || said.len)
        diag("%s: %.*s\n%.*s", what, (int)said.len, (const char *)said.data, (int)text->len, (const char *)text->data);
    sy_buf_fini(&said);
    sy_report_destroy(report);
    return c;
}

/* Equal texts, or the first lines that differ. */
static bool same_text(const struct sy_buf *a, const struct sy_buf *b, const char *what)
{
    size_t at = 0, line = 0;

    while (at < a->len && at < b->len && a->data[at] == b->data[at])
        if (a->data[at++] == '\n')
            line = at;
    if (a->len == b->len && at == a->len)
        return true;
    diag("%s: written '%.100s', then '%.100s'", what, (const char *)a->data + line, (const char *)b->data + line);
    return false;
}

/* Write, read, compare; write again, and once more. */
static bool holds(const struct sy_cluster *c, bool sources, const char *what)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf texts[3] = {SY_BUF_INIT, SY_BUF_INIT, SY_BUF_INIT};
    struct sy_cluster *again[2] = {NULL, NULL};
    char why[300] = "";
    bool held = sy_cluster_dump(c, sources, &texts[0], &err) == SY_OK;

    for (int i = 0; i < 2 && held; i++) {
        again[i] = read_again(&texts[i], what);
        held = again[i] && sy_cluster_equal(c, again[i], why, sizeof why) &&
               sy_cluster_dump(again[i], sources, &texts[i + 1], &err) == SY_OK;
    }
    if (*why || err.text[0])
        diag("%s: %s%s", what, why, err.text);
    /* The first text's comments name the file that it was read from. */
    for (int i = sources; i < 2 && held; i++)
        held = same_text(&texts[i], &texts[i + 1], what);
    for (int i = 0; i < 3; i++)
        sy_buf_fini(&texts[i]);
    sy_cluster_destroy(again[0]);
    sy_cluster_destroy(again[1]);
    return held;
}

static void check_examples(void)
{
    static const char *const names[] = {"laptop", "dgx-h100", "h200-4x8", "gb200-nvl72", "cpu-eth-16"};
    const char *top = getenv("SY_SRCDIR");
    char path[4000];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct sy_report *report = sy_report_create();
        snprintf(path, sizeof path, "%s/topo/clusters/%s.yaml", top ? top : ".", names[i]);
        struct sy_cluster *c = sy_cluster_read(path, report);
        ok(c && holds(c, false, names[i]), "%s", names[i]);
        ok(c && holds(c, true, names[i]), "%s, with sources", names[i]);
        sy_cluster_destroy(c);
        sy_report_destroy(report);
    }
}

static struct sy_source any_source(struct testrand *rand, struct sy_cluster *c)
{
    switch (testrand_next(rand) % 4) {
    case 0:
        return sy_source_of(SY_ORIGIN_DISCOVERED);
    case 1:
        return sy_source_at(sy_cluster_file(c, "a b.yaml"), 1 + (int)(testrand_next(rand) % 9), 3);
    case 2:
        return sy_source_imported(sy_cluster_file(c, "t.xml"), 1 + (int)(testrand_next(rand) % 9), 1);
    default:
        return sy_source_of(SY_ORIGIN_DEFAULT);
    }
}

/* Any positive number with all its digits, over many powers of ten; unknown now and then. */
static struct sy_real any_real(struct testrand *rand, struct sy_cluster *c)
{
    double value = (1.0 + (double)(testrand_next(rand) >> 12) * 0x1p-52);

    for (int i = (int)(testrand_next(rand) % 40); i > 0; i--)
        value *= 2;
    return testrand_next(rand) % 4 ? sy_real_of(value, any_source(rand, c)) : (struct sy_real){0};
}

static struct sy_int any_int(struct testrand *rand, struct sy_cluster *c, int n)
{
    return testrand_next(rand) % 3 ? sy_int_of((int64_t)(testrand_next(rand) % (unsigned)n), any_source(rand, c))
                                   : (struct sy_int){0};
}

static struct sy_text any_text(struct testrand *rand, struct sy_cluster *c)
{
    static const char *const texts[] = {"x",      "0000:19:00.0", "GPU-6f4a", "a: b # c",   "\"quoted\" \\ back",
                                        " blank", "- no list",    "yes",      "",           "\xc3\xa9t\xc3\xa9",
                                        "*alias", "0-3,8-11",     "~",        "{a: [1,2]}", "!tag"};
    return testrand_next(rand) % 2 ? sy_text_of(c, texts[testrand_next(rand) % 15], any_source(rand, c))
                                   : (struct sy_text){0};
}

static int any_link_type(struct testrand *rand, struct sy_cluster *c, int cls)
{
    static const char *const names[] = {"nvl", "a link", "pcie5", ""};
    struct sy_link_type t = {.name = sy_cluster_intern(c, names[testrand_next(rand) % 4]),
                             .cls = cls,
                             .bw = any_real(rand, c),
                             .latency = any_real(rand, c),
                             .per_message = any_real(rand, c),
                             .from = any_source(rand, c)};

    if (testrand_next(rand) % 2)
        t.efficiency = sy_real_of((double)(1 + testrand_next(rand) % 999) / 1000, any_source(rand, c));
    /* What a port of 200 GB/s would be warned of is not looked at here. */
    if (SY_KNOWN(t.bw) && t.bw.value > 1e11)
        t.bw.value /= 65536;
    return sy_cluster_link_type(c, &t);
}

static int any_device_type(struct testrand *rand, struct sy_cluster *c, bool gpu)
{
    struct sy_device_type t = {.name = sy_cluster_intern(c, gpu ? "a gpu" : "cpu"),
                               .model = any_text(rand, c),
                               .mem = any_real(rand, c),
                               .mem_bw = any_real(rand, c),
                               .from = any_source(rand, c)};

    for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
        t.compute[i] = any_real(rand, c);
    t.l2 = any_real(rand, c);
    t.l3 = any_real(rand, c);
    if (gpu)
        t.sm = any_int(rand, c, 2);
    if (SY_KNOWN(t.sm))
        t.sm.value = 90 + t.sm.value;
    return sy_cluster_device_type(c, &t);
}

static void any_node(struct testrand *rand, struct sy_cluster *c, int number)
{
    static const int kinds[] = {SY_VERTEX_GPU, SY_VERTEX_GPU, SY_VERTEX_CPU,
                                SY_VERTEX_NIC, SY_VERTEX_NIC, SY_VERTEX_PCIE};
    char text[40];
    int n_numa = 1 + (int)(testrand_next(rand) % 3), n = 1 + (int)(testrand_next(rand) % 12);

    snprintf(text, sizeof text, testrand_next(rand) % 2 ? "n%d" : "rack-%03d.org", number);
    struct sy_int numa = n_numa == 1 && testrand_next(rand) % 2 ? (struct sy_int){0}
                                                                : sy_int_of(n_numa, any_source(rand, c));
    int node = sy_cluster_add_node(c, text, numa, any_source(rand, c)), first = c->n_vertices;
    c->nodes[node].host = testrand_next(rand) % 3 ? (struct sy_text){0} : sy_text_of(c, "h*", any_source(rand, c));
    c->nodes[node].chassis = any_text(rand, c);
    if (testrand_next(rand) % 2)
        sy_cluster_add_fact(c, node, "kernel", sy_text_of(c, "6.1 (Debian)", any_source(rand, c)));
    for (int i = 0; i < n; i++) {
        int kind = kinds[testrand_next(rand) % 6];
        snprintf(text, sizeof text, "%s%d", sy_vertex_kind_name(kind), i);
        int v = sy_cluster_add_vertex(c, node, kind, text, any_source(rand, c));
        struct sy_vertex *x = &c->vertices[v];
        x->numa = any_int(rand, c, n_numa);
        x->pci = any_text(rand, c);
        if (kind != SY_VERTEX_PCIE)
            x->uuid = any_text(rand, c);
        x->domain = kind == SY_VERTEX_GPU ? any_text(rand, c) : (struct sy_text){0};
        x->clique = kind == SY_VERTEX_GPU ? any_int(rand, c, 9) : (struct sy_int){0};
        x->rail = kind == SY_VERTEX_NIC ? any_int(rand, c, 4) : (struct sy_int){0};
        if (kind == SY_VERTEX_NIC && testrand_next(rand) % 2)
            x->port = any_link_type(rand, c, SY_LINK_IB);
        if (kind == SY_VERTEX_GPU || kind == SY_VERTEX_CPU)
            x->type = any_device_type(rand, c, kind == SY_VERTEX_GPU);
        /* A switch has a link, and no pair has two of a class. */
        struct sy_int count = testrand_next(rand) % 2 ? sy_int_of(2, any_source(rand, c)) : (struct sy_int){0};
        if (i || kind == SY_VERTEX_PCIE)
            sy_cluster_add_link(c, v, c->nodes[node].first_numa + (int)(testrand_next(rand) % (unsigned)n_numa),
                                any_link_type(rand, c, SY_LINK_PCIE), count, any_source(rand, c));
    }
    for (int i = first; i + 1 < c->n_vertices; i += 2)
        if (c->vertices[i].kind == SY_VERTEX_GPU && c->vertices[i + 1].kind == SY_VERTEX_GPU)
            sy_cluster_add_link(c, i, i + 1, any_link_type(rand, c, SY_LINK_NVLINK), (struct sy_int){0},
                                any_source(rand, c));
}

static struct sy_cluster *any_cluster(struct testrand *rand)
{
    struct sy_cluster *c = sy_cluster_create();
    struct sy_error err = SY_ERROR_INIT;
    int n = 1 + (int)(testrand_next(rand) % 5), gpus[100], n_gpus = 0;

    for (int i = 0; i < n; i++)
        any_node(rand, c, i);
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].kind == SY_VERTEX_GPU)
            gpus[n_gpus++] = v;
    struct sy_fabric f = {.name = sy_cluster_intern(c, "nvl"), .kind = SY_FABRIC_NVLINK, .from = any_source(rand, c)};
    f.port = any_link_type(rand, c, SY_LINK_NVLINK);
    f.count = sy_int_of(18, any_source(rand, c));
    f.planes = testrand_next(rand) % 2 ? sy_int_of(3, any_source(rand, c)) : (struct sy_int){0};
    f.domain = any_text(rand, c);
    if (n_gpus)
        sy_cluster_add_fabric(c, &f, gpus, n_gpus);
    for (int i = n_gpus; i-- > 0 && testrand_next(rand) % 3;)
        sy_cluster_map_rank(c, gpus[i]);
    if (sy_cluster_finish(c, &err) != SY_OK)
        bail("%s", err.text);
    return c;
}

/* What discovery and imports may make, and more. */
static void check_random(void)
{
    struct testrand rand = testrand_begin();
    int held = 0, n = getenv("SY_VALGRIND") ? 20 : 300;

    for (int i = 0; i < n; i++) {
        struct sy_cluster *c = any_cluster(&rand);
        held += holds(c, i % 2, "a random cluster");
        sy_cluster_destroy(c);
    }
    is_int(held, n, "%d random clusters", n);
}

static bool join(void *arg, const char *text)
{
    return sy_buf_printf(arg, "%s ", text);
}

static void check_ranges(void)
{
    static const struct {
        const char *names[8], *folded;
    } cases[] = {
        {{"gpu0", "gpu1", "gpu2", "gpu7"}, "gpu[0-2,7] "},
        {{"n08", "n09", "n10", "n11"}, "n[08-11] "},
        {{"n8", "n9", "n10"}, "n[8-10] "},
        {{"n9", "n08"}, "n9 n08 "},
        {{"a0b", "a1b", "a1c"}, "a[0-1]b a1c "},
        {{"n0.nic[0-7]", "n1.nic[0-7]"}, "n[0-1].nic[0-7] "},
        {{"n0.nic[0-7]", "n0.nic[0-8]"}, "n0.nic[0-7] n0.nic[0-8] "},
        {{"x", "y"}, "x y "},
        {{"g1", "g1", "g0"}, "g[1,1,0] "},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sy_buf text = SY_BUF_INIT;
        int n = 0;
        while (n < 8 && cases[i].names[n])
            n++;
        sy_range_fold(cases[i].names, n, join, &text);
        is_str((char *)text.data, cases[i].folded, "names to %s", cases[i].folded);
        sy_buf_fini(&text);
    }
}

/* 1024 nodes of 8 GPUs with UUIDs of their own: what a big cluster's own dump is like. */
static void check_size(void)
{
    struct sy_buf text = SY_BUF_INIT;
    int n = getenv("SY_VALGRIND") ? 32 : 1024;

    sy_buf_printf(
        &text,
        "switchyard_cluster: 1\n"
        "link_types: {p: {class: pcie, bw: 60 GB/s}, n: {class: nvlink, bw: 25 GB/s}, i: {class: ib, bw: 400 Gb/s}}\n"
        "device_types: {h: {kind: gpu, sm: 90, mem: 80 GB}}\n"
        "node_types:\n  t:\n    numa: 2\n"
        "    devices: [{id: \"gpu[0-7]\", type: h, numa: [0,0,0,0,1,1,1,1]}]\n"
        "    switches: [{id: \"plx[0-7]\", kind: pcie, numa: [0,0,0,0,1,1,1,1]}, {id: \"nvs[0-3]\", kind: nvswitch}]\n"
        "    nics: [{id: \"nic[0-7]\", port: i}]\n"
        "    links: [{zip: [\"gpu[0-7]\", \"plx[0-7]\"], type: p}, {zip: [\"nic[0-7]\", \"plx[0-7]\"], type: p},\n"
        "      {from: \"gpu[0-7]\", to: \"nvs[0-3]\", type: n, count: 4}]\n"
        "fabrics: [{name: ib, kind: rail, rails: 8, port: i, members: \"n[0-%d].nic[0-7]\"}]\nnodes:\n",
        n - 1);
    for (int i = 0; i < n; i++) {
        sy_buf_printf(&text, "  - {name: n%d, type: t, set: {", i);
        for (int g = 0; g < 8; g++)
            sy_buf_printf(&text, "gpu%d: {uuid: GPU-%04x-%d, pci: \"0000:%02x:00.0\"}%s", g, i, g, 16 * g,
                          g < 7 ? ", " : "}}\n");
    }
    clock_t begin = clock();
    struct sy_cluster *c = read_again(&text, "a big cluster");
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    if (ok(c && c->n_ranks == 8 * n, "%d nodes of 8 GPUs", n)) {
        diag("%zu bytes, %d vertices, %d links in %.3f s", text.len, c->n_vertices, c->n_links, seconds);
        /* Of the processor, whatever else runs; about 0.1 s. */
        ok(seconds < 1, "are read in less than a second: %.3f s", seconds);
        ok(holds(c, false, "a big cluster"), "and written");
    }
    sy_cluster_destroy(c);
    sy_buf_fini(&text);
}

int main(void)
{
    check_ranges();
    check_examples();
    check_random();
    check_size();
    done();
    return tap_exit();
}

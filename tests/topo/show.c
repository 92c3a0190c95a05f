/* SPDX-License-Identifier: Apache-2.0
 * show.c - text and pictures of the example clusters and of recorded machines
 */
#include "show.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "fixture.h"
#include "svg.h"
#include "tap.h"

static struct sy_error err = SY_ERROR_INIT;

static struct sy_cluster *example(const char *name)
{
    char path[4096], file[128];
    struct sy_report *report = sy_report_create();

    snprintf(file, sizeof file, "topo/clusters/%.80s.yaml", name);
    struct sy_cluster *c = sy_cluster_read(fixture_path(file, path, sizeof path), report);
    if (!c)
        bail("%s cannot be read", file);
    sy_report_destroy(report);
    return c;
}

static struct sy_cluster *recorded(const char *machine)
{
    char lib[4096], data[4096], name[128];
    const char *build = getenv("SY_BUILDDIR");
    struct sy_view *view = sy_view_create();
    struct sy_cluster *c = sy_cluster_create();

    snprintf(lib, sizeof lib, "%.4000s/tests/topo/fake/libnvidia-ml.so.1", build ? build : ".");
    snprintf(name, sizeof name, "tests/data/nvml/%.80s", machine);
    setenv("FAKE_NVML", fixture_path(name, data, sizeof data), 1);
    if (!view || !c || sy_view_discover(lib, "", view, NULL, NULL, &err) ||
        sy_view_add(view, "n", sy_source_of(SY_ORIGIN_DISCOVERED), c, &err) || sy_cluster_finish(c, &err))
        bail("%s: %s", machine, err.text);
    sy_view_destroy(view);
    return c;
}

/* Text. */

static void test_kinds(void)
{
    struct sy_cluster *c = example("gb200-nvl72");
    int of[18], n = sy_show_kinds(c, of);
    char names[200];

    is_int(n, 1, "18 trays are of one kind");
    sy_show_names(c, of, 0, names, sizeof names);
    is_str(names, "t00, t01, t02, ..., t17", "of which the first and last are named");
    sy_show_names(c, of, 0, names, 8);
    is_str(names, "t00", "in as much room as there is");
    sy_cluster_destroy(c);
}

static void test_text(void)
{
    struct sy_cluster *c = example("h200-4x8");
    struct sy_buf text = SY_BUF_INIT;

    ok(sy_show_cluster(c, &text), "a cluster is shown");
    has_str((const char *)text.data, "cluster h200-4x8: 4 nodes, 32 GPUs in 4 NVLink domains, 32 ranks\n", "its head");
    has_str((const char *)text.data,
            "\n    plx7 (PCIe switch)\n      gpu7 h200, sm 90, 141 GB, PCIe 47.88 GB/s, 18 NVLinks 369 GB/s",
            "a GPU below its switch");
    has_str((const char *)text.data, "\n      nic7, ib 400 Gb/s, rail 7, PCIe 47.88 GB/s\n", "a NIC beside it");
    text.len = 0;
    ok(sy_show_node_matrix(c, 0, &text), "and its matrix");
    has_str((const char *)text.data, "\nNIC5   SYS    SYS    SYS    SYS    NODE   PIX    NODE   NODE   SYS ",
            "a NIC against all");
    has_str((const char *)text.data, "\nGPU1   NV18    X     NV18 ", "a GPU against others");
    sy_cluster_destroy(c);
    c = example("cpu-eth-16");
    text.len = 0;
    ok(sy_show_node_matrix(c, 3, &text) && text.len == 0, "without GPUs there is no matrix");
    sy_cluster_destroy(c);
    sy_buf_fini(&text);
}

static void test_rate(void)
{
    struct sy_real known = {50e9, {.origin = SY_ORIGIN_FILE}};
    char out[32];

    is_str(sy_show_rate(known, SY_LINK_IB, out, sizeof out), "400 Gb/s", "networks in bits");
    is_str(sy_show_rate(known, SY_LINK_NVLINK, out, sizeof out), "50 GB/s", "others in bytes");
    is_str(sy_show_rate((struct sy_real){0}, SY_LINK_PCIE, out, sizeof out), "unknown rate", "unknown is not zero");
}

/* Pictures. */

struct box {
    double x, y, w, h;
    bool device; /* what must not overlap another such */
};

struct seen {
    struct box boxes[4096], texts[4096], picture;
    int n_boxes, n_texts;
    char chars[300];
    struct box text;
    bool in_text, bold;
};

static const char *get(const char **attributes, const char *name)
{
    for (int i = 0; attributes[i]; i += 2)
        if (!strcmp(attributes[i], name))
            return attributes[i + 1];
    return "";
}

static void XMLCALL begin(void *data, const char *name, const char **a)
{
    static const char *const devices[] = {"#eaf4d9", "#f9e4e1", "#fdf3d8", "#e1ebf6", "#d5ebb0", "#ececec"};
    struct seen *s = data;
    struct box b = {atof(get(a, "x")), atof(get(a, "y")), atof(get(a, "width")), atof(get(a, "height")), false};

    if (!strcmp(name, "svg"))
        s->picture = b;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
        b.device |= !strcmp(get(a, "fill"), devices[i]);
    if (!strcmp(name, "rect") && s->n_boxes < 4096 && get(a, "width")[strlen(get(a, "width")) - 1] != '%')
        s->boxes[s->n_boxes++] = b;
    s->in_text = !strcmp(name, "text");
    s->bold = s->in_text && get(a, "font-weight")[0];
    b.w = atof(get(a, "font-size")) > 0 ? atof(get(a, "font-size")) : 11;
    s->text = b;
    s->chars[0] = 0;
}

static void XMLCALL chars(void *data, const char *text, int n)
{
    struct seen *s = data;

    if (s->in_text)
        snprintf(s->chars + strlen(s->chars), sizeof s->chars - strlen(s->chars), "%.*s", n, text);
}

/* A text's own box: letters of this font are 0.61 of its size wide on average, bold ones 0.69. */
static void XMLCALL end(void *data, const char *name)
{
    struct seen *s = data;

    if (!strcmp(name, "text") && s->n_texts < 4096) {
        double size = s->text.w;
        s->texts[s->n_texts++] = (struct box){s->text.x, s->text.y - size,
                                              (s->bold ? 0.69 : 0.61) * size * (double)strlen(s->chars), size, true};
    }
    s->in_text = false;
}

static bool apart(const struct box *a, const struct box *b)
{
    return a->x + a->w <= b->x + 0.5 || b->x + b->w <= a->x + 0.5 || a->y + a->h <= b->y + 0.5 ||
           b->y + b->h <= a->y + 0.5;
}

static bool inside(const struct box *a, const struct box *b)
{
    return a->x >= b->x && a->x + a->w <= b->x + b->w && a->y >= b->y && a->y + a->h <= b->y + b->h;
}

static void check_picture(const struct sy_cluster *c, const char *name, int n_devices)
{
    struct sy_buf out = SY_BUF_INIT;
    struct seen *s = calloc(1, sizeof *s);
    XML_Parser parser = XML_ParserCreate(NULL);
    int n = 0, n_overlaps = 0, n_cut = 0, n_outside = 0;

    if (!s || sy_svg_write(c, &out, &err))
        bail("%s", err.text);
    XML_SetUserData(parser, s);
    XML_SetElementHandler(parser, begin, end);
    XML_SetCharacterDataHandler(parser, chars);
    ok(XML_Parse(parser, (const char *)out.data, (int)out.len, XML_TRUE) == XML_STATUS_OK, "%s: the picture is XML",
       name);
    XML_ParserFree(parser);
    for (int i = 0; i < s->n_boxes; i++) {
        n += s->boxes[i].device;
        n_outside += !inside(&s->boxes[i], &s->picture);
        for (int j = i + 1; j < s->n_boxes && s->boxes[i].device; j++)
            n_overlaps += s->boxes[j].device && !apart(&s->boxes[i], &s->boxes[j]);
    }
    for (int i = 0; i < s->n_texts; i++) {
        n_outside += !inside(&s->texts[i], &s->picture);
        for (int j = i + 1; j < s->n_texts; j++)
            n_overlaps += !apart(&s->texts[i], &s->texts[j]);
        for (int j = 0; j < s->n_boxes; j++)
            n_cut += s->boxes[j].device && !apart(&s->texts[i], &s->boxes[j]) && !inside(&s->texts[i], &s->boxes[j]);
    }
    is_int(n, n_devices, "%s: so many boxes", name);
    is_int(n_overlaps, 0, "%s: boxes and texts that overlap", name);
    is_int(n_cut, 0, "%s: texts across the edge of a box", name);
    is_int(n_outside, 0, "%s: boxes and texts outside the picture", name);
    free(s);
    sy_buf_fini(&out);
}

int main(void)
{
    static const struct {
        const char *name;
        int n_devices; /* boxes of one node */
    } examples[] = {{"laptop", 3}, {"dgx-h100", 28}, {"h200-4x8", 28}, {"gb200-nvl72", 10}, {"cpu-eth-16", 3}};

    test_rate();
    test_kinds();
    test_text();
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        struct sy_cluster *c = example(examples[i].name);
        check_picture(c, examples[i].name, examples[i].n_devices);
        sy_cluster_destroy(c);
    }
    static const char *const machines[] = {"hgx-h200", "a100-4", "gb200-0", "none"};
    static const int extra[] = {12, 4, 4, 0};
    for (int i = 0; i < 4; i++) {
        struct sy_cluster *c = recorded(machines[i]);
        int n_own = 0;
        for (int v = 0; v < c->n_vertices; v++)
            n_own += c->vertices[v].kind == SY_VERTEX_CPU || c->vertices[v].kind == SY_VERTEX_NIC ||
                     c->vertices[v].kind == SY_VERTEX_PCIE;
        check_picture(c, machines[i], n_own + extra[i]);
        sy_cluster_destroy(c);
    }
    done();
    return tap_exit();
}

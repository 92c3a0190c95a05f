/* SPDX-License-Identifier: Apache-2.0
 * nccl_write.c - a machine as NCCL reads it (NCCL_TOPO_FILE)
 *
 * What is not known is left out: NCCL finds it itself.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_xml.h"

struct writer {
    const struct sy_view *view;
    struct sy_buf *out;
    bool failed;
};

static void put(struct writer *w, int depth, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(struct writer *w, int depth, const char *fmt, ...)
{
    char line[1024];
    va_list args;

    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    w->failed |= !sy_buf_printf(w->out, "%*s%s\n", 2 * depth, "", line);
}

/* A name of the system's in an attribute. */
static const char *quoted(const char *text, char out[400])
{
    size_t n = 0;

    for (; *text && n < 390; text++) {
        const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '"' ? "&quot;" : NULL;
        if (entity)
            n += (size_t)snprintf(out + n, 400 - n, "%s", entity);
        else if ((unsigned char)*text >= ' ')
            out[n++] = *text;
    }
    out[n] = 0;
    return out;
}

/* "0-15,32" as groups of 32 bits, the last one first, as many as the machine's last CPU needs. */
static void affinity(const char *cpus, int n_groups, char *out, size_t bytes)
{
    size_t len = 0;

    for (int g = n_groups - 1; g >= 0; g--) {
        uint32_t bits = 0;
        for (const char *c = cpus; *c;) {
            int first, last, n = 0;
            if (sscanf(c, "%d%n", &first, &n) != 1)
                break;
            c += n;
            last = first;
            if (*c == '-' && sscanf(c, "-%d%n", &last, &n) == 1)
                c += n;
            for (int cpu = first > g * 32 ? first : g * 32; cpu <= last && cpu < (g + 1) * 32; cpu++)
                bits |= 1u << (cpu - g * 32);
            c += *c == ',';
        }
        len += (size_t)snprintf(out + len, bytes - len, "%08x%s", bits, g ? "," : "");
    }
}

static int n_groups_of(const struct sy_view *view)
{
    int last = 0;

    for (int i = 0; i < view->n_numa; i++)
        for (const char *c = view->numa[i].cpus; *c; c++)
            if (c == view->numa[i].cpus || c[-1] == '-' || c[-1] == ',')
                last = atoi(c) > last ? atoi(c) : last;
    return last / 32 + 1 < 64 ? last / 32 + 1 : 64;
}

/* Attributes of a port: generation and lanes again from its rate. */
static void port(double bw, char out[80])
{
    static const double gt_s[] = {2.5, 5, 8, 16, 32, 64};
    static const int lanes[] = {16, 8, 4, 2, 1, 32};

    out[0] = 0;
    for (int l = 0; l < 6 && bw > 0; l++)
        for (int g = 5; g >= 0; g--) {
            double ratio = sy_pcie_bw(gt_s[g], lanes[l]) / bw;
            if (ratio < 0.99 || ratio > 1.01)
                continue;
            snprintf(out, 80, " link_speed=\"%.1f GT/s PCIe\" link_width=\"%d\"", gt_s[g], lanes[l]);
            return;
        }
}

static void put_gpu(struct writer *w, int i, int depth)
{
    const struct sy_nvml_gpu *gpu = &w->view->nvml.gpus[i];
    bool amd = w->view->xgmi;
    char speed[80], sm[440] = "", name[400];

    port(w->view->gpus[i].bw, speed);
    put(w, depth, "<pci busid=\"%s\" class=\"%s\" vendor=\"%s\"%s>", gpu->pci, amd ? "0x120000" : "0x030200",
        amd ? "0x1002" : "0x10de", speed);
    /* Without <gpu> NCCL looks at the GPU itself. */
    bool known = gpu->sm > 0 || gpu->n_up >= 0;
    if (gpu->sm > 0)
        snprintf(sm, sizeof sm, " sm=\"%d\"", (int)gpu->sm);
    else if (!strncmp(gpu->name, "gfx", 3))
        snprintf(sm, sizeof sm, " gcn=\"%s\"", quoted(gpu->name, name));
    if (known)
        put(w, depth + 1, "<gpu dev=\"%d\"%s rank=\"%d\" gdr=\"1\">", i, sm, i);
    for (int k = 0; k < gpu->n_nvlinks && known; k++) {
        const struct sy_nvlink *link = &gpu->nvlinks[k];
        if (link->far != SY_FAR_UNKNOWN)
            put(w, depth + 2, "<%s target=\"%s\" count=\"%d\" tclass=\"%s\"/>", amd ? "xgmi" : "nvlink",
                link->pci[0] ? link->pci : "fffffff:ffff:ff", (int)link->count,
                link->far == SY_FAR_SWITCH ? "0x068000"
                : link->far == SY_FAR_CPU  ? "0x068001"
                : amd                      ? "0x120000"
                                           : "0x030200");
    }
    if (gpu->n_c2c > 0 && known)
        put(w, depth + 2, "<c2c bw=\"%d\" count=\"%d\"/>", (int)(gpu->c2c_bw * 1e-6), (int)gpu->n_c2c);
    if (known)
        put(w, depth + 1, "</gpu>");
    put(w, depth, "</pci>");
}

static void put_nic(struct writer *w, int i, int depth)
{
    const struct sy_view_nic *nic = &w->view->nics[i];
    char speed[80], rail[48] = "", rate[48] = "", device[400], guid[400];

    port(nic->at.bw, speed);
    if (nic->rail >= 0)
        snprintf(rail, sizeof rail, " rail=\"%d\" plane=\"%d\"", nic->rail, nic->plane < 0 ? 0 : nic->plane);
    if (nic->port_bw > 0)
        snprintf(rate, sizeof rate, " speed=\"%.0f\"", nic->port_bw * 8e-6);
    if (nic->pci[0])
        put(w, depth, "<pci busid=\"%s\" class=\"%s\"%s>", nic->pci, nic->cls == SY_LINK_IB ? "0x020700" : "0x020000",
            speed);
    put(w, depth + 1, "<nic>");
    put(w, depth + 2, "<net name=\"%s\" dev=\"%d\"%s port=\"1\" guid=\"%s\"%s/>", quoted(nic->device, device), i, rate,
        nic->guid[0] ? quoted(nic->guid, guid) : "0x0", rail);
    put(w, depth + 1, "</nic>");
    if (nic->pci[0])
        put(w, depth, "</pci>");
}

static void put_below(struct writer *w, int numa, int upstream, int depth);

static void put_switch(struct writer *w, int i, int depth)
{
    const struct sy_view_switch *s = &w->view->switches[i];
    char speed[80];

    port(s->at.bw, speed);
    put(w, depth, "<pci busid=\"%s\" class=\"0x060400\"%s>", s->pci, speed);
    put_below(w, s->at.numa, i, depth + 1);
    put(w, depth, "</pci>");
}

/* What nobody places is put beside the first NUMA node: NCCL has no other place. A NIC without address is put beside each,
 * as NCCL does. */
static bool is_at(const struct sy_view_place *at, int numa, int upstream, bool anywhere)
{
    return at->upstream == upstream && (upstream >= 0 || at->numa == numa || (at->numa < 0 && (anywhere || numa == 0)));
}

static void put_below(struct writer *w, int numa, int upstream, int depth)
{
    for (int i = 0; i < w->view->n_switches && depth < 40; i++)
        if (is_at(&w->view->switches[i].at, numa, upstream, false) && i != upstream)
            put_switch(w, i, depth);
    for (int i = 0; i < w->view->nvml.n_gpus; i++)
        if (is_at(&w->view->gpus[i], numa, upstream, false))
            put_gpu(w, i, depth);
    for (int i = 0; i < w->view->n_nics; i++)
        if (is_at(&w->view->nics[i].at, numa, upstream, !w->view->nics[i].pci[0]))
            put_nic(w, i, depth);
}

static void put_attribute(char about[512], const char *name, const char *value)
{
    char text[400];
    size_t len = strlen(about);

    if (value[0])
        snprintf(about + len, 512 - len, " %s=\"%.100s\"", name, quoted(value, text));
}

enum sy_status sy_nccl_xml_write(const struct sy_view *view, struct sy_buf *out, struct sy_error *err)
{
    struct writer w = {.view = view, .out = out};
    int n_groups = n_groups_of(view);
    char mask[64 * 9 + 1], cpus[64 * 9 + 20] = "", about[512] = "";

    put_attribute(about, "arch", view->arch);
    put_attribute(about, "vendor", view->cpu_vendor);
    put_attribute(about, "familyid", view->cpu_family);
    put_attribute(about, "modelid", view->cpu_number);
    /* RCCL's is version 2. */
    put(&w, 0, "<system version=\"%d\">", view->xgmi ? 2 : 1);
    for (int i = 0; i < view->n_numa; i++) {
        affinity(view->numa[i].cpus, n_groups, mask, sizeof mask);
        snprintf(cpus, sizeof cpus, " affinity=\"%s\"", mask);
        put(&w, 1, "<cpu numaid=\"%d\"%s%s>", view->numa[i].number, view->numa[i].cpus[0] ? cpus : "", about);
        put_below(&w, i, -1, 2);
        put(&w, 1, "</cpu>");
    }
    put(&w, 0, "</system>");
    return w.failed ? sy_error_set(err, SY_ERR_SYSTEM, "no memory for NCCL's topology") : SY_OK;
}

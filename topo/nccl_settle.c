/* SPDX-License-Identifier: Apache-2.0
 * nccl_settle.c - what can be said of an NCCL topology only when all of it has been read
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "nccl_private.h"

static int by_number(const void *a, const void *b)
{
    const struct sy_view_numa *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* A machine with one NUMA node has no doubt which it is. */
static void know_numa(struct sy_nccl_reader *r, struct sy_view *view)
{
    for (int i = 0; i < view->n_numa; i++)
        if (view->numa[i].number < 0 && view->n_numa == 1)
            view->numa[i].number = 0;
        else if (view->numa[i].number < 0)
            sy_nccl_say(r, SY_FINDING_WARNING, view->numa[i].line, view->numa[i].column,
                        "the NUMA node of this <cpu> is not known");
}

static int moved(const int *to, int numa)
{
    return numa < 0 ? -1 : to[numa];
}

/* Files have their <cpu> elements in any order; a node's NUMA nodes are in that of the system. */
static void order_numa(struct sy_view *view)
{
    int to[SY_VIEW_NUMA_MAX], line[SY_VIEW_NUMA_MAX];

    for (int i = 0; i < view->n_numa; i++) {
        line[i] = view->numa[i].number;
        to[i] = -1;
    }
    qsort(view->numa, (size_t)view->n_numa, sizeof *view->numa, by_number);
    for (int i = 0; i < view->n_numa; i++)
        for (int k = 0; k < view->n_numa; k++)
            if (view->numa[k].number == line[i])
                to[i] = k;
    for (int i = 0; i < view->n_switches; i++)
        view->switches[i].at.numa = moved(to, view->switches[i].at.numa);
    for (int i = 0; i < view->n_nics; i++)
        view->nics[i].at.numa = moved(to, view->nics[i].at.numa);
    for (int i = 0; i < view->nvml.n_gpus; i++)
        view->gpus[i].numa = moved(to, view->gpus[i].numa);
}

/* GPUs that have numbers stand in their order, then those without, last those that the file only tells the place of; they are
 * few. */
static void order_gpus(struct sy_nccl_reader *r, int v)
{
    struct sy_view *view = r->xml->views[v];
    int n = view->nvml.n_gpus, *dev = r->dev[v];

    for (int i = 0; i < n; i++)
        if (dev[i] < 0)
            dev[i] = view->nvml.gpus[i].n_up < 0 ? INT_MAX : INT_MAX - 1;

    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && dev[j - 1] > dev[j]; j--) {
            struct sy_nvml_gpu gpu = view->nvml.gpus[j];
            struct sy_view_place place = view->gpus[j];
            int d = dev[j];
            view->nvml.gpus[j] = view->nvml.gpus[j - 1];
            view->gpus[j] = view->gpus[j - 1];
            dev[j] = dev[j - 1];
            view->nvml.gpus[j - 1] = gpu;
            view->gpus[j - 1] = place;
            dev[j - 1] = d;
            for (int l = 0; l < r->n_links; l++) {
                struct sy_nccl_link *link = &r->links[l];
                if (link->view == v && (link->gpu == j || link->gpu == j - 1))
                    link->gpu = link->gpu == j ? j - 1 : j;
            }
        }
}

static int by_dev(const void *a, const void *b)
{
    const struct sy_view_nic *x = a, *y = b;

    return x->number < y->number ? -1 : x->number > y->number;
}

/* The same for NICs. */
static void order_nics(struct sy_view *view)
{
    bool numbered = true;

    for (int i = 0; i < view->n_nics; i++) {
        numbered = numbered && view->nics[i].number >= 0;
        for (int j = 0; j < i; j++)
            numbered = numbered && view->nics[i].number != view->nics[j].number;
    }
    if (numbered)
        qsort(view->nics, (size_t)view->n_nics, sizeof *view->nics, by_dev);
}

/* Payload of one link in one direction: the file has no rate, a GPU's generation has one. */
static double link_bw(int sm)
{
    return sm < 60 ? 0 : sm < 70 ? 20e9 : sm < 100 ? 25e9 : sm < 130 ? 50e9 : 0;
}

static void settle_far(struct sy_nccl_reader *r, struct sy_nccl_link *link)
{
    const struct sy_nvml *nvml = &r->xml->views[link->view]->nvml;
    bool is_gpu = sy_nvml_find(nvml, link->target) >= 0;

    /* As NCCL has it: an address that a virtual machine hides is that of a switch. */
    if (link->far == SY_FAR_UNKNOWN && !link->target[0])
        link->far = SY_FAR_SWITCH;
    if (link->far == SY_FAR_UNKNOWN) {
        link->far = is_gpu ? SY_FAR_GPU : SY_FAR_UNKNOWN;
        if (!is_gpu)
            sy_nccl_say(r, SY_FINDING_WARNING, link->line, link->column,
                        "an NVLink without tclass to %s, which is no GPU of this file: what is there is not known",
                        link->target[0] ? link->target : "somewhere");
    } else if (link->far == SY_FAR_GPU && !is_gpu) {
        sy_nccl_say(r, SY_FINDING_WARNING, link->line, link->column,
                    "an NVLink to a GPU at %s, which is not in this file",
                    link->target[0] ? link->target : "an unknown address");
    }
}

/* Links that one GPU has to another, and the line of the first. */
static int count_to(const struct sy_nccl_reader *r, int view, int gpu, const char *target, int *line)
{
    int n = 0;

    *line = 0;
    for (int l = 0; l < r->n_links; l++) {
        const struct sy_nccl_link *link = &r->links[l];
        if (link->view != view || link->gpu != gpu || strcmp(link->target, target) != 0)
            continue;
        n += link->count;
        *line = *line ? *line : link->line;
    }
    return n;
}

static void check_both_ends(struct sy_nccl_reader *r, const struct sy_nccl_link *link)
{
    const struct sy_nvml *nvml = &r->xml->views[link->view]->nvml;
    int other = sy_nvml_find(nvml, link->target), line, back_line;
    int n = count_to(r, link->view, link->gpu, link->target, &line);
    int n_back = other < 0 ? n : count_to(r, link->view, other, nvml->gpus[link->gpu].pci, &back_line);

    /* Of two ends that both speak the first one's line has the error. */
    if (n == n_back || (n_back && back_line < line) || line != link->line)
        return;
    sy_nccl_say(r, SY_FINDING_ERROR, link->line, link->column, "GPU %s has %d NVLinks to GPU %s, which has %d back",
                nvml->gpus[link->gpu].pci, n, link->target, n_back);
    if (n_back)
        sy_nccl_say(r, SY_FINDING_NOTE, back_line, 1, "the other end is here");
}

static void check_equal(struct sy_nccl_reader *r, const struct sy_view *view)
{
    for (int i = 0; i < view->nvml.n_gpus; i++) {
        const struct sy_nvml_gpu *gpu = &view->nvml.gpus[i];
        int most = -1;
        for (int j = 0; j < view->nvml.n_gpus; j++)
            if (view->nvml.gpus[j].sm == gpu->sm && view->nvml.gpus[j].n_up > most)
                most = view->nvml.gpus[j].n_up;
        if (gpu->n_up >= 0 && gpu->n_up < most)
            sy_nccl_say(r, SY_FINDING_WARNING, view->gpus[i].line, view->gpus[i].column,
                        "GPU %s has %d NVLinks where equal GPUs have %d", gpu->pci, (int)gpu->n_up, most);
    }
}

/* What the file leaves open, which is not the same as nothing. */
static void tell_unknown(struct sy_nccl_reader *r)
{
    const struct sy_view_place *first = NULL;
    int n = 0;

    for (int v = 0; v < r->xml->n_views; v++)
        for (int i = 0; i < r->xml->views[v]->nvml.n_gpus; i++)
            if (r->xml->views[v]->nvml.gpus[i].n_up < 0)
                first = n++ ? first : &r->xml->views[v]->gpus[i];
    if (n)
        sy_nccl_say(r, SY_FINDING_NOTE, first->line, first->column,
                    "no <gpu> in this <pci>%s: whether NVLinks join %s is unknown", n > 1 ? " and others of GPUs" : "",
                    n > 1 ? "them" : "it to others");
    if (r->n_untold)
        sy_nccl_say(r, SY_FINDING_NOTE, r->untold_line, r->untold_column,
                    "%d <pci> without class and with nothing inside: what they are is unknown, and they are left out",
                    r->n_untold);
}

/* NCCL puts several machines into one file when NVLink goes over them all; what joins them has no name there. */
static void join_hosts(struct sy_nccl_reader *r)
{
    for (int v = 0; v < r->xml->n_views && r->xml->n_views > 1; v++) {
        struct sy_nvml *nvml = &r->xml->views[v]->nvml;
        for (int i = 0; i < nvml->n_gpus; i++)
            if (sy_nvml_at_hidden_switch(&nvml->gpus[i])) {
                nvml->gpus[i].fabric = SY_NVML_FABRIC_COMPLETED;
                for (int k = 0; k < 8; k++)
                    nvml->gpus[i].cluster[k] = (uint8_t)(r->hosts[0] >> (56 - 8 * k));
                nvml->gpus[i].cluster[15] = 1;
            }
    }
}

void sy_nccl_settle(struct sy_nccl_reader *r)
{
    for (int v = 0; v < r->xml->n_views; v++) {
        know_numa(r, r->xml->views[v]);
        order_numa(r->xml->views[v]);
        order_gpus(r, v);
        order_nics(r->xml->views[v]);
    }
    for (int l = 0; l < r->n_links; l++) {
        struct sy_nccl_link *link = &r->links[l];
        struct sy_nvml_gpu *gpu = &r->xml->views[link->view]->nvml.gpus[link->gpu];
        settle_far(r, link);
        if (sy_nvml_add_link(gpu, link->far, link->target, link->count, link_bw(gpu->sm))) {
            gpu->n_up += link->count;
            gpu->n_present = gpu->n_up;
        }
        check_both_ends(r, link);
    }
    for (int v = 0; v < r->xml->n_views; v++)
        check_equal(r, r->xml->views[v]);
    join_hosts(r);
    tell_unknown(r);
}

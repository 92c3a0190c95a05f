/* SPDX-License-Identifier: Apache-2.0
 * nvml_check.c - the record of a machine's GPUs: put together, looked up, and held against itself
 *
 * Every check is there because a real machine or a published file once failed it without a word from its driver.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "nvml.h"

/* Hexadecimal digits, at most so many, and the character after them; sscanf would take signs and blanks too. */
static bool take_hex(const char **at, int most, char end, unsigned *out)
{
    int n = 0;

    for (*out = 0; n < most && isxdigit((unsigned char)**at); n++, ++*at)
        *out = *out << 4 |
               (unsigned)(isdigit((unsigned char)**at) ? **at - '0' : tolower((unsigned char)**at) - 'a' + 10);
    return n && *(*at)++ == end;
}

void sy_pci_spell(const char *text, char out[20])
{
    unsigned domain, bus, device, function;

    out[0] = 0;
    if (!take_hex(&text, 8, ':', &domain) || !take_hex(&text, 2, ':', &bus) || !take_hex(&text, 2, '.', &device) ||
        !take_hex(&text, 1, 0, &function))
        return;
    /* What a hypervisor or another machine hides: FFFFFFFF:FF:FF.0, and fffffff:ff:ff.0 in NCCL's files. */
    if (domain == 0xffffffffu || device > 0x1f || function > 7)
        return;
    snprintf(out, 20, "%04x:%02x:%02x.%x", domain, bus, device, function);
}

void sy_nvml_gpu_init(struct sy_nvml_gpu *gpu)
{
    memset(gpu, 0, sizeof *gpu);
    gpu->sm = gpu->module = gpu->n_present = gpu->n_up = gpu->n_switch_links = gpu->n_c2c = -1;
    gpu->slot = gpu->tray = gpu->host = -1;
}

bool sy_nvml_add_link(struct sy_nvml_gpu *gpu, enum sy_far far, const char *pci, int n, double bw)
{
    for (int i = 0; i < gpu->n_nvlinks; i++) {
        struct sy_nvlink *link = &gpu->nvlinks[i];
        if (link->far == far && !strcmp(link->pci, pci) && link->bw == bw) {
            link->count += n;
            return true;
        }
    }
    if (gpu->n_nvlinks == SY_NVLINKS_MAX)
        return false;
    struct sy_nvlink *link = &gpu->nvlinks[gpu->n_nvlinks++];
    *link = (struct sy_nvlink){.far = far, .count = n, .bw = bw};
    snprintf(link->pci, sizeof link->pci, "%s", pci);
    return true;
}

bool sy_nvml_at_hidden_switch(const struct sy_nvml_gpu *gpu)
{
    bool hidden = gpu->n_nvlinks > 0;

    for (int i = 0; i < gpu->n_nvlinks; i++)
        hidden = hidden && gpu->nvlinks[i].far == SY_FAR_SWITCH && !gpu->nvlinks[i].pci[0];
    return hidden;
}

int sy_nvml_find(const struct sy_nvml *nvml, const char *pci)
{
    for (int i = 0; i < nvml->n_gpus; i++)
        if (pci[0] && !strcmp(nvml->gpus[i].pci, pci))
            return i;
    return -1;
}

/* Links of a GPU to one kind of far end, or to the one at a bus id; *bw: their payload, 0 where one's is unknown. */
static int count_links(const struct sy_nvml_gpu *gpu, enum sy_far far, const char *pci, double *bw)
{
    int n = 0;
    double sum = 0;
    bool known = true;

    for (int i = 0; i < gpu->n_nvlinks; i++) {
        const struct sy_nvlink *link = &gpu->nvlinks[i];
        if (pci ? strcmp(link->pci, pci) != 0 : link->far != far)
            continue;
        n += link->count;
        sum += link->count * link->bw;
        known = known && link->bw > 0;
    }
    *bw = known ? sum : 0;
    return n;
}

int sy_nvml_links(const struct sy_nvml *nvml, int a, int b, double *bw)
{
    const struct sy_nvml_gpu *ga = &nvml->gpus[a], *gb = &nvml->gpus[b];
    double bw_a = 0, bw_b = 0;

    if (bw)
        *bw = 0;
    if (ga->n_up < 0 || gb->n_up < 0)
        return -1;
    int n_a = count_links(ga, SY_FAR_GPU, gb->pci, &bw_a), n_b = count_links(gb, SY_FAR_GPU, ga->pci, &bw_b);
    /* All switches of a machine are one fabric: boards are joined by links that no GPU sees. */
    if (!n_a && !n_b) {
        n_a = count_links(ga, SY_FAR_SWITCH, NULL, &bw_a);
        n_b = count_links(gb, SY_FAR_SWITCH, NULL, &bw_b);
    }
    if (bw)
        *bw = bw_a < bw_b ? bw_a : bw_b;
    return n_a < n_b ? n_a : n_b;
}

/* A link to itself carries nothing to anybody. */
static void drop_self_links(struct sy_nvml_gpu *gpu, const char *where, struct sy_findings *findings)
{
    int kept = 0;

    for (int i = 0; i < gpu->n_nvlinks; i++) {
        if (gpu->pci[0] && !strcmp(gpu->nvlinks[i].pci, gpu->pci)) {
            sy_findings_add(findings, SY_FINDING_ERROR, where, "GPU %s has %d NVLinks to itself: they are not counted",
                            gpu->pci, (int)gpu->nvlinks[i].count);
            gpu->n_up -= gpu->n_up >= gpu->nvlinks[i].count ? gpu->nvlinks[i].count : gpu->n_up;
        } else {
            gpu->nvlinks[kept++] = gpu->nvlinks[i];
        }
    }
    gpu->n_nvlinks = kept;
}

static void check_ports(const struct sy_nvml_gpu *gpu, const char *where, struct sy_findings *findings)
{
    if (gpu->pcie_gen == 1 && gpu->pcie_width == 1)
        sy_findings_add(
            findings, SY_FINDING_WARNING, where,
            "GPU %s is behind a port of 2.5 GT/s x1, as virtual machines emulate it: the rate of its PCIe is "
            "not known",
            gpu->pci);
    if (gpu->n_switch_links > 0) {
        double bw;
        int n = count_links(gpu, SY_FAR_SWITCH, NULL, &bw);
        if (n != gpu->n_switch_links)
            sy_findings_add(findings, SY_FINDING_WARNING, where,
                            "GPU %s: the driver counts %d NVLinks to switches, of which %d are seen", gpu->pci,
                            (int)gpu->n_switch_links, n);
    }
}

static void check_fabric(const struct sy_nvml_gpu *gpu, const char *where, struct sy_findings *findings)
{
    static const struct {
        int shift, bad;
        const char *text;
    } health[] = {{0, 1, "its bandwidth is degraded"},
                  {2, 1, "a route is being recovered"},
                  {4, 1, "a route is unhealthy"},
                  {6, 1, "it recovers from an access timeout"}};

    if (gpu->fabric == SY_NVML_FABRIC_NOT_STARTED || gpu->fabric == SY_NVML_FABRIC_IN_PROGRESS)
        sy_findings_add(findings, SY_FINDING_WARNING, where,
                        "GPU %s has not joined the NVLink fabric (%s): is the fabric manager running?", gpu->pci,
                        gpu->fabric == SY_NVML_FABRIC_IN_PROGRESS ? "in progress" : "not started or failed");
    if (gpu->fabric != SY_NVML_FABRIC_COMPLETED)
        return;
    for (int i = 0; i < 4; i++)
        if ((int)(gpu->health >> health[i].shift & 3) == health[i].bad)
            sy_findings_add(findings, SY_FINDING_WARNING, where, "GPU %s: NVLink fabric: %s", gpu->pci, health[i].text);
    if ((gpu->health >> 8 & 15) > 1)
        sy_findings_add(findings, SY_FINDING_WARNING, where, "GPU %s: NVLink fabric: wrong configuration (code %d)",
                        gpu->pci, (int)(gpu->health >> 8 & 15));
}

/* Equal GPUs of one machine have equally many links. */
static void check_equal(const struct sy_nvml *nvml, const char *where, struct sy_findings *findings)
{
    for (int i = 0; i < nvml->n_gpus; i++) {
        const struct sy_nvml_gpu *gpu = &nvml->gpus[i];
        int most = -1;
        for (int j = 0; j < nvml->n_gpus; j++) {
            const struct sy_nvml_gpu *other = &nvml->gpus[j];
            if (other->sm == gpu->sm && !strcmp(other->name, gpu->name) && other->n_up > most)
                most = other->n_up;
        }
        if (gpu->n_up >= 0 && gpu->n_up < most)
            sy_findings_add(
                findings, SY_FINDING_ERROR, where,
                "GPU %s has %d NVLinks up where equal GPUs have %d: traffic with it goes another, slower way", gpu->pci,
                (int)gpu->n_up, most);
    }
}

/* Whether both reach a switch in common: those without an address may be the same. */
static bool share_switch(const struct sy_nvml_gpu *a, const struct sy_nvml_gpu *b)
{
    for (int i = 0; i < a->n_nvlinks; i++)
        for (int j = 0; j < b->n_nvlinks; j++)
            if (a->nvlinks[i].far == SY_FAR_SWITCH && b->nvlinks[j].far == SY_FAR_SWITCH &&
                !strcmp(a->nvlinks[i].pci, b->nvlinks[j].pci))
                return true;
    return false;
}

static void check_pair(const struct sy_nvml *nvml, int i, int j, const char *where, struct sy_findings *findings)
{
    const struct sy_nvml_gpu *a = &nvml->gpus[i], *b = &nvml->gpus[j];
    const struct sy_nvml_pair *pair = nvml->pairs ? &nvml->pairs[i * nvml->n_gpus + j] : NULL;
    double bw;
    int n_a = count_links(a, SY_FAR_GPU, b->pci, &bw), n_b = count_links(b, SY_FAR_GPU, a->pci, &bw);

    if (n_a != n_b)
        sy_findings_add(findings, SY_FINDING_ERROR, where,
                        "GPU %s tells of %d NVLinks to GPU %s, which tells of %d back; the lesser counts", a->pci, n_a,
                        b->pci, n_b);
    int n = sy_nvml_links(nvml, i, j, NULL);
    if (pair && pair->nvlink == SY_TOLD_YES && n == 0)
        sy_findings_add(findings, SY_FINDING_WARNING, where,
                        "the driver has peer access by NVLink between GPU %s and GPU %s, but no link joins them",
                        a->pci, b->pci);
    if (pair && pair->nvlink == SY_TOLD_NO && n > 0)
        sy_findings_add(findings, SY_FINDING_WARNING, where,
                        "%d NVLinks join GPU %s and GPU %s, but the driver has no peer access by them", n, a->pci,
                        b->pci);
}

/* Once for all pairs. */
static void check_boards(const struct sy_nvml *nvml, const char *where, struct sy_findings *findings)
{
    for (int i = 0; i < nvml->n_gpus; i++)
        for (int j = i + 1; j < nvml->n_gpus; j++) {
            double bw;
            if (!count_links(&nvml->gpus[i], SY_FAR_SWITCH, NULL, &bw) ||
                !count_links(&nvml->gpus[j], SY_FAR_SWITCH, NULL, &bw) || share_switch(&nvml->gpus[i], &nvml->gpus[j]))
                continue;
            sy_findings_add(
                findings, SY_FINDING_NOTE, where,
                "GPU %s and GPU %s reach different switches: what boards of switches carry among themselves is "
                "unknown",
                nvml->gpus[i].pci, nvml->gpus[j].pci);
            return;
        }
}

void sy_nvml_check(struct sy_nvml *nvml, const char *where, struct sy_findings *findings)
{
    for (int i = 0; i < nvml->n_gpus; i++) {
        drop_self_links(&nvml->gpus[i], where, findings);
        check_ports(&nvml->gpus[i], where, findings);
        check_fabric(&nvml->gpus[i], where, findings);
        if (i && nvml->gpus[i].pci[0] && !strcmp(nvml->gpus[i].pci, nvml->gpus[i - 1].pci))
            sy_findings_add(findings, SY_FINDING_ERROR, where, "there are two GPUs at %s", nvml->gpus[i].pci);
    }
    check_equal(nvml, where, findings);
    check_boards(nvml, where, findings);
    for (int i = 0; i < nvml->n_gpus; i++)
        for (int j = i + 1; j < nvml->n_gpus; j++)
            check_pair(nvml, i, j, where, findings);
}

/* SPDX-License-Identifier: Apache-2.0
 * nvml.c - what discovery makes of machines that a fake management library replays
 */
#include "nvml.h"

#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "tap.h"

static struct sy_nvml nvml;
static struct sy_findings findings = SY_FINDINGS_INIT;

static const char *library(const char *name, char out[4096])
{
    const char *build = getenv("SY_BUILDDIR");

    snprintf(out, 4096, "%s/tests/topo/fake/%s", build ? build : ".", name);
    return out;
}

/* Read a recorded machine through a library of the build folder. */
static void read_by(const char *lib, const char *machine)
{
    char path[4096], data[4096], name[128];
    struct sy_error err = SY_ERROR_INIT;

    sy_nvml_fini(&nvml);
    sy_findings_fini(&findings);
    snprintf(name, sizeof name, "tests/data/nvml/%s", machine);
    setenv("FAKE_NVML", fixture_path(name, data, sizeof data), 1);
    if (sy_nvml_read(library(lib, path), &nvml, &findings, &err))
        bail("%s: %s", machine, err.text);
    sy_nvml_check(&nvml, "", &findings);
}

static void machine(const char *name)
{
    read_by("libnvidia-ml.so.1", name);
}

static bool found(enum sy_severity severity, const char *part)
{
    for (int i = 0; i < findings.n; i++)
        if (findings.list[i].severity == severity && strstr(findings.list[i].text, part))
            return true;
    for (int i = 0; i < findings.n; i++)
        diag("found: %s: %s", findings.list[i].where, findings.list[i].text);
    return false;
}

/* Every pair has n links and so many bytes/s. */
static bool all_pairs(int n, double bw)
{
    for (int i = 0; i < nvml.n_gpus; i++)
        for (int j = 0; j < nvml.n_gpus; j++) {
            double pair_bw = -1;
            if (i != j && (sy_nvml_links(&nvml, i, j, &pair_bw) != n || pair_bw != bw)) {
                diag("%d and %d: %d links of %g", i, j, sy_nvml_links(&nvml, i, j, NULL), pair_bw);
                return false;
            }
        }
    return true;
}

static void test_switched(void)
{
    machine("hgx-h200");
    is_int(nvml.n_gpus, 8, "HGX H200: 8 GPUs");
    const struct sy_nvml_gpu *g = &nvml.gpus[5];
    ok(!strcmp(g->pci, "0000:ab:00.0") && !strcmp(g->name, "NVIDIA H200") && g->sm == 90 &&
           g->memory_bytes == 150754820096 && g->pcie_gen == 5 && g->pcie_width == 16,
       "bus id, name, compute capability, memory and port of one");
    ok(g->n_nvlinks == 4 && g->nvlinks[0].count == 4 && g->nvlinks[1].count == 5 &&
           !strcmp(g->nvlinks[3].pci, "0000:c6:00.0") && g->nvlinks[3].far == SY_FAR_SWITCH,
       "its links: 4 + 5 + 5 + 4 to four switches");
    ok(g->n_present == 18 && g->n_up == 18 && g->n_switch_links == 18, "18 links present, up, and at switches");
    ok(all_pairs(18, 450e9), "450 GB/s between any two");
    ok(nvml.pairs[0 * 8 + 3].ancestor == 40 && nvml.pairs[0 * 8 + 4].ancestor == 50, "NODE in a socket, SYS between");
    is_int(g->fabric, SY_NVML_FABRIC_COMPLETED, "its fabric is complete");
    is_int(findings.n, 0, "nothing is odd about it");

    machine("dgx-h100");
    ok(nvml.n_gpus == 8 && all_pairs(18, 450e9) && findings.n == 0, "DGX H100: 450 GB/s between any two");

    machine("b200-8");
    ok(nvml.n_gpus == 8 && all_pairs(18, 900e9), "8 B200 with hidden switches: 900 GB/s between any two");
    ok(nvml.gpus[0].n_nvlinks == 1 && nvml.gpus[0].nvlinks[0].count == 18 && !nvml.gpus[0].nvlinks[0].pci[0],
       "switches without and with a hidden address are one that has none");
    is_int(findings.n, 0, "that is not odd");
}

static void test_direct(void)
{
    machine("a100-4");
    ok(nvml.n_gpus == 4 && all_pairs(4, 100e9), "4 A100 without switch: 100 GB/s between any two");
    const struct sy_nvml_gpu *g = &nvml.gpus[0];
    ok(g->n_present == 12 && g->n_up == 12 && g->n_nvlinks == 3, "12 links to 3 GPUs, counted by trying");
    ok(g->n_switch_links == -1 && g->n_c2c == -1 && g->module == -1 && g->tray == -1,
       "what the driver does not tell is unknown");
    is_int(g->fabric, SY_NVML_FABRIC_NONE, "there is no fabric");
    is_int(findings.n, 0, "nothing is odd about it");
}

static void test_rack(void)
{
    uint8_t cluster[16];

    for (int tray = 0; tray < 4; tray++) {
        char name[32];
        snprintf(name, sizeof name, "gb200-%d", tray);
        machine(name);
        const struct sy_nvml_gpu *g = &nvml.gpus[3];
        if (tray == 0)
            memcpy(cluster, g->cluster, sizeof cluster);
        ok(nvml.n_gpus == 4 && all_pairs(18, 900e9) && !findings.n, "GB200 tray %d: 4 GPUs, 18 links", tray);
        ok(cluster[0] == 0xc1 && !memcmp(cluster, g->cluster, sizeof cluster) && g->clique == 7,
           "all of one cluster and clique");
        ok(g->tray == tray && g->slot == tray + 1 && !strcmp(g->chassis, "1820725190042"), "chassis, slot and tray");
        ok(g->n_c2c == 5 && g->c2c_bw == 44.712e9, "5 links of 44.712 GB/s to its CPU");
    }
}

static void test_faults(void)
{
    machine("h200-one-lost");
    ok(found(SY_FINDING_ERROR, "0000:ab:00.0 has 0 NVLinks up where equal GPUs have 18"), "lost links are an error");
    ok(found(SY_FINDING_WARNING, "18 of 18 NVLinks are down"), "and counted");
    is_int(sy_nvml_links(&nvml, 0, 5, NULL), 0, "no link joins that GPU and another");
    is_int(sy_nvml_links(&nvml, 0, 4, NULL), 18, "the others are as they were");
    ok(found(SY_FINDING_WARNING, "peer access by NVLink between GPU 0000:83:00.0 and GPU 0000:ab:00.0, but no link"),
       "peer access that the driver still claims is seen");

    machine("vm-x1");
    ok(found(SY_FINDING_WARNING, "2.5 GT/s x1"), "an emulated port is seen");
    ok(nvml.n_gpus == 1 && nvml.gpus[0].n_present == 0 && nvml.gpus[0].n_up == 0,
       "links that are not supported are none");
    is_int(findings.n, 1, "and nothing more is odd");

    machine("odd");
    ok(found(SY_FINDING_ERROR, "GPU 0000:03:00.0 has 2 NVLinks to itself"), "self links");
    ok(found(SY_FINDING_ERROR, "GPU 0000:03:00.0 tells of 4 NVLinks to GPU 0000:41:00.0, which tells of 6 back"),
       "unequal counts of both ends");
    is_int(sy_nvml_links(&nvml, 0, 1, NULL), 4, "of which the lesser is taken");
    ok(found(SY_FINDING_WARNING, "1 NVLinks are left out: the driver tells neither"), "a link with no far end");
    ok(found(SY_FINDING_WARNING, "1 NVLinks that are up do not carry peer access"), "a link without peer access");
    ok(found(SY_FINDING_NOTE, "1 NVLinks are of a version that this program does not know"), "an unknown version");
    ok(found(SY_FINDING_WARNING, "2 NVLinks run at a lower rate"), "degraded links, by their signalling");
    ok(found(SY_FINDING_WARNING, "peer access by NVLink between GPU 0000:03:00.0 and GPU 0000:82:00.0, but no link"),
       "peer access without links");
    ok(found(SY_FINDING_WARNING, "4 NVLinks join GPU 0000:03:00.0 and GPU 0000:41:00.0, but the driver has no peer"),
       "links without peer access");
    ok(found(SY_FINDING_WARNING, "0000:82:00.0 has not joined the NVLink fabric (in progress)"),
       "a fabric in progress");
}

static void test_absent(void)
{
    struct sy_error err = SY_ERROR_INIT;

    machine("not-loaded");
    ok(nvml.n_gpus == 0, "a driver that is not loaded has no GPU");
    has_str(nvml.why, "the driver is not loaded", "and it is said why");
    machine("none");
    ok(nvml.n_gpus == 0 && strstr(nvml.why, "shows no GPU"), "a driver without GPUs");
    sy_nvml_fini(&nvml);
    ok(sy_nvml_read("/nonexistent/libnvidia-ml.so.1", &nvml, NULL, &err) == SY_OK && nvml.n_gpus == 0,
       "no library is no error");
    has_str(nvml.why, "no NVIDIA driver", "and it is said why");
    sy_nvml_fini(&nvml);
    ok(sy_nvml_read("libc.so.6", &nvml, NULL, &err) == SY_OK && nvml.n_gpus == 0 && nvml.why[0],
       "nor is one without a single function");

    read_by("libnvidia-ml-bare.so.1", "hgx-h200");
    const struct sy_nvml_gpu *g = nvml.gpus;
    ok(nvml.n_gpus == 8 && !strcmp(g->pci, "0000:83:00.0") && !g->name[0] && g->sm == -1 && !g->memory_bytes,
       "a library of six functions: GPUs and their addresses, the rest unknown");
    ok(g->n_present == -1 && g->n_up == -1 && sy_nvml_links(&nvml, 0, 1, NULL) == -1, "links are unknown, not none");
    is_int(findings.n, 0, "what is unknown is not odd");
}

static void test_spell(void)
{
    static const char *const cases[][2] = {{"00000000:1B:00.0", "0000:1b:00.0"},
                                           {"0001:00:00.0", "0001:00:00.0"},
                                           {"00010018:01:1F.7", "10018:01:1f.7"},
                                           {"FFFFFFFF:FF:FF.0", ""},
                                           {"", ""},
                                           {"0000:1b:00", ""},
                                           {"0000:1b:00.0x", ""},
                                           {"0000:-1:00.0", ""},
                                           {"0000: 1:00.0", ""},
                                           {"fffffff:ff:ff.0", ""},
                                           {"fffffff:ffff:ff", ""},
                                           {"ffff:ff:01.0", "ffff:ff:01.0"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[20];
        sy_pci_spell(cases[i][0], out);
        is_str(out, cases[i][1], "bus id \"%s\"", cases[i][0]);
    }
}

int main(void)
{
    test_switched();
    test_direct();
    test_rack();
    test_faults();
    test_absent();
    test_spell();
    sy_nvml_fini(&nvml);
    sy_findings_fini(&findings);
    done();
    return tap_exit();
}

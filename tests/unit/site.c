/* SPDX-License-Identifier: Apache-2.0
 * site.c - which of the GPUs that it sees a rank takes by a cluster file
 */
#include "cli/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "model/folder.h"
#include "tap.h"

#define HEAD                                                        \
    "switchyard_cluster: 1\nname: t\n"                              \
    "device_types: {g: {kind: gpu, sm: 90, mem: 80 GB}}\n"          \
    "node_types: {box: {devices: [{id: \"gpu[0-3]\", type: g}]}}\n" \
    "nodes:\n  - name: \"n[0-1]\"\n    type: box\n"

#define ADDRESSES                                                               \
    "    set: {gpu0: {pci: \"0000:83:00.0\"}, gpu1: {pci: \"0000:8b:00.0\"},\n" \
    "          gpu2: {pci: \"0001:0a:00.0\"}, gpu3: {pci: \"0000:8b:1f.0\"}}\n"

static char path[4096];

/* Numbers as the kernels give them: domain, bus, device. */
static int64_t pci(unsigned domain, unsigned bus, unsigned device)
{
    return (int64_t)domain << 16 | bus << 8 | device;
}

/* What the ranks of the file take of n GPUs: "3 1 -1". */
static void check(const char *name, const char *yaml, const int64_t *numbers, int n, const char *expected)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_cluster *cluster = NULL;
    FILE *file = fopen(path, "w");
    char found[200] = "";

    if (!file || fputs(yaml, file) < 0 || fclose(file))
        bail("cannot write %s", path);
    if (sy_site_read(path, false, &cluster, &err))
        bail("%s: %s", name, err.text);
    for (int r = 0; r < cluster->n_ranks; r++) {
        struct sy_site site = {.cluster = cluster, .vertex = (int)cluster->ranks[r], .on_gpus = true};
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%d", r ? " " : "", sy_site_gpu(&site, numbers, n));
    }
    is_str(found, expected, "%s", name);
    sy_cluster_destroy(cluster);
}

int main(void)
{
    const int64_t all[] = {pci(0, 0x83, 0), pci(0, 0x8b, 0), pci(0, 0x8b, 0x1f), pci(1, 0x0a, 0)};
    const int64_t some[] = {pci(1, 0x0a, 0), pci(0, 0x83, 0)};
    const char *folder = folder_make();

    snprintf(path, sizeof path, "%s/cluster.yaml", folder);
    check("ranks in another order than GPUs", HEAD ADDRESSES "ranks: {map: [n0.gpu3, n0.gpu0, n0.gpu2, n0.gpu1]}\n",
          all, 4, "2 0 3 1");
    check("a GPU that is not seen", HEAD ADDRESSES "ranks: {map: [n0.gpu2, n0.gpu1, n0.gpu0]}\n", some, 2, "0 -1 1");
    check("without addresses, in CUDA's order, on each node from its first",
          HEAD "ranks: {map: [n1.gpu3, n0.gpu0, n1.gpu0, n0.gpu2]}\n", all, 4, "3 0 0 2");
    check("without addresses, more than are seen", HEAD "ranks: {map: [n0.gpu1, n0.gpu2]}\n", some, 2, "1 -1");
    folder_remove(folder);
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * gpu.c - ranks of made-up machines and the GPUs that they take
 */
#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

#define RANKS_MAX 16

/* A rank that sees GPUs first .. first + n - 1, of which those from near_first on, n_near of them, are near. */
static struct sy_gpu_view view(int first, int n, int near_first, int n_near)
{
    struct sy_gpu_view v = {.n = n};

    for (int g = 0; g < n; g++) {
        v.pci[g] = (first + g) << 8;
        v.near[g] = first + g >= near_first && first + g < near_first + n_near;
    }
    return v;
}

/* The GPUs that are taken, by their number on the machine: "0 1 2". */
static void takes(const struct sy_gpu_view *views, int n_ranks, const char *want, const char *name)
{
    int chosen[RANKS_MAX];
    char got[128] = "";

    sy_gpu_choose(views, n_ranks, chosen);
    for (int r = 0; r < n_ranks; r++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%d", r ? " " : "",
                 chosen[r] < 0 ? -1 : (int)(views[r].pci[chosen[r]] >> 8));
    is_str(got, want, "%s", name);
}

static void test_choose(void)
{
    struct sy_gpu_view v[RANKS_MAX];

    for (int r = 0; r < 8; r++)
        v[r] = view(0, 8, r < 4 ? 0 : 4, 4);
    takes(v, 8, "0 1 2 3 4 5 6 7", "8 GPUs on 2 NUMA nodes, ranks in order of cores");
    for (int r = 0; r < 8; r++)
        v[r] = view(0, 8, r % 2 ? 0 : 4, 4);
    takes(v, 8, "4 0 5 1 6 2 7 3", "ranks that go round the NUMA nodes");
    takes(v, 2, "4 0", "2 ranks on 8 GPUs, each near");
    for (int r = 0; r < 8; r++)
        v[r] = view(0, 8, r < 4 ? 0 : 4, r < 4 ? 8 : 4);
    takes(v, 8, "0 1 2 3 4 5 6 7", "ranks with all cores leave the near GPUs to those with few");
    v[2] = v[3] = view(0, 2, 0, 1);
    v[0] = v[1] = view(0, 2, 0, 2);
    takes(v, 4, "1 1 0 0", "the rank with the least choice is served first");
    for (int r = 0; r < 4; r++)
        v[r] = view(0, 4, 0, 2);
    takes(v, 4, "0 1 2 3", "all ranks on one NUMA node use the far GPUs too");
    for (int r = 0; r < 5; r++)
        v[r] = view(0, 2, 0, 2);
    takes(v, 3, "0 1 0", "3 ranks on 2 GPUs");
    takes(v, 5, "0 1 0 1 0", "5 ranks on 2 GPUs");
    for (int r = 0; r < 4; r++)
        v[r] = view(0, 3, r < 2 ? 0 : 1, 1);
    takes(v, 4, "0 0 1 2", "one GPU has room for one more, not two");
    for (int r = 0; r < 3; r++)
        v[r] = view(0, 3, 0, 0);
    takes(v, 3, "0 1 2", "a machine that tells of no neighbours");
    for (int r = 0; r < 4; r++)
        v[r] = view(3 - r, 1, 0, 2);
    takes(v, 4, "3 2 1 0", "each rank sees its own GPU");
    v[0] = view(0, 2, 0, 2);
    v[1] = view(0, 1, 0, 1);
    takes(v, 2, "1 0", "a rank that sees both leaves the other its only one");
    v[0] = v[1] = view(5, 1, 5, 1);
    v[2] = view(0, 0, 0, 0);
    takes(v, 3, "5 5 -1", "two that see the same one share it, one sees none");
}

static void test_near(void)
{
    char root[] = "/tmp/sy-gpu-XXXXXX", path[256];
    const char *const parts[] = {"/sys", "/bus", "/pci", "/devices", "/0001:1b:02.0"};
    int cpus[] = {0, 1, 8, 9, 40};
    int64_t pci = 1 << 16 | 0x1b << 8 | 2;

    if (!mkdtemp(root))
        bail("no directory can be made in /tmp");
    snprintf(path, sizeof path, "%s", root);
    for (int i = 0; i < 5; i++) {
        snprintf(path + strlen(path), sizeof path - strlen(path), "%s", parts[i]);
        mkdir(path, 0700);
    }
    snprintf(path + strlen(path), sizeof path - strlen(path), "/local_cpulist");
    FILE *f = fopen(path, "we");
    if (!f)
        bail("no file can be made in /tmp");
    fputs("8-15,40-47\n", f);
    fclose(f);
    ok(sy_gpu_is_near(root, pci, cpus, 5), "3 of 5 CPUs are local: near");
    ok(sy_gpu_is_near(root, pci, cpus, 4), "half of them: near");
    ok(!sy_gpu_is_near(root, pci, cpus, 3), "1 of 3: not near");
    ok(!sy_gpu_is_near(root, pci + 1, cpus, 5), "a device that the kernel does not know: not near");
    for (int i = 5; i >= 0; i--) {
        remove(path);
        *strrchr(path, '/') = '\0';
    }
    remove(root);
}

int main(void)
{
    test_choose();
    test_near();
    done();
    return tap_exit();
}

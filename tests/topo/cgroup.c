/* SPDX-License-Identifier: Apache-2.0
 * cgroup.c - limits of control groups, read from machines made of files
 */
#include "cgroup.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tap.h"

static char root[64];

/* Write root/path, making its folders. */
static void put(const char *path, const char *text)
{
    char full[512];

    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')); at++) {
        *at = 0;
        mkdir(full, 0755);
        *at = '/';
    }
    FILE *f = fopen(full, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        bail("cannot write %s", full);
}

static void machine_begin(void)
{
    const char *tmp = "/tmp/switchyard-cgroup-XXXXXX";

    snprintf(root, sizeof root, "%s", tmp);
    if (!mkdtemp(root))
        bail("cannot make a folder like %s", tmp);
}

static struct sy_cgroup machine_end(void)
{
    struct sy_cgroup found;
    char command[128];

    sy_cgroup_read(root, &found);
    snprintf(command, sizeof command, "rm -rf %s", root);
    if (system(command) != 0)
        bail("cannot remove %s", root);
    return found;
}

static void is_unlimited(struct sy_cgroup c, const char *name)
{
    ok(c.cpu_quota == 0 && c.memory_bytes == UINT64_MAX && c.memory_free_bytes == UINT64_MAX, "%s: no limits", name);
}

static void test_none(void)
{
    machine_begin();
    is_unlimited(machine_end(), "a machine without /proc");
    machine_begin();
    put("proc/self/cgroup", "0::/user.slice\n");
    put("proc/self/mountinfo", "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
    put("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/user.slice/memory.max", "max\n");
    put("sys/fs/cgroup/user.slice/memory.current", "123456\n");
    is_unlimited(machine_end(), "version 2 with max everywhere");
    machine_begin();
    put("proc/self/cgroup", "nonsense\n0:\n::::\n12:cpu\n");
    put("proc/self/mountinfo", "1 2 3\n - \n29 22 0:26 / /sys/fs/cgroup rw - cgroup2\n\n");
    is_unlimited(machine_end(), "malformed files");
}

static void test_v2(void)
{
    const char *mounts = "22 1 0:20 / /proc rw - proc proc rw\n"
                         "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    machine_begin();
    put("proc/self/cgroup", "0::/slurm/job_7/step_0\n");
    put("proc/self/mountinfo", mounts);
    put("sys/fs/cgroup/slurm/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/slurm/memory.max", "8000000000\n");
    put("sys/fs/cgroup/slurm/memory.current", "7500000000\n");
    put("sys/fs/cgroup/slurm/job_7/cpu.max", "250000 100000\n");
    put("sys/fs/cgroup/slurm/job_7/memory.max", "4000000000\n");
    put("sys/fs/cgroup/slurm/job_7/memory.current", "1500000000\n");
    put("sys/fs/cgroup/slurm/job_7/memory.stat", "anon 900000000\ninactive_file 500000000\nactive_file 100000000\n");
    put("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "400000 100000\n");
    struct sy_cgroup c = machine_end();
    is_close(c.cpu_quota, 2.5, 1e-9, 0, "version 2: the tightest quota of all levels");
    is_int((int64_t)c.memory_bytes, 4000000000, "version 2: the lowest memory limit");
    is_int((int64_t)c.memory_free_bytes, 500000000, "version 2: the level that leaves least decides what is free");

    machine_begin();
    put("proc/self/cgroup", "0::/slurm/job_7\n");
    put("proc/self/mountinfo", mounts);
    put("sys/fs/cgroup/slurm/job_7/memory.max", "4000000000\n");
    put("sys/fs/cgroup/slurm/job_7/memory.current", "1500000000\n");
    put("sys/fs/cgroup/slurm/job_7/memory.stat", "anon 900000000\ninactive_file 500000000\n");
    c = machine_end();
    is_int((int64_t)c.memory_free_bytes, 3000000000, "version 2: page cache that is not in use counts as free");

    /* A container sees its own group at the mount, and itself at "/". */
    machine_begin();
    put("proc/self/cgroup", "0::/\n");
    put("proc/self/mountinfo", mounts);
    put("sys/fs/cgroup/cpu.max", "50000 100000\n");
    put("sys/fs/cgroup/memory.max", "1073741824\n");
    put("sys/fs/cgroup/memory.current", "2073741824\n");
    c = machine_end();
    is_close(c.cpu_quota, 0.5, 1e-9, 0, "a container of half a core");
    is_int((int64_t)c.memory_bytes, 1073741824, "and one GiB");
    is_int((int64_t)c.memory_free_bytes, 0, "of which nothing is left");

    machine_begin();
    put("proc/self/cgroup", "0::/../../other\n");
    put("proc/self/mountinfo", mounts);
    put("sys/fs/cgroup/cpu.max", "150000 100000\n");
    is_close(machine_end().cpu_quota, 1.5, 1e-9, 0, "a group outside of the namespace: the mount counts");
}

static void test_v1(void)
{
    machine_begin();
    put("proc/self/cgroup", "11:memory:/docker/abc\n7:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n0::/docker/abc\n");
    put("proc/self/mountinfo",
        "31 30 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro master:11 - cgroup cgroup rw,cpu,cpuacct\n"
        "32 30 0:28 /docker/abc /sys/fs/cgroup/memory ro master:12 - cgroup cgroup rw,memory\n"
        "33 30 0:29 /docker/abc /sys/fs/cgroup/cpuset ro master:13 - cgroup cgroup rw,cpuset\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2000000000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "700000000\n");
    put("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 200000000\n");
    struct sy_cgroup c = machine_end();
    is_close(c.cpu_quota, 3, 1e-9, 0, "version 1 in a container: quota");
    is_int((int64_t)c.memory_bytes, 2000000000, "version 1 in a container: memory");
    is_int((int64_t)c.memory_free_bytes, 1500000000, "version 1 in a container: memory that is free");

    machine_begin();
    put("proc/self/cgroup", "11:memory:/user\n7:cpu,cpuacct:/user\n");
    put("proc/self/mountinfo", "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
                               "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put("sys/fs/cgroup/cpu/user/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu/user/cpu.cfs_period_us", "100000\n");
    put("sys/fs/cgroup/memory/user/memory.limit_in_bytes", "9223372036854771712\n");
    put("sys/fs/cgroup/memory/user/memory.usage_in_bytes", "700000000\n");
    is_unlimited(machine_end(), "version 1 without limits");
}

int main(void)
{
    test_none();
    test_v2();
    test_v1();
    done();
    return tap_exit();
}

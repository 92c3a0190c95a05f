/* SPDX-License-Identifier: Apache-2.0
 * discover.c - what this machine is, seen by hwloc and bounded by what this process may use
 */
#include "discover.h"

#include <hwloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"

/* FNV-1a over the numbers of the CPUs. */
static uint64_t hash_cpus(hwloc_const_cpuset_t set)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (int cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu))
        hash = (hash ^ (uint64_t)cpu) * 0x100000001b3u;
    return hash;
}

/* The CPUs that both the machine's administrator (cpuset) and the launcher (binding) leave to this process. */
static hwloc_cpuset_t usable_cpus(hwloc_topology_t topology)
{
    hwloc_cpuset_t usable = hwloc_bitmap_dup(hwloc_topology_get_allowed_cpuset(topology));
    hwloc_cpuset_t bound = hwloc_bitmap_alloc();

    /* A described machine (HWLOC_SYNTHETIC, HWLOC_XMLFILE) is not the one that this process is bound on. */
    if (usable && bound && hwloc_topology_is_thissystem(topology) &&
        hwloc_get_cpubind(topology, bound, HWLOC_CPUBIND_THREAD) == 0 && hwloc_bitmap_intersects(usable, bound))
        hwloc_bitmap_and(usable, usable, bound);
    hwloc_bitmap_free(bound);
    return usable;
}

/* One CPU of each core, in the order of the topology, in which neighbours share caches and packages. A machine that does not
 * tell its cores has as many as CPUs. */
static void list_cores(hwloc_topology_t topology, hwloc_const_cpuset_t usable, struct sy_machine *machine)
{
    int depth = hwloc_get_type_or_below_depth(topology, HWLOC_OBJ_CORE);
    hwloc_obj_t core = NULL;

    while ((core = hwloc_get_next_obj_by_depth(topology, depth, core)) && machine->n_cores < SY_CPUS_MAX) {
        for (int cpu = hwloc_bitmap_first(core->cpuset); cpu >= 0; cpu = hwloc_bitmap_next(core->cpuset, cpu)) {
            if (hwloc_bitmap_isset(usable, (unsigned)cpu)) {
                machine->cpus[machine->n_cores++] = cpu;
                break;
            }
        }
    }
}

static void count_numa(hwloc_topology_t topology, hwloc_const_cpuset_t usable, struct sy_machine *machine)
{
    hwloc_obj_t node = NULL;

    while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)))
        machine->n_numa += hwloc_bitmap_intersects(node->cpuset, usable);
    if (!machine->n_numa)
        machine->n_numa = 1;
}

static void name_cpu(hwloc_topology_t topology, struct sy_machine *machine)
{
    hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
    const char *model = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;

    if (!model)
        model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(topology), "CPUModel");
    snprintf(machine->cpu_model, sizeof machine->cpu_model, "%s", model ? model : "unknown CPU");
}

/* MemAvailable of /proc/meminfo in bytes, or fallback where it is not told. */
static size_t available_bytes(size_t fallback)
{
    FILE *f = fopen("/proc/meminfo", "re");
    char line[256];
    unsigned long long kib;
    size_t bytes = fallback;

    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            bytes = (size_t)kib * 1024;
    if (f)
        fclose(f);
    return bytes;
}

static void measure_memory(hwloc_topology_t topology, struct sy_machine *machine)
{
    machine->memory_bytes = (size_t)hwloc_get_root_obj(topology)->total_memory;
    machine->memory_free_bytes = machine->memory_bytes;
    if (!hwloc_topology_is_thissystem(topology))
        return;
    /* Where memory was added while the system ran, its NUMA nodes, which hwloc adds up, may not know of it. */
    size_t installed = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);
    if (installed > machine->memory_bytes)
        machine->memory_bytes = installed;
    size_t available = available_bytes(machine->memory_bytes);
    struct sy_cgroup cgroup;
    sy_cgroup_read("", &cgroup);
    machine->cpu_quota = cgroup.cpu_quota;
    if (cgroup.memory_bytes < machine->memory_bytes)
        machine->memory_bytes = (size_t)cgroup.memory_bytes;
    if (cgroup.memory_free_bytes < available)
        available = (size_t)cgroup.memory_free_bytes;
    machine->memory_free_bytes = available < machine->memory_bytes ? available : machine->memory_bytes;
}

enum sy_status sy_machine_discover(struct sy_machine *machine, struct sy_error *err)
{
    hwloc_topology_t topology;

    memset(machine, 0, sizeof *machine);
    if (gethostname(machine->host, sizeof machine->host - 1) != 0)
        snprintf(machine->host, sizeof machine->host, "unknown");
    if (hwloc_topology_init(&topology) != 0)
        return sy_error_errno(err, SY_ERR_SYSTEM, "hwloc cannot begin to look at this machine");
    /* Caches, groups and devices are not asked for, and Linux tells enough without running cpuid on every CPU: without them
     * loading takes a few milliseconds. */
    hwloc_topology_set_components(topology, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
    hwloc_topology_set_all_types_filter(topology, HWLOC_TYPE_FILTER_KEEP_NONE);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_PACKAGE, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_topology_set_type_filter(topology, HWLOC_OBJ_CORE, HWLOC_TYPE_FILTER_KEEP_ALL);
    hwloc_cpuset_t usable = NULL;
    enum sy_status status = SY_OK;
    if (hwloc_topology_load(topology) != 0)
        status = sy_error_errno(err, SY_ERR_SYSTEM, "hwloc cannot load the topology of this machine");
    else if (!(usable = usable_cpus(topology)) || hwloc_bitmap_iszero(usable))
        status = sy_error_set(err, SY_ERR_SYSTEM, "hwloc found no CPU that this process may use");
    if (status == SY_OK) {
        machine->n_cpus = hwloc_bitmap_weight(usable);
        machine->cpus_key = hash_cpus(usable);
        list_cores(topology, usable, machine);
        count_numa(topology, usable, machine);
        name_cpu(topology, machine);
        measure_memory(topology, machine);
    }
    hwloc_bitmap_free(usable);
    hwloc_topology_destroy(topology);
    return status;
}

/* Cores that can be kept busy: a quota of 2.5 cores stops a third thread half of the time, and everybody waits for it. */
static int busy_cores(const struct sy_machine *machine)
{
    int n = machine->n_cores;

    if (machine->cpu_quota > 0 && machine->cpu_quota < n)
        n = (int)(machine->cpu_quota + 0.05);
    return n > 0 ? n : 1;
}

int sy_machine_threads(const struct sy_machine *machine, int n_local)
{
    int n = busy_cores(machine) / (n_local > 0 ? n_local : 1);

    return n > 0 ? n : 1;
}

int sy_machine_bind(const struct sy_machine *machine, int local, int n_local, int n_threads, int *cpus)
{
    /* Under a quota the cores are shared with others, who would take the first ones just as well. */
    if (n_local < 1 || n_threads < 1 || local < 0 || local >= n_local || busy_cores(machine) < machine->n_cores ||
        n_threads > machine->n_cores / n_local)
        return 0;
    /* Each rank has a share of neighbouring cores, whether it needs all of them or not, so that few ranks use all packages. */
    int first = (int)((int64_t)local * machine->n_cores / n_local);
    for (int i = 0; i < n_threads; i++)
        cpus[i] = machine->cpus[first + i];
    return 1;
}

bool sy_machine_narrow(struct sy_machine *machine, const char *cpus)
{
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int n = 0;

    if (!set || hwloc_bitmap_list_sscanf(set, cpus) != 0) {
        hwloc_bitmap_free(set);
        return false;
    }
    for (int i = 0; i < machine->n_cores; i++)
        n += hwloc_bitmap_isset(set, (unsigned)machine->cpus[i]) > 0;
    if (n) {
        int kept = 0, before = machine->n_cores;
        for (int i = 0; i < before; i++)
            if (hwloc_bitmap_isset(set, (unsigned)machine->cpus[i]))
                machine->cpus[kept++] = machine->cpus[i];
        /* Each core keeps as many CPUs as it had. */
        machine->n_cpus = machine->n_cpus / before * kept;
        machine->n_cores = kept;
        hwloc_bitmap_zero(set);
        for (int i = 0; i < kept; i++)
            hwloc_bitmap_set(set, (unsigned)machine->cpus[i]);
        machine->cpus_key = hash_cpus(set);
    }
    hwloc_bitmap_free(set);
    return n > 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * bench_cpu.c - CPU time of this process and of the whole machine
 */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bench.h"

static double seconds(const struct timeval *t)
{
    return (double)t->tv_sec + (double)t->tv_usec * 1e-6;
}

/* Time in which a CPU did something, for anybody, or was taken away by the hypervisor. 0 where the system does not say. */
static double machine_seconds(void)
{
    unsigned long long user, nice, system, idle, wait, irq, soft, steal = 0;
    FILE *in = fopen("/proc/stat", "re");
    int n = 0;

    if (in) {
        n = fscanf(in, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft,
                   &steal);
        fclose(in);
    }
    return n < 7 ? 0 : (double)(user + nice + system + irq + soft + steal) / (double)sysconf(_SC_CLK_TCK);
}

void sy_bench_cpu_now(struct sy_bench_cpu *now)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    now->own_s = seconds(&usage.ru_utime) + seconds(&usage.ru_stime);
    now->machine_s = machine_seconds();
    now->wall_s = (double)sy_clock_ns() * 1e-9;
}

void sy_bench_cpu_since(struct sy_bench_cpu *before)
{
    struct sy_bench_cpu now;

    sy_bench_cpu_now(&now);
    before->own_s = now.own_s - before->own_s;
    before->machine_s = now.machine_s - before->machine_s;
    before->wall_s = now.wall_s - before->wall_s;
}

double sy_bench_foreign(const struct sy_bench *bench, const struct sy_bench_sample *sample)
{
    const struct sy_group *group = bench->setup->group;
    const struct sy_bench_cpu *first = &sample->ranks[0].cpu;
    double others_s = first->machine_s, n_cpus = (double)sysconf(_SC_NPROCESSORS_ONLN);

    for (int r = 0; r < bench->setup->n_ranks; r++)
        if (sy_group_node_of(group, r) == sy_group_node_of(group, 0))
            others_s -= sample->ranks[r].cpu.own_s;
    return others_s > 0 && first->wall_s > 0 ? others_s / (first->wall_s * n_cpus) : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * discover.c - this machine, described ones, bindings and quotas
 */
#include "discover.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "tap.h"

static struct sy_machine machine;

static void test_here(void)
{
    struct sy_error err = SY_ERROR_INIT;
    cpu_set_t set;
    bool usable = true;

    int64_t begin = sy_clock_ns();
    is_int(sy_machine_discover(&machine, &err), SY_OK, "this machine can be discovered");
    int64_t ms = (sy_clock_ns() - begin) / 1000000;
    diag("%s: %s, %d cores, %d CPUs, %d NUMA nodes, %zu MiB of %zu free, quota %.2f, in %lld ms", machine.host,
         machine.cpu_model, machine.n_cores, machine.n_cpus, machine.n_numa, machine.memory_free_bytes >> 20,
         machine.memory_bytes >> 20, machine.cpu_quota, (long long)ms);
    sched_getaffinity(0, sizeof set, &set);
    is_int(machine.n_cpus, CPU_COUNT(&set), "as many CPUs as this process may use");
    ok(machine.n_cores >= 1 && machine.n_cores <= machine.n_cpus, "cores are not more than CPUs");
    for (int i = 0; i < machine.n_cores; i++)
        usable = usable && CPU_ISSET(machine.cpus[i], &set);
    ok(usable, "every core's CPU is one of them");
    ok(machine.memory_free_bytes > 0 && machine.memory_free_bytes <= machine.memory_bytes && machine.n_numa >= 1 &&
           machine.host[0] && machine.cpu_model[0],
       "memory, NUMA nodes and names are there");
}

/* Bound to one CPU, as mpirun or taskset would. */
static void test_bound(void)
{
    struct sy_error err = SY_ERROR_INIT;
    cpu_set_t before, one;
    uint64_t key = machine.cpus_key;
    int last = machine.cpus[machine.n_cores - 1], n_before = machine.n_cpus;

    sched_getaffinity(0, sizeof before, &before);
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    sched_setaffinity(0, sizeof one, &one);
    enum sy_status status = sy_machine_discover(&machine, &err);
    sched_setaffinity(0, sizeof before, &before);
    ok(status == SY_OK && machine.n_cores == 1 && machine.n_cpus == 1 && machine.cpus[0] == last,
       "a process bound to one CPU has that one");
    ok((machine.cpus_key == key) == (n_before == 1), "and another key than an unbound one");
    is_int(sy_machine_threads(&machine, 1), 1, "one thread");
}

static void describe(const char *synthetic)
{
    struct sy_error err = SY_ERROR_INIT;

    unsetenv("HWLOC_COMPONENTS"); /* it goes before the next one */
    setenv("HWLOC_SYNTHETIC", synthetic, 1);
    if (sy_machine_discover(&machine, &err) != SY_OK)
        bail("%s: %s", synthetic, err.text);
    unsetenv("HWLOC_SYNTHETIC");
}

static void test_described(void)
{
    int cpus[64];

    describe("package:2 numa:2 l3:1 core:4 pu:2");
    ok(machine.n_cores == 16 && machine.n_cpus == 32 && machine.n_numa == 4,
       "2 packages of 2 NUMA nodes of 4 cores of 2");
    bool one_each = true;
    for (int i = 0; i < 16; i++)
        one_each = one_each && machine.cpus[i] == 2 * i;
    ok(one_each, "one CPU of each core, neighbours first");
    is_int(sy_machine_threads(&machine, 1), 16, "16 threads for one rank");
    is_int(sy_machine_threads(&machine, 3), 5, "5 for each of three");
    is_int(sy_machine_threads(&machine, 40), 1, "at least 1");
    ok(sy_machine_bind(&machine, 1, 2, 8, cpus) == 1 && cpus[0] == 16 && cpus[7] == 30,
       "two ranks have a package each");
    ok(sy_machine_bind(&machine, 1, 2, 4, cpus) == 1 && cpus[0] == 16 && cpus[3] == 22,
       "also when they need half of it");
    ok(sy_machine_bind(&machine, 2, 3, 5, cpus) == 1 && cpus[0] == 20 && cpus[4] == 28, "three ranks of 5");
    is_int(sy_machine_bind(&machine, 0, 3, 6, cpus), 0, "more threads than cores are not bound");
    is_int(sy_machine_bind(&machine, 3, 3, 1, cpus), 0, "there is no fourth of three ranks");
    machine.cpu_quota = 2.5;
    is_int(sy_machine_threads(&machine, 1), 2, "a quota of 2.5 cores is good for 2 threads");
    is_int(sy_machine_threads(&machine, 2), 1, "or for 1 in each of two ranks");
    is_int(sy_machine_bind(&machine, 0, 1, 2, cpus), 0, "under a quota nothing is bound");
    machine.cpu_quota = 0.3;
    is_int(sy_machine_threads(&machine, 1), 1, "a third of a core is good for 1");
    machine.cpu_quota = 64;
    is_int(sy_machine_threads(&machine, 1), 16, "a quota above the cores changes nothing");
    describe("numa:1 pu:6");
    ok(machine.n_cores == 6 && machine.n_cpus == 6 && machine.n_numa == 1, "a machine that tells CPUs only");
    ok(strcmp(machine.cpu_model, "unknown CPU") == 0, "and not what they are");
    describe("package:2 numa:1 core:64 pu:1");
    bool disjoint = true;
    for (int r = 0; r < 7; r++) {
        disjoint = disjoint && sy_machine_bind(&machine, r, 7, 18, cpus) == 1;
        for (int i = 0; i < 18 && disjoint; i++)
            disjoint = cpus[i] == cpus[0] + i && cpus[0] >= r * 18 && cpus[17] < (r == 6 ? 128 : (r + 1) * 128 / 7);
    }
    ok(disjoint, "7 ranks of 18 threads on 128 cores never meet");
}

/* Nothing is written, whatever the machine looks like: lines of hwloc would spoil the terminal of every rank. */
static void test_quiet(void)
{
    int fds[2];
    char text[256];

    fflush(NULL);
    if (pipe(fds) != 0)
        bail("no pipe");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 1);
        dup2(fds[1], 2);
        close(fds[0]);
        close(fds[1]);
        _exit(sy_machine_discover(&machine, NULL) == SY_OK ? 0 : 1);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], text, sizeof text - 1);
    int status = -1;
    waitpid(pid, &status, 0);
    close(fds[0]);
    text[n > 0 ? n : 0] = 0;
    if (!ok(n == 0 && status == 0, "discovery writes nothing"))
        diag("status %d, \"%s\"", status, text);
}

int main(void)
{
    test_here();
    test_bound();
    test_described();
    test_quiet();
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * places.c - lines for a launcher: unequal nodes, order, hosts, cores
 */
#include "places.h"

#include <string.h>

#include "cluster.h"
#include "tap.h"

#define HEAD "switchyard_cluster: 1\nname: t\n"

/* The lines of a cluster file's text. */
static void check(const char *name, const char *yaml, const char *expected)
{
    struct sy_report *report = sy_report_create();
    struct sy_cluster *c = sy_cluster_read_text("t.yaml", yaml, strlen(yaml), report);
    struct sy_buf out = SY_BUF_INIT, said = SY_BUF_INIT;

    if (!c) {
        sy_report_print(report, &said);
        bail("%s: %.*s", name, (int)said.len, said.data ? (const char *)said.data : "");
    }
    if (!sy_places_write(c, &out) || !sy_buf_append(&out, "", 1))
        bail("no memory");
    is_str((const char *)out.data, expected, "%s", name);
    sy_buf_fini(&out);
    sy_buf_fini(&said);
    sy_cluster_destroy(c);
    sy_report_destroy(report);
}

int main(void)
{
    check("a device a rank, node by node",
          HEAD "device_types: {s: {kind: cpu}}\n"
               "node_types: {two: {devices: [{id: \"cpu[0-1]\", type: s}]}, one: {devices: [{id: cpu0, type: s}]}}\n"
               "nodes: [{name: a, type: two}, {name: b, type: one}]\n",
          "a -\na -\nb -\n");
    check("in turn, with host names",
          HEAD "device_types: {s: {kind: cpu}}\n"
               "node_types: {two: {devices: [{id: \"cpu[0-1]\", type: s}]}}\n"
               "nodes: [{name: a, type: two, host: a.example}, {name: b, type: two, host: \"b*\"}]\n"
               "ranks: {order: round_robin}\n",
          "a.example -\nb -\na.example -\nb -\n");
    check("cores of devices of two sizes, on unequal nodes",
          HEAD "device_types: {s: {kind: cpu, cores: 4}, l: {kind: cpu, cores: 8}}\n"
               "node_types: {two: {devices: [{id: cpu0, type: s}, {id: cpu1, type: l}]},\n"
               "             one: {devices: [{id: cpu0, type: l}]}}\n"
               "nodes: [{name: a, type: two}, {name: b, type: one}]\n",
          "a cores=0-3\na cores=4-11\nb cores=0-7\n");
    check("the file's own order",
          HEAD "device_types: {s: {kind: cpu, cores: 1}}\n"
               "node_types: {two: {devices: [{id: \"cpu[0-1]\", type: s}]}}\n"
               "nodes: [{name: \"n[0-2]\", type: two}]\n"
               "ranks: {map: [n2.cpu1, n0.cpu0, n1.cpu1, n0.cpu1]}\n",
          "n2 cores=1-1\nn0 cores=0-0\nn1 cores=1-1\nn0 cores=1-1\n");
    check("one device that does not say its cores",
          HEAD "device_types: {s: {kind: cpu, cores: 4}, u: {kind: cpu}}\n"
               "node_types: {two: {devices: [{id: cpu0, type: s}, {id: cpu1, type: u}]}}\n"
               "nodes: [{name: a, type: two}]\n",
          "a -\na -\n");
    check("CPUs by the system's numbers",
          HEAD "device_types: {s: {kind: cpu, cores: 2}}\n"
               "node_types: {two: {devices: [{id: cpu0, type: s, cpus: \"0,2\"}, {id: cpu1, type: s, cpus: \"1,3\"}]}}\n"
               "nodes: [{name: a, type: two}]\n",
          "a cpus=0,2\na cpus=1,3\n");
    check("GPUs, which say nothing of cores",
          HEAD "device_types: {g: {kind: gpu}, s: {kind: cpu, cores: 4}}\n"
               "node_types: {box: {devices: [{id: \"gpu[0-1]\", type: g}, {id: cpu0, type: s}]}}\n"
               "nodes: [{name: a, type: box}]\n",
          "a -\na -\n");
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * model.c - clusters built by hand: lookup, fabrics, domains, ranks, paths, equality, bytes and back
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"
#include "path.h"
#include "tap.h"

static const struct sy_source found = {.origin = SY_ORIGIN_DISCOVERED};

static int link_type(struct sy_cluster *c, const char *name, enum sy_link_class cls, double bw)
{
    struct sy_link_type type = {.name = sy_cluster_intern(c, name), .cls = cls, .from = found};

    if (bw > 0)
        type.bw = sy_real_of(bw, found);
    return sy_cluster_link_type(c, &type);
}

static int device_type(struct sy_cluster *c, const char *name)
{
    struct sy_device_type type = {.name = sy_cluster_intern(c, name), .mem = {80e9, found}, .from = found};

    return sy_cluster_device_type(c, &type);
}

static int add(struct sy_cluster *c, int node, enum sy_vertex_kind kind, const char *id, int numa, int type)
{
    int v = sy_cluster_add_vertex(c, node, kind, id, found);

    if (v >= 0 && numa >= 0)
        c->vertices[v].numa = sy_int_of(numa, found);
    if (v >= 0)
        c->vertices[v].type = type;
    return v;
}

/* As NVIDIA's HGX: 8 GPUs, 4 NVSwitches at 4, 5, 5 and 4 lanes, a PCIe switch and a NIC beside each GPU, two sockets. */
static void add_hgx(struct sy_cluster *c, const char *name)
{
    int node = sy_cluster_add_node(c, name, sy_int_of(2, found), found), gpu[8], nic[8];
    int nvl = link_type(c, "nvl4", SY_LINK_NVLINK, 25e9), pcie = link_type(c, "pcie5", SY_LINK_PCIE, 63e9);
    int upi = link_type(c, "upi", SY_LINK_SMP, 40e9), h100 = device_type(c, "h100");
    char id[16];

    for (int i = 0; i < 8; i++) {
        snprintf(id, sizeof id, "gpu%d", i);
        gpu[i] = add(c, node, SY_VERTEX_GPU, id, i / 4, h100);
    }
    for (int s = 0; s < 4; s++) {
        snprintf(id, sizeof id, "nvs%d", s);
        int v = add(c, node, SY_VERTEX_NVSWITCH, id, -1, -1);
        for (int i = 0; i < 8; i++)
            sy_cluster_add_link(c, gpu[i], v, nvl, sy_int_of(s == 0 || s == 3 ? 4 : 5, found), found);
    }
    for (int i = 0; i < 8; i++) {
        snprintf(id, sizeof id, "plx%d", i);
        int plx = add(c, node, SY_VERTEX_PCIE, id, i / 4, -1);
        snprintf(id, sizeof id, "nic%d", i);
        nic[i] = add(c, node, SY_VERTEX_NIC, id, -1, -1);
        sy_cluster_add_link(c, gpu[i], plx, pcie, (struct sy_int){0}, found);
        sy_cluster_add_link(c, nic[i], plx, pcie, (struct sy_int){0}, found);
        c->vertices[nic[i]].rail = sy_int_of(i, found);
    }
    sy_cluster_add_link(c, c->nodes[node].first_numa, c->nodes[node].first_numa + 1, upi, (struct sy_int){0}, found);
}

/* n such nodes, their NICs on 8 rails with a spine. */
static struct sy_cluster *make(int n)
{
    struct sy_cluster *c = sy_cluster_create();
    struct sy_error err = SY_ERROR_INIT;
    char name[16];
    int *members = calloc((size_t)n * 8, sizeof *members), n_members = 0;

    if (!c || !members)
        bail("no memory");
    c->name = sy_cluster_intern(c, "made");
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "n%d", i);
        add_hgx(c, name);
    }
    for (int v = 0; v < c->n_vertices; v++)
        if (c->vertices[v].kind == SY_VERTEX_NIC)
            members[n_members++] = v;
    struct sy_fabric rail = {.name = sy_cluster_intern(c, "ib"),
                             .kind = SY_FABRIC_RAIL,
                             .rails = {8, found},
                             .spine = true,
                             .oversubscription = {2, found},
                             .latency = {6e-7, found},
                             .from = found};
    rail.port = link_type(c, "ndr", SY_LINK_IB, 50e9);
    sy_cluster_add_fabric(c, &rail, members, n_members);
    free(members);
    if (sy_cluster_finish(c, &err) != SY_OK)
        bail("%s", err.text);
    return c;
}

static void check_path(const struct sy_cluster *c, const char *from, const char *to, enum sy_path_class cls, double bw,
                       int n_links)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_path path;
    int links[16], v = sy_cluster_find(c, from), w = sy_cluster_find(c, to);

    if (v < 0 || w < 0 || sy_path_find(c, v, w, &path, links, 16, &err) != SY_OK)
        bail("%s to %s: %s", from, to, err.text);
    bool held = path.cls == (int)cls && path.n_links == n_links && SY_KNOWN(path.bw) == (bw > 0) &&
                (bw <= 0 || (path.bw.value > bw * 0.999999 && path.bw.value < bw * 1.000001));
    /* The links are a way from one to the other. */
    for (int i = 0; i < n_links && n_links <= 16; i++) {
        const struct sy_link *l = &c->links[links[i]];
        held = held && (l->from == v || l->to == v);
        v = l->from == v ? l->to : l->from;
    }
    ok(held && v == w, "%s to %s: %s, %g GB/s over %d links", from, to, sy_path_class_name(cls), bw / 1e9, n_links);
    if (!held)
        diag("found %s, %g over %d", sy_path_class_name(path.cls), path.bw.value, path.n_links);
}

static void check_paths(void)
{
    struct sy_cluster *c = make(2);
    struct sy_error err = SY_ERROR_INIT;

    check_path(c, "n0.gpu0", "n0.gpu7", SY_PATH_NVLINK, 450e9, 2);
    check_path(c, "n0.gpu3", "n0.nic3", SY_PATH_PIX, 63e9, 2);
    check_path(c, "n0.gpu3", "n0.nic2", SY_PATH_HOST, 63e9, 4);
    check_path(c, "n0.gpu3", "n0.nic4", SY_PATH_SOCKETS, 40e9, 5);
    check_path(c, "n0.gpu3", "n1.gpu3", SY_PATH_NETWORK, 50e9, 6);
    /* Over the spine: 2 ports of a rail, halved. */
    check_path(c, "n0.nic1", "n1.nic2", SY_PATH_NETWORK, 50e9, 4);
    check_path(c, "n1.gpu5", "n1.gpu5", SY_PATH_SELF, 0, 0);
    is_int(c->n_domains, 2, "an NVLink domain in each node");
    int v = sy_cluster_find(c, "n0.gpu1"), w = sy_cluster_find(c, "n1.gpu1");
    ok(c->domain_of[v] == 0 && c->domain_of[w] == 1, "and who is in which");
    /* The same two nodes in one fabric by its uuid. */
    for (int i = 0; i < c->n_vertices; i++)
        if (c->vertices[i].kind == SY_VERTEX_GPU) {
            c->vertices[i].domain = sy_text_of(c, "6f4a", found);
            c->vertices[i].clique = sy_int_of(7, found);
        }
    ok(sy_cluster_finish(c, &err) == SY_OK && c->n_domains == 1, "one clique is one domain");
    c->vertices[w].clique = sy_int_of(8, found);
    ok(sy_cluster_finish(c, &err) == SY_OK && c->n_domains == 1, "and stays one by its links");
    sy_cluster_destroy(c);
}

/* Two GPUs without NVLink between them, a third with both; and CPUs that share memory. */
static void check_small_paths(void)
{
    struct sy_cluster *c = sy_cluster_create();
    struct sy_error err = SY_ERROR_INIT;
    int nvl = link_type(c, "nvl", SY_LINK_NVLINK, 20e9), shm = link_type(c, "shm", SY_LINK_SHM, 8e9);
    int slow = link_type(c, "slow", SY_LINK_PCIE, 0), type = device_type(c, "v100");
    int node = sy_cluster_add_node(c, "n", (struct sy_int){0}, found);
    int a = add(c, node, SY_VERTEX_GPU, "a", 0, type), b = add(c, node, SY_VERTEX_GPU, "b", 0, type);
    int relay = add(c, node, SY_VERTEX_GPU, "relay", 0, type), far = add(c, node, SY_VERTEX_GPU, "far", 0, type);
    int x = add(c, node, SY_VERTEX_CPU, "x", 0, type), y = add(c, node, SY_VERTEX_CPU, "y", 0, type);
    int dram = add(c, node, SY_VERTEX_MEMORY, "dram", -1, -1);

    sy_cluster_add_link(c, a, relay, nvl, sy_int_of(2, found), found);
    sy_cluster_add_link(c, relay, b, nvl, sy_int_of(1, found), found);
    sy_cluster_add_link(c, far, c->nodes[node].first_numa, slow, (struct sy_int){0}, found);
    sy_cluster_add_link(c, x, dram, shm, (struct sy_int){0}, found);
    sy_cluster_add_link(c, y, dram, shm, (struct sy_int){0}, found);
    ok(sy_cluster_finish(c, &err) == SY_OK, "a node without switches");
    struct sy_path *paths = malloc((size_t)c->n_vertices * sizeof *paths);
    if (!paths || sy_paths_from(c, a, paths, &err) != SY_OK)
        bail("%s", err.text);
    ok(paths[relay].cls == SY_PATH_NVLINK && paths[relay].bw.value == 40e9 && paths[relay].n_lanes == 2, "two lanes");
    ok(paths[b].cls == SY_PATH_RELAY && paths[b].bw.value == 20e9, "a GPU on the way");
    ok(paths[far].cls == SY_PATH_HOST && !SY_KNOWN(paths[far].bw), "an unknown bandwidth stays unknown");
    ok(paths[x].cls == SY_PATH_NONE, "what hangs nowhere is not reached");
    free(paths);
    check_path(c, "n.x", "n.y", SY_PATH_SHM, 8e9, 2);
    is_int(c->n_ranks, 4, "ranks go to GPUs where there are some");
    sy_cluster_destroy(c);
}

static void check_lookup(void)
{
    struct sy_cluster *c = make(3);
    struct sy_error err = SY_ERROR_INIT;
    int n = c->n_vertices;

    is_int(sy_cluster_find_node(c, "n2"), 2, "a node by name");
    is_int(sy_cluster_find_node(c, "n3"), -1, "no such node");
    is_int(sy_cluster_find(c, "n3.gpu0"), -1, "no vertex of it");
    ok(sy_cluster_find(c, "ib.rail7") >= 0 && sy_cluster_find(c, "ib.spine") >= 0, "switches of a fabric");
    is_int(sy_cluster_add_node(c, "n2", (struct sy_int){0}, found), -1, "a name that is taken");
    is_int(sy_cluster_add_vertex(c, 1, SY_VERTEX_NIC, "gpu0", found), -1, "an id that is taken");
    ok(c->n_vertices < n && sy_cluster_find(c, "ib.spine") == -1, "adding takes the fabric's graph away");
    int more = sy_cluster_add_vertex(c, 1, SY_VERTEX_MEMORY, "dram", found);
    ok(more >= 0 && sy_cluster_finish(c, &err) == SY_OK && c->n_vertices == n + 1, "finished again it is there");
    is_int(sy_cluster_find(c, "n1.dram"), more, "and what was added");
    is_int(sy_cluster_find(c, "ib.spine"), n, "the spine is last");
    ok(sy_cluster_link_type(c, &c->link_types[0]) == 0, "an equal type is found again");
    sy_cluster_destroy(c);
}

static void check_ranks(void)
{
    struct sy_cluster *c = make(3);
    struct sy_error err = SY_ERROR_INIT;

    is_int(c->n_ranks, 24, "a rank for each GPU");
    is_int(c->ranks[9], sy_cluster_find(c, "n1.gpu1"), "node by node");
    c->policy.order = sy_int_of(SY_RANKS_ROUND_ROBIN, found);
    int cpu = add(c, 1, SY_VERTEX_GPU, "gpu8", 0, 0);
    ok(sy_cluster_finish(c, &err) == SY_OK && c->n_ranks == 25, "nodes may differ");
    ok(c->ranks[4] == sy_cluster_find(c, "n1.gpu1") && c->ranks[24] == cpu, "or the first of each, then the second");
    sy_cluster_map_rank(c, cpu);
    sy_cluster_map_rank(c, sy_cluster_find(c, "n0.gpu2"));
    ok(sy_cluster_finish(c, &err) == SY_OK && c->n_ranks == 2 && c->ranks[0] == cpu, "or as the file wants it");
    sy_cluster_destroy(c);
}

/* Whether bytes are this cluster. Its own bytes may differ: what lies between fields is anything. */
static bool same_text(const struct sy_cluster *c, const struct sy_buf *bytes)
{
    struct sy_buf one = SY_BUF_INIT, two = SY_BUF_INIT;
    struct sy_cursor in = {bytes->data, bytes->len, 0};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_cluster *d = NULL;
    bool same = sy_cluster_unpack(&in, &d, &err) == SY_OK && sy_cluster_dump(c, true, &one, &err) == SY_OK &&
                sy_cluster_dump(d, true, &two, &err) == SY_OK && one.len && one.len == two.len &&
                !memcmp(one.data, two.data, one.len);

    sy_cluster_destroy(d);
    sy_buf_fini(&one);
    sy_buf_fini(&two);
    return same;
}

static void check_bytes(void)
{
    struct sy_cluster *c = make(2), *d = NULL;
    struct sy_buf bytes = SY_BUF_INIT, again = SY_BUF_INIT;
    struct sy_error err = SY_ERROR_INIT;
    char why[200] = "";

    sy_cluster_add_fact(c, 1, "kernel", sy_text_of(c, "6.1", sy_source_at(sy_cluster_file(c, "a.yaml"), 3, 9)));
    sy_cluster_finish(c, &err);
    ok(sy_cluster_pack(c, &bytes, &err) == SY_OK, "packed");
    struct sy_cursor in = {bytes.data, bytes.len, 0};
    ok(sy_cluster_unpack(&in, &d, &err) == SY_OK && in.at == bytes.len, "and unpacked: %s", err.text);
    if (!d)
        bail("nothing to compare");
    ok(sy_cluster_equal(c, d, why, sizeof why), "equal %s", why);
    is_str(sy_source_show(d, d->facts[0].value.from, why, sizeof why), "file a.yaml:3:9", "sources too");
    ok(sy_cluster_pack(d, &again, &err) == SY_OK && again.len == bytes.len && same_text(c, &again),
       "and packed again the same, with every value's source");
    d->device_types[0].mem.value = 81e9;
    ok(!sy_cluster_equal(c, d, why, sizeof why), "a difference is seen");
    is_str(why, "n0.gpu0: mem: 80000000000 and 81000000000", "and said");
    sy_cluster_destroy(d);
    bool refused = true;
    for (size_t n = 0; n < bytes.len && refused; n += n < 400 ? 1 : 997) {
        struct sy_cursor part = {bytes.data, n, 0};
        refused = sy_cluster_unpack(&part, &d, &err) == SY_ERR_DATA;
    }
    ok(refused, "cut bytes are refused");
    sy_buf_fini(&bytes);
    sy_buf_fini(&again);
    sy_cluster_destroy(c);
}

int main(void)
{
    check_lookup();
    check_ranks();
    check_paths();
    check_small_paths();
    check_bytes();
    done();
    return tap_exit();
}

/* SPDX-License-Identifier: Apache-2.0
 * cluster_types.c - link_types and device_types
 */
#include <string.h>

#include "cluster_private.h"

int sy_reader_entry(struct sy_reader *r, const struct sy_entries *entries, const char *what, const struct sy_yaml *node,
                    const char *name)
{
    const struct sy_yaml *best[2] = {NULL, NULL};
    int least[2] = {0, 0};

    for (int i = 0; i < entries->n; i++) {
        const struct sy_yaml *key = entries->items[i].key;
        if (!strcmp(key->text, name))
            return i;
        int d = sy_name_distance(key->text, name);
        if (!best[0] || d < least[0]) {
            best[1] = best[0];
            least[1] = least[0];
            best[0] = key;
            least[0] = d;
        } else if (!best[1] || d < least[1]) {
            best[1] = key;
            least[1] = d;
        }
    }
    if (r->files_missing)
        return -1;
    sy_reader_error(r, node, "no %s '%.60s'", what, name);
    if (best[0])
        sy_reader_note(r, best[0], "the nearest is '%s', defined here", best[0]->text);
    /* Which of two is meant, if either, is not for us to say. */
    if (best[1] && least[1] <= 2)
        sy_reader_note(r, best[1], "or '%s', defined here", best[1]->text);
    return -1;
}

/* 400 GB/s on one port is a port of 400 Gb/s, written with the wrong b. */
static void check_port_rate(struct sy_reader *r, const struct sy_yaml *bw, const struct sy_link_type *type)
{
    char why[200];
    bool bits = true;
    double value;

    if (!bw || !SY_KNOWN(type->bw) || type->bw.value < 200e9 ||
        (type->cls != SY_LINK_IB && type->cls != SY_LINK_ETHERNET))
        return;
    if (sy_quantity_read(bw->text, SY_BYTES_PER_S, &value, &bits, why, sizeof why) && !bits)
        sy_reader_warning(r, bw, "%s on a link of class %s is more than any port has; did you mean Gb/s?", bw->text,
                          sy_link_class_name(type->cls));
}

static void read_link_type(struct sy_reader *r, struct sy_entry *e)
{
    enum { CLASS, BW, EFFICIENCY, LATENCY, PER_MESSAGE, N };
    static const struct sy_key keys[N] = {{"class", SY_TAKES_TEXT, true},
                                          {"bw", SY_TAKES_TEXT, false},
                                          {"efficiency", SY_TAKES_TEXT, false},
                                          {"latency", SY_TAKES_TEXT, false},
                                          {"per_message", SY_TAKES_TEXT, false}};
    const char *classes[SY_N_LINK_CLASSES - 1];
    struct sy_yaml *values[N];
    struct sy_link_type type = {.name = sy_cluster_intern(r->cluster, e->key->text), .from = sy_reader_source(e->key)};
    int cls = -1; /* one that is not understood does not count as any */

    /* Links of class local are made, not written. */
    for (int i = 1; i < SY_N_LINK_CLASSES; i++)
        classes[i - 1] = sy_link_class_name(i);
    e->broken = !sy_reader_check_name(r, e->key, e->key->text, true);
    e->broken |= !sy_reader_map(r, e->value, "a link type", keys, N, values);
    e->broken |= !sy_reader_choice(r, values[CLASS], "class", classes, SY_N_LINK_CLASSES - 1, &cls);
    e->broken |= !sy_reader_quantity(r, values[BW], SY_BYTES_PER_S, &type.bw);
    e->broken |= !sy_reader_number(r, values[EFFICIENCY], 0, 1, &type.efficiency);
    e->broken |= !sy_reader_quantity(r, values[LATENCY], SY_SECONDS, &type.latency);
    e->broken |= !sy_reader_quantity(r, values[PER_MESSAGE], SY_SECONDS, &type.per_message);
    type.cls = cls + 1;
    check_port_rate(r, values[BW], &type);
    e->number = sy_cluster_link_type(r->cluster, &type);
}

static void read_compute(struct sy_reader *r, struct sy_entry *e, const struct sy_yaml *node,
                         struct sy_device_type *type)
{
    struct sy_key keys[SY_N_COMPUTE_TYPES];
    struct sy_yaml *values[SY_N_COMPUTE_TYPES];

    for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
        keys[i] = (struct sy_key){sy_compute_type_name(i), SY_TAKES_TEXT, false};
    e->broken |= !sy_reader_map(r, node, "compute", keys, SY_N_COMPUTE_TYPES, values);
    for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
        e->broken |= !sy_reader_quantity(r, values[i], SY_FLOP_PER_S, &type->compute[i]);
}

static void read_device_type(struct sy_reader *r, struct sy_entry *e)
{
    enum { KIND, MODEL, SM, CORES, L2, L3, MEM, MEM_BW, COMPUTE, N };
    static const struct sy_key keys[N] = {
        {"kind", SY_TAKES_TEXT, true},   {"model", SY_TAKES_TEXT, false},  {"sm", SY_TAKES_TEXT, false},
        {"cores", SY_TAKES_TEXT, false}, {"l2", SY_TAKES_TEXT, false},     {"l3", SY_TAKES_TEXT, false},
        {"mem", SY_TAKES_TEXT, false},   {"mem_bw", SY_TAKES_TEXT, false}, {"compute", SY_TAKES_MAP, false}};
    static const char *const kinds[] = {"gpu", "cpu"};
    struct sy_yaml *values[N];
    struct sy_device_type type = {.name = sy_cluster_intern(r->cluster, e->key->text),
                                  .from = sy_reader_source(e->key)};
    int kind = 0;

    e->broken = !sy_reader_check_name(r, e->key, e->key->text, true);
    e->broken |= !sy_reader_map(r, e->value, "a device type", keys, N, values);
    e->broken |= !sy_reader_choice(r, values[KIND], "kind of device", kinds, 2, &kind);
    e->broken |= !sy_reader_text(r, values[MODEL], &type.model);
    e->broken |= !sy_reader_int(r, values[SM], 10, 9999, &type.sm);
    e->broken |= !sy_reader_int(r, values[CORES], 1, 65536, &type.cores);
    e->broken |= !sy_reader_quantity(r, values[L2], SY_BYTES, &type.l2);
    e->broken |= !sy_reader_quantity(r, values[L3], SY_BYTES, &type.l3);
    e->broken |= !sy_reader_quantity(r, values[MEM], SY_BYTES, &type.mem);
    e->broken |= !sy_reader_quantity(r, values[MEM_BW], SY_BYTES_PER_S, &type.mem_bw);
    if (values[COMPUTE])
        read_compute(r, e, values[COMPUTE], &type);
    e->kind = kind ? SY_VERTEX_CPU : SY_VERTEX_GPU;
    if (kind && values[SM]) {
        sy_reader_error(r, values[SM], "sm is a GPU's; this type is of kind cpu");
        sy_reader_note(r, values[KIND], "the kind is said here");
        e->broken = true;
    }
    e->number = sy_cluster_device_type(r->cluster, &type);
}

void sy_reader_types(struct sy_reader *r)
{
    for (int i = 0; i < r->link_types.n; i++)
        read_link_type(r, &r->link_types.items[i]);
    for (int i = 0; i < r->device_types.n; i++)
        read_device_type(r, &r->device_types.items[i]);
}

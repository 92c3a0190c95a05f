/* SPDX-License-Identifier: Apache-2.0
 * model_types.c - types found by content, sources, names
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model.h"
#include "model_private.h"

bool sy_source_equal(struct sy_source a, struct sy_source b)
{
    return a.origin == b.origin && a.file == b.file && a.line == b.line && a.column == b.column;
}

static bool same_real(struct sy_real a, struct sy_real b)
{
    return sy_source_equal(a.from, b.from) && (!SY_KNOWN(a) || a.value == b.value);
}

static bool same_int(struct sy_int a, struct sy_int b)
{
    return sy_source_equal(a.from, b.from) && (!SY_KNOWN(a) || a.value == b.value);
}

static bool same_device_type(const struct sy_device_type *a, const struct sy_device_type *b)
{
    for (int i = 0; i < SY_N_COMPUTE_TYPES; i++)
        if (!same_real(a->compute[i], b->compute[i]))
            return false;
    return a->name == b->name && sy_source_equal(a->from, b->from) && sy_source_equal(a->model.from, b->model.from) &&
           (!SY_KNOWN(a->model) || a->model.value == b->model.value) && same_int(a->sm, b->sm) &&
           same_int(a->cores, b->cores) && same_real(a->l2, b->l2) && same_real(a->l3, b->l3) &&
           same_real(a->mem, b->mem) && same_real(a->mem_bw, b->mem_bw);
}

int sy_cluster_device_type(struct sy_cluster *c, const struct sy_device_type *type)
{
    /* The caller may hand in one that is in the array, which moves. */
    struct sy_device_type wanted = *type;

    for (int i = c->n_device_types; i-- > 0;)
        if (same_device_type(&c->device_types[i], &wanted))
            return i;
    if (!sy_cluster_grow(c, &c->device_types, c->n_device_types, sizeof *c->device_types))
        return -1;
    c->device_types[c->n_device_types] = wanted;
    return c->n_device_types++;
}

static bool same_link_type(const struct sy_link_type *a, const struct sy_link_type *b)
{
    return a->name == b->name && a->cls == b->cls && sy_source_equal(a->from, b->from) && same_real(a->bw, b->bw) &&
           same_real(a->efficiency, b->efficiency) && same_real(a->latency, b->latency) &&
           same_real(a->per_message, b->per_message);
}

int sy_cluster_link_type(struct sy_cluster *c, const struct sy_link_type *type)
{
    struct sy_link_type wanted = *type;

    for (int i = c->n_link_types; i-- > 0;)
        if (same_link_type(&c->link_types[i], &wanted))
            return i;
    if (!sy_cluster_grow(c, &c->link_types, c->n_link_types, sizeof *c->link_types))
        return -1;
    c->link_types[c->n_link_types] = wanted;
    return c->n_link_types++;
}

struct sy_real sy_link_capacity(const struct sy_cluster *c, int link)
{
    const struct sy_link *l = &c->links[link];
    const struct sy_link_type *type = &c->link_types[l->type];
    double each = type->bw.value * sy_real_or(type->efficiency, 1);

    return SY_KNOWN(type->bw) ? sy_real_of(each * (double)sy_int_or(l->count, 1), type->bw.from) : (struct sy_real){0};
}

/* Sources. */

uint16_t sy_cluster_file(struct sy_cluster *c, const char *name)
{
    struct sy_pools *p = c->pools;
    uint32_t text = sy_cluster_intern(c, name);

    for (int i = 0; i < p->n_files; i++)
        if (p->files[i] == text)
            return (uint16_t)i;
    if (p->n_files > UINT16_MAX || !sy_cluster_grow(c, &p->files, p->n_files, sizeof *p->files))
        return 0;
    p->files[p->n_files] = text;
    return (uint16_t)p->n_files++;
}

const char *sy_cluster_file_name(const struct sy_cluster *c, uint16_t file)
{
    return file < c->pools->n_files ? sy_cluster_text(c, c->pools->files[file]) : "";
}

struct sy_source sy_source_at(uint16_t file, int line, int column)
{
    return (struct sy_source){
        .origin = SY_ORIGIN_FILE, .file = file, .line = (uint32_t)line, .column = (uint32_t)column};
}

struct sy_source sy_source_imported(uint16_t file, int line, int column)
{
    return (struct sy_source){
        .origin = SY_ORIGIN_IMPORTED, .file = file, .line = (uint32_t)line, .column = (uint32_t)column};
}

const char *sy_source_show(const struct sy_cluster *c, struct sy_source from, char *out, size_t out_bytes)
{
    static const char *const words[] = {"unknown", "default", "imported", "discovered", "file"};
    int n = snprintf(out, out_bytes, "%s", words[from.origin <= SY_ORIGIN_FILE ? from.origin : 0]);

    if (from.file && n > 0 && (size_t)n < out_bytes)
        n += snprintf(out + n, out_bytes - (size_t)n, " %s", sy_cluster_file_name(c, from.file));
    if (from.line && n > 0 && (size_t)n < out_bytes)
        snprintf(out + n, out_bytes - (size_t)n, ":%u:%u", from.line, from.column);
    return out;
}

/* Names. */

const char *sy_vertex_kind_name(enum sy_vertex_kind kind)
{
    static const char *const names[SY_N_VERTEX_KINDS] = {"gpu",  "cpu", "numa",   "nvswitch",
                                                         "pcie", "nic", "memory", "fabric"};
    return names[kind];
}

const char *sy_link_class_name(enum sy_link_class cls)
{
    static const char *const names[SY_N_LINK_CLASSES] = {"local", "nvlink", "c2c", "memory",  "shm",
                                                         "pcie",  "smp",    "ib",  "ethernet"};
    return names[cls];
}

const char *sy_compute_type_name(enum sy_compute_type type)
{
    static const char *const names[SY_N_COMPUTE_TYPES] = {"f32", "bf16", "fp8", "int8"};
    return names[type];
}

const char *sy_fabric_kind_name(enum sy_fabric_kind kind)
{
    static const char *const names[SY_N_FABRIC_KINDS] = {"rail", "fat_tree", "nvlink_domain"};
    return names[kind];
}

/* SPDX-License-Identifier: Apache-2.0
 * yamltree.h - a YAML file as a tree in which everything knows its place
 *
 * The subset that cluster files use: one document of maps, lists and scalars, keys are scalars, anchors and aliases; no tags, no
 * merge keys. libyaml's parser gives events with their marks; duplicate keys, which it does not look for, are found here. Files
 * may be hostile: size, depth and what aliases make of a file are limited.
 */
#ifndef SY_TOPO_YAMLTREE_H
#define SY_TOPO_YAMLTREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report.h"

#define SY_YAML_BYTES_MAX (64u << 20)
#define SY_YAML_DEPTH_MAX 32
#define SY_YAML_ITEMS_MAX (8u << 20) /* all nodes, with each alias counted as what it stands for */

enum sy_yaml_kind { SY_YAML_SCALAR, SY_YAML_LIST, SY_YAML_MAP };

/* One node. An alias is the very node it stands for. */
struct sy_yaml {
    uint8_t kind;
    bool quoted;
    uint16_t file; /* the caller's number of the file */
    int line, column;
    uint32_t weight;        /* nodes below, this one too, aliases counted as what they stand for */
    int n;                  /* bytes of text, items of a list, pairs of a map */
    const char *text;       /* scalar: text[n], a NUL after it and none in it */
    struct sy_yaml **items; /* list: [n]; map: [2 * n], key and value in turn */
};

struct sy_yaml_memory; /* all nodes of some files */
struct sy_yaml_memory *sy_yaml_memory_create(void);
void sy_yaml_memory_destroy(struct sy_yaml_memory *memory);

/* Parse text[n]; name and file stand for it in reports and nodes. NULL when it cannot be parsed, which is reported. */
struct sy_yaml *sy_yaml_parse(struct sy_yaml_memory *memory, const char *name, uint16_t file, const char *text,
                              size_t n, struct sy_report *report);

/* The value of a key of a map, NULL when it has none; the key's own node. */
struct sy_yaml *sy_yaml_get(const struct sy_yaml *map, const char *key);
struct sy_yaml *sy_yaml_key(const struct sy_yaml *map, const char *key);

/* "a list", "a map", "text". */
const char *sy_yaml_kind_name(const struct sy_yaml *node);

#endif

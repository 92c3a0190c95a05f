/* SPDX-License-Identifier: Apache-2.0
 * yamltree.c - libyaml's events to a tree
 */
#include "yamltree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define BLOCK_BYTES 65536

struct block {
    struct block *next;
    size_t used, bytes;
    _Alignas(16) uint8_t data[];
};

struct sy_yaml_memory {
    struct block *blocks;
    uint32_t n_nodes;
};

/* A map or list that is not closed yet. */
struct open {
    struct sy_yaml *node;
    struct sy_yaml **items;
    int n_items, room;
    char *anchor;
};

struct anchor {
    char *name;
    struct sy_yaml *node; /* NULL: not closed yet */
};

struct parser {
    struct sy_yaml_memory *memory;
    struct sy_report *report;
    const char *name;
    uint16_t file;
    const char *text;
    size_t n_text;
    yaml_parser_t yaml;
    struct open stack[SY_YAML_DEPTH_MAX];
    int depth;
    struct anchor *anchors;
    int n_anchors;
    struct sy_yaml *root;
    yaml_mark_t last; /* where the last text, list or map begins */
    bool failed, no_memory;
};

struct sy_yaml_memory *sy_yaml_memory_create(void)
{
    return calloc(1, sizeof(struct sy_yaml_memory));
}

void sy_yaml_memory_destroy(struct sy_yaml_memory *memory)
{
    if (!memory)
        return;
    while (memory->blocks) {
        struct block *next = memory->blocks->next;
        free(memory->blocks);
        memory->blocks = next;
    }
    free(memory);
}

static void *take(struct parser *p, size_t bytes)
{
    struct sy_yaml_memory *m = p->memory;

    bytes = (bytes + 15) & ~(size_t)15;
    if (!m->blocks || m->blocks->bytes - m->blocks->used < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        struct block *block = malloc(sizeof *block + room);
        if (!block) {
            p->failed = p->no_memory = true;
            return NULL;
        }
        *block = (struct block){.next = m->blocks, .bytes = room};
        m->blocks = block;
    }
    void *out = m->blocks->data + m->blocks->used;
    m->blocks->used += bytes;
    return out;
}

static struct sy_place place_of(const struct parser *p, yaml_mark_t mark)
{
    return (struct sy_place){p->name, (int)mark.line + 1, (int)mark.column + 1};
}

static struct sy_place place_of_node(const struct parser *p, const struct sy_yaml *node)
{
    return (struct sy_place){p->name, node->line, node->column};
}

static struct sy_yaml *new_node(struct parser *p, enum sy_yaml_kind kind, yaml_mark_t mark)
{
    if (p->memory->n_nodes >= SY_YAML_ITEMS_MAX) {
        sy_report_error(p->report, place_of(p, mark), "more than %u values in all files", SY_YAML_ITEMS_MAX);
        p->failed = true;
        return NULL;
    }
    struct sy_yaml *node = take(p, sizeof *node);
    if (!node)
        return NULL;
    *node = (struct sy_yaml){.kind = (uint8_t)kind,
                             .file = p->file,
                             .line = (int)mark.line + 1,
                             .column = (int)mark.column + 1,
                             .weight = 1};
    p->memory->n_nodes++;
    return node;
}

static struct anchor *find_anchor(struct parser *p, const char *name)
{
    for (int i = p->n_anchors; i-- > 0;)
        if (!strcmp(p->anchors[i].name, name))
            return &p->anchors[i];
    return NULL;
}

/* A later anchor of the same name replaces an earlier one, says YAML. */
static void set_anchor(struct parser *p, const char *name, struct sy_yaml *node)
{
    struct anchor *there = find_anchor(p, name);

    if (there) {
        there->node = node;
        return;
    }
    if (p->n_anchors % 64 == 0) {
        struct anchor *more = realloc(p->anchors, ((size_t)p->n_anchors + 64) * sizeof *more);
        if (!more) {
            p->failed = p->no_memory = true;
            return;
        }
        p->anchors = more;
    }
    char *copy = strdup(name);
    if (!copy) {
        p->failed = p->no_memory = true;
        return;
    }
    p->anchors[p->n_anchors++] = (struct anchor){copy, node};
}

/* A key is text. That it is new in its map is looked at when the map ends. */
static void check_key(struct parser *p, const struct sy_yaml *key)
{
    if (key->kind != SY_YAML_SCALAR) {
        sy_report_error(p->report, place_of_node(p, key), "expected a key, found %s", sy_yaml_kind_name(key));
        p->failed = true;
    } else if (!strcmp(key->text, "<<") && !key->quoted) {
        sy_report_error(p->report, place_of_node(p, key),
                        "merge keys ('<<') are not understood here; write the values out");
        p->failed = true;
    }
}

/* Put a node that is complete, or an alias, where it belongs. */
static void place_node(struct parser *p, struct sy_yaml *node, yaml_mark_t mark)
{
    if (!p->depth) {
        p->root = node;
        return;
    }
    struct open *open = &p->stack[p->depth - 1];
    if (open->n_items == open->room) {
        int room = open->room ? 2 * open->room : 16;
        struct sy_yaml **more = realloc(open->items, (size_t)room * sizeof *more);
        if (!more) {
            p->failed = p->no_memory = true;
            return;
        }
        open->items = more;
        open->room = room;
    }
    if (open->node->kind == SY_YAML_MAP && open->n_items % 2 == 0)
        check_key(p, node);
    if (open->node->weight + (uint64_t)node->weight > SY_YAML_ITEMS_MAX) {
        sy_report_error(p->report, place_of(p, mark), "with its aliases written out the file has more than %u values",
                        SY_YAML_ITEMS_MAX);
        p->failed = true;
        return;
    }
    open->node->weight += node->weight;
    open->items[open->n_items++] = node;
}

static int by_key(const void *x, const void *y)
{
    const struct sy_yaml *a = *(struct sy_yaml *const *)x, *b = *(struct sy_yaml *const *)y;
    int order = strcmp(a->text, b->text);

    if (order)
        return order;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    return a->column < b->column ? -1 : a->column > b->column;
}

static void find_duplicates(struct parser *p, const struct sy_yaml *map)
{
    struct sy_yaml **keys = malloc(((size_t)map->n + 1) * sizeof *keys);

    if (!keys) {
        p->failed = p->no_memory = true;
        return;
    }
    for (int i = 0; i < map->n; i++)
        keys[i] = map->items[2 * i];
    qsort(keys, (size_t)map->n, sizeof *keys, by_key);
    for (int i = 1; i < map->n; i++)
        if (!strcmp(keys[i]->text, keys[i - 1]->text)) {
            sy_report_error(p->report, place_of_node(p, keys[i]), "duplicate key '%s'", keys[i]->text);
            sy_report_note(p->report, place_of_node(p, keys[i - 1]), "it is here already");
        }
    free(keys);
}

static void open_node(struct parser *p, enum sy_yaml_kind kind, const char *anchor, yaml_mark_t mark)
{
    if (p->depth == SY_YAML_DEPTH_MAX) {
        sy_report_error(p->report, place_of(p, mark), "more than %d levels of lists and maps", SY_YAML_DEPTH_MAX);
        p->failed = true;
        return;
    }
    struct sy_yaml *node = new_node(p, kind, mark);
    if (!node)
        return;
    p->stack[p->depth++] = (struct open){.node = node, .anchor = anchor ? strdup(anchor) : NULL};
    if (anchor)
        set_anchor(p, anchor, NULL);
}

static void close_node(struct parser *p, yaml_mark_t mark)
{
    struct open open = p->stack[--p->depth];
    struct sy_yaml *node = open.node;
    bool map = node->kind == SY_YAML_MAP;

    node->n = map ? open.n_items / 2 : open.n_items;
    node->items = take(p, ((size_t)open.n_items + 1) * sizeof *node->items);
    if (node->items && open.n_items)
        memcpy(node->items, open.items, (size_t)open.n_items * sizeof *node->items);
    free(open.items);
    if (map && !p->failed)
        find_duplicates(p, node);
    if (open.anchor && !p->failed)
        set_anchor(p, open.anchor, node);
    free(open.anchor);
    if (!p->failed)
        place_node(p, node, mark);
}

static void take_scalar(struct parser *p, const yaml_event_t *e)
{
    size_t n = e->data.scalar.length;

    if (memchr(e->data.scalar.value, 0, n)) {
        sy_report_error(p->report, place_of(p, e->start_mark), "text with a NUL character");
        p->failed = true;
        return;
    }
    struct sy_yaml *node = new_node(p, SY_YAML_SCALAR, e->start_mark);
    char *text = node ? take(p, n + 1) : NULL;
    if (!text)
        return;
    memcpy(text, e->data.scalar.value, n);
    text[n] = '\0';
    node->text = text;
    node->n = (int)n;
    node->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (e->data.scalar.anchor)
        set_anchor(p, (const char *)e->data.scalar.anchor, node);
    place_node(p, node, e->start_mark);
}

static void take_alias(struct parser *p, const yaml_event_t *e)
{
    const char *name = (const char *)e->data.alias.anchor;
    struct anchor *anchor = find_anchor(p, name);

    if (!anchor || !anchor->node) {
        sy_report_error(p->report, place_of(p, e->start_mark),
                        anchor ? "'*%s' stands inside of what it stands for" : "no anchor '&%s' before this", name);
        p->failed = true;
        return;
    }
    place_node(p, anchor->node, e->start_mark);
}

static bool has_tag(const yaml_event_t *e)
{
    return (e->type == YAML_SCALAR_EVENT && e->data.scalar.tag) ||
           (e->type == YAML_SEQUENCE_START_EVENT && e->data.sequence_start.tag) ||
           (e->type == YAML_MAPPING_START_EVENT && e->data.mapping_start.tag);
}

static void take_event(struct parser *p, const yaml_event_t *e)
{
    if (has_tag(e)) {
        sy_report_error(p->report, place_of(p, e->start_mark), "tags ('!') are not understood here");
        p->failed = true;
        return;
    }
    if (e->type == YAML_SCALAR_EVENT || e->type == YAML_ALIAS_EVENT || e->type == YAML_SEQUENCE_START_EVENT ||
        e->type == YAML_MAPPING_START_EVENT)
        p->last = e->start_mark;
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (p->root) {
            sy_report_error(p->report, place_of(p, e->start_mark), "a second document; a file describes one cluster");
            p->failed = true;
        }
        break;
    case YAML_SCALAR_EVENT:
        take_scalar(p, e);
        break;
    case YAML_ALIAS_EVENT:
        take_alias(p, e);
        break;
    case YAML_SEQUENCE_START_EVENT:
        open_node(p, SY_YAML_LIST, (const char *)e->data.sequence_start.anchor, e->start_mark);
        break;
    case YAML_MAPPING_START_EVENT:
        open_node(p, SY_YAML_MAP, (const char *)e->data.mapping_start.anchor, e->start_mark);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        close_node(p, e->start_mark);
        break;
    default:
        break;
    }
}

/* The character at a place; 0: none. */
static char char_at(const struct parser *p, yaml_mark_t mark)
{
    const char *at = p->text, *end = p->text + p->n_text;

    for (size_t line = 0; line < mark.line && at; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    for (size_t column = 0; at && at < end && column <= mark.column; at++)
        if ((*at & 0xc0) != 0x80 && column++ == mark.column)
            return *at;
    return 0;
}

static void report_syntax(struct parser *p)
{
    const yaml_parser_t *y = &p->yaml;

    p->failed = true;
    if (y->error == YAML_MEMORY_ERROR) {
        p->no_memory = true;
    } else if (y->error == YAML_READER_ERROR) {
        /* The reader knows an offset only. */
        sy_report_error(p->report, place_of(p, y->mark), "not text in UTF-8 that YAML allows: %s (byte %zu)",
                        y->problem, y->problem_offset);
    } else {
        sy_report_error(p->report, place_of(p, y->problem_mark), "YAML: %s",
                        y->problem ? y->problem : "not understood");
        if (y->context)
            sy_report_note(p->report, place_of(p, y->context_mark), "%s that begins here", y->context);
        /* n[0-3] is text at the end of a line and something else inside a list or map in brackets. */
        if (y->problem && strstr(y->problem, "did not find expected ','") && char_at(p, y->problem_mark) == '[')
            sy_report_note(p->report, place_of(p, y->problem_mark), "a range needs quotes here, as in \"n[0-3]\"");
        if (p->last.line != y->problem_mark.line)
            sy_report_note(p->report, place_of(p, p->last), "what was understood last is here");
    }
}

struct sy_yaml *sy_yaml_parse(struct sy_yaml_memory *memory, const char *name, uint16_t file, const char *text,
                              size_t n, struct sy_report *report)
{
    struct parser p = {.memory = memory, .report = report, .name = name, .file = file};
    bool end = false;

    /* libyaml takes a byte order mark for a column. */
    if (n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
        text += 3;
        n -= 3;
    }
    p.text = text;
    p.n_text = n;

    if (!yaml_parser_initialize(&p.yaml)) {
        sy_report_error(report, (struct sy_place){name, 0, 0}, "no memory to parse it");
        return NULL;
    }
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, (const unsigned char *)text, n);
    while (!end && !p.failed) {
        yaml_event_t event;
        if (!yaml_parser_parse(&p.yaml, &event)) {
            report_syntax(&p);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        take_event(&p, &event);
        yaml_event_delete(&event);
    }
    if (p.no_memory)
        sy_report_error(report, (struct sy_place){name, 0, 0}, "no memory to parse it");
    else if (!p.failed && !p.root)
        sy_report_error(report, (struct sy_place){name, 1, 1}, "the file is empty");
    while (p.depth--) {
        free(p.stack[p.depth].items);
        free(p.stack[p.depth].anchor);
    }
    for (int i = 0; i < p.n_anchors; i++)
        free(p.anchors[i].name);
    free(p.anchors);
    yaml_parser_delete(&p.yaml);
    return p.failed ? NULL : p.root;
}

static int find_key(const struct sy_yaml *map, const char *key)
{
    if (map && map->kind == SY_YAML_MAP)
        for (int i = 0; i < map->n; i++)
            if (!strcmp(map->items[2 * i]->text, key))
                return i;
    return -1;
}

struct sy_yaml *sy_yaml_get(const struct sy_yaml *map, const char *key)
{
    int i = find_key(map, key);
    return i < 0 ? NULL : map->items[2 * i + 1];
}

struct sy_yaml *sy_yaml_key(const struct sy_yaml *map, const char *key)
{
    int i = find_key(map, key);
    return i < 0 ? NULL : map->items[2 * i];
}

const char *sy_yaml_kind_name(const struct sy_yaml *node)
{
    static const char *const names[] = {"text", "a list", "a map"};
    return names[node->kind];
}

/* SPDX-License-Identifier: Apache-2.0
 * mutate_json.c - changes to JSON
 */
#include <limits.h>
#include <string.h>

#include "mutate.h"

#define NODES_MAX 4096
#define NEST_MAX  70
#define LIST_MAX  5000

/* A value and where it is: in an object under a key, in an array at an index, or (parent NULL) the root. */
struct node {
    json_t *parent, *value;
    const char *key;
    size_t index;
};

struct tree {
    struct node nodes[NODES_MAX];
    size_t n;
};

/* libFuzzer's changes of bytes. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void collect(struct tree *tree, struct node node)
{
    const char *key;
    json_t *value;
    size_t i;

    if (tree->n == NODES_MAX)
        return;
    tree->nodes[tree->n++] = node;
    json_object_foreach (node.value, key, value)
        collect(tree, (struct node){node.value, value, key, 0});
    json_array_foreach (node.value, i, value)
        collect(tree, (struct node){node.value, value, NULL, i});
}

static struct tree *collect_all(const json_t *root)
{
    static struct tree tree;

    tree.n = 0;
    collect(&tree, (struct node){NULL, (json_t *)root, NULL, 0});
    return &tree;
}

/* Put value, which is given away, in a node's place. */
static json_t *replace(json_t *root, const struct node *node, json_t *value)
{
    if (!value)
        return root;
    if (!node->parent) {
        json_decref(root);
        return value;
    }
    if (node->key)
        json_object_set_new(node->parent, node->key, value);
    else
        json_array_set_new(node->parent, node->index, value);
    return root;
}

static json_t *number(const json_t *old, struct testrand *rand)
{
    static const json_int_t integers[] = {0,       -1,          1,          2,          3,        4,         7,
                                          8,       16,          31,         32,         33,       64,        127,
                                          128,     255,         256,        257,        4095,     4096,      4097,
                                          8192,    16384,       16385,      65536,      1048576,  16777216,  268435456,
                                          INT_MAX, 2147483648L, 4294967295, 4294967296, 1L << 53, LLONG_MAX, LLONG_MIN};
    static const double reals[] = {0.0, -0.0, 0.5, 1.0, -1.5, 1e-6, 1e-300, 5e-324, 1e6, 1e18, 1e300, 0.99999, 1.001};
    json_int_t value = json_is_integer(old) ? json_integer_value(old) : (json_int_t)mutate_pick(rand, 100);

    switch (mutate_pick(rand, 8)) {
    case 0:
        return json_real(reals[mutate_pick(rand, sizeof reals / sizeof *reals)]);
    case 1:
        return json_real(json_number_value(old) * (mutate_pick(rand, 2) ? 2 : -0.5));
    case 2:
        return json_integer((json_int_t)((uint64_t)value + 1));
    case 3:
        return json_integer((json_int_t)((uint64_t)value - 1));
    case 4:
        return json_integer((json_int_t)((uint64_t)value * 2));
    case 5:
        return json_integer(value / 2);
    default:
        return json_integer(integers[mutate_pick(rand, sizeof integers / sizeof *integers)]);
    }
}

/* The string with some bytes changed, where that is still UTF-8. */
static json_t *string(const json_t *old, struct testrand *rand)
{
    char text[512];
    size_t n = json_string_length(old);

    if (n > sizeof text / 2 || !mutate_pick(rand, 8))
        return json_string("");
    if (n)
        memcpy(text, json_string_value(old), n);
    return json_stringn(text, LLVMFuzzerMutate((uint8_t *)text, n, sizeof text));
}

/* A value of any type. */
static json_t *any(const json_t *old, const struct tree *tree, struct testrand *rand)
{
    json_t *value;

    switch (mutate_pick(rand, 10)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(mutate_pick(rand, 2));
    case 2:
        return json_array();
    case 3:
        return json_object();
    case 4:
        return json_pack("[O]", old);
    case 5:
        return json_pack("{s:O}", "text_config", old);
    case 6:
        value = json_integer(1);
        for (size_t i = mutate_pick(rand, NEST_MAX); i > 0; i--)
            value = i % 2 ? json_pack("[o]", value) : json_pack("{s:o}", "a", value);
        return value;
    case 7:
    case 8:
        return json_deep_copy(tree->nodes[mutate_pick(rand, tree->n)].value);
    default:
        return number(old, rand);
    }
}

static void change_array(json_t *array, const struct tree *tree, struct testrand *rand)
{
    size_t n = json_array_size(array), i = n ? mutate_pick(rand, n) : 0;
    /* A copy, because what is taken may hold the array itself. */
    json_t *element = json_deep_copy(n && mutate_pick(rand, 4) ? json_array_get(array, i)
                                                               : tree->nodes[mutate_pick(rand, tree->n)].value);

    switch (mutate_pick(rand, 4)) {
    case 0:
        json_array_remove(array, i);
        break;
    case 1:
        json_array_insert(array, mutate_pick(rand, n + 1), element);
        break;
    case 2:
        for (size_t more = mutate_pick(rand, 40); n < LIST_MAX && more > 0; more--)
            json_array_append_new(array, json_deep_copy(element));
        break;
    default:
        json_array_append(array, element);
        break;
    }
    json_decref(element);
}

static void change_object(json_t *object, const struct node *node, const struct tree *tree, struct testrand *rand)
{
    const struct node *other = &tree->nodes[mutate_pick(rand, tree->n)];
    json_t *kept = json_incref(node->value);

    switch (mutate_pick(rand, 3)) {
    case 0:
        json_object_del(object, node->key);
        break;
    case 1: /* under another name that is in use */
        if (other->key) {
            json_object_set(object, other->key, kept);
            json_object_del(object, node->key);
        }
        break;
    default:
        if (other->key)
            json_object_set_new(object, other->key, json_deep_copy(other->value));
        break;
    }
    json_decref(kept);
}

json_t *mutate_json(json_t *root, struct testrand *rand)
{
    struct tree *tree = collect_all(root);
    const struct node *node = &tree->nodes[mutate_pick(rand, tree->n)];
    json_t *value = node->value;

    switch (mutate_pick(rand, 6)) {
    case 0:
        return replace(root, node, any(value, tree, rand));
    case 1:
        if (node->key) {
            change_object(node->parent, node, tree, rand);
            return root;
        }
        break;
    default:
        break;
    }
    if (json_is_number(value))
        return replace(root, node, number(value, rand));
    if (json_is_boolean(value))
        return replace(root, node, json_boolean(!json_is_true(value)));
    if (json_is_string(value))
        return replace(root, node, string(value, rand));
    if (json_is_array(value))
        change_array(value, tree, rand);
    else if (json_is_null(value))
        return replace(root, node, any(value, tree, rand));
    return root;
}

void mutate_json_cross(json_t *root, const json_t *from, struct testrand *rand)
{
    struct tree *tree = collect_all(from);
    const struct node taken = tree->nodes[mutate_pick(rand, tree->n)];
    json_t *copy = json_deep_copy(taken.value);

    tree = collect_all(root);
    size_t begin = mutate_pick(rand, tree->n);
    /* Where there is one of that name, else at any object; of an element, at any array. */
    for (int pass = 0; copy && pass < 2; pass++) {
        for (size_t i = 0; i < tree->n; i++) {
            const struct node *node = &tree->nodes[(begin + i) % tree->n];
            if (taken.key ? json_is_object(node->value) && (pass || json_object_get(node->value, taken.key))
                          : pass && json_is_array(node->value)) {
                if (taken.key)
                    json_object_set(node->value, taken.key, copy);
                else
                    json_array_append(node->value, copy);
                json_decref(copy);
                return;
            }
        }
    }
    json_decref(copy);
}

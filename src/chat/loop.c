/* SPDX-License-Identifier: Apache-2.0
 * loop.c - what a for loop tells about itself
 */
#include <string.h>

#include "chat/render.h"

bool sy_loop_attribute(struct sy_render *r, struct sy_loop *loop, const char *name, bool *found, struct sy_value *out)
{
    size_t at = loop->at, n = loop->items->n;
    /* Depth counts recursion, not nesting. */
    struct {
        const char *name;
        struct sy_value value;
    } attributes[] = {
        {"index", sy_value_int((int64_t)at + 1)},
        {"index0", sy_value_int((int64_t)at)},
        {"revindex", sy_value_int((int64_t)(n - at))},
        {"revindex0", sy_value_int((int64_t)(n - at - 1))},
        {"first", sy_value_bool(at == 0)},
        {"last", sy_value_bool(at + 1 == n)},
        {"length", sy_value_int((int64_t)n)},
        {"depth", sy_value_int(1)},
        {"depth0", sy_value_int(0)},
        {"previtem", at ? loop->items->at[at - 1] : sy_value_undefined("there is no previous item")},
        {"nextitem", at + 1 < n ? loop->items->at[at + 1] : sy_value_undefined("there is no next item")},
    };

    *found = false;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && !*found; i++)
        if (!strcmp(attributes[i].name, name)) {
            *out = attributes[i].value;
            *found = true;
        }
    return sy_charge(r, 1);
}

static bool cycle(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)
{
    if (!args->n || args->n_named)
        return sy_fail(r, "loop.cycle needs values");
    *out = args->at[self.as.loop->at % args->n];
    return true;
}

static bool changed(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out)
{
    struct sy_loop *loop = self.as.loop;
    struct sy_list *list;
    struct sy_value now;
    bool same = false;

    if (!sy_list_new(r, SY_LIST_TUPLE, args->n, &list, &now))
        return false;
    for (size_t i = 0; i < args->n; i++)
        list->at[i] = args->at[i];
    if (loop->changed.kind && !sy_value_equal(r, loop->changed, now, &same))
        return false;
    loop->changed = now;
    *out = sy_value_bool(!same);
    return true;
}

const struct sy_builtin sy_loop_methods[] = {
    {"cycle", NULL, 0, cycle},
    {"changed", NULL, 0, changed},
    {.name = NULL},
};

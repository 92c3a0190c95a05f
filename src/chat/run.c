/* SPDX-License-Identifier: Apache-2.0
 * run.c - statements
 */
#include <string.h>

#include "chat/render.h"

/* How a list of statements was left. */
enum flow { FLOW_FAILED, FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static enum flow run(struct sy_render *r, const struct sy_node *first);

static enum flow flow_of(bool good)
{
    return good ? FLOW_ON : FLOW_FAILED;
}

struct sy_scope *sy_scope_new(struct sy_render *r, struct sy_scope *parent)
{
    struct sy_scope *scope = sy_take(r, sizeof *scope);

    if (scope)
        scope->parent = parent;
    return scope;
}

bool sy_scope_define(struct sy_render *r, struct sy_scope *scope, const char *name, struct sy_value value)
{
    struct sy_binding *binding = scope->first;

    while (binding && strcmp(binding->name, name)) {
        if (!sy_charge(r, 1))
            return false;
        binding = binding->next;
    }
    if (!binding) {
        binding = sy_take(r, sizeof *binding);
        if (!binding)
            return false;
        binding->name = name;
        binding->next = scope->first;
        scope->first = binding;
    }
    binding->value = value;
    return true;
}

/* namespace.member = value */
static bool assign_member(struct sy_render *r, const struct sy_node *target, struct sy_value value)
{
    struct sy_node name = {.kind = SY_NODE_NAME, .line = target->line, .column = target->column, .name = target->name};
    struct sy_value space, key;

    if (!sy_eval(r, &name, &space))
        return false;
    r->at = target;
    if (space.kind != SY_VALUE_NAMESPACE)
        return sy_fail(r, "cannot set a member of \"%.100s\", which is %s, expected a namespace", target->name,
                       sy_value_type(space));
    return sy_text_copy(r, target->member, strlen(target->member), &key) && sy_dict_put(r, space.as.dict, key, value);
}

static bool assign(struct sy_render *r, const struct sy_node *target, struct sy_value value)
{
    const struct sy_node *outer = r->at, *part;
    const struct sy_list *items;
    size_t n = 0;

    r->at = target;
    if (target->kind == SY_NODE_NAME) {
        r->at = outer;
        return sy_scope_define(r, r->scope, target->name, value);
    }
    if (target->kind == SY_NODE_MEMBER) {
        bool good = assign_member(r, target, value);
        r->at = good ? outer : r->at;
        return good;
    }
    if (!sy_value_items(r, value, &items))
        return false;
    for (part = target->list; part; part = part->next)
        n++;
    if (n != items->n)
        return sy_fail(r, "%zu values for %zu names", items->n, n);
    n = 0;
    for (part = target->list; part; part = part->next)
        if (!assign(r, part, items->at[n++]))
            return false;
    r->at = outer;
    return true;
}

bool sy_run_captured(struct sy_render *r, const struct sy_node *body, struct sy_scope *scope, struct sy_value *out)
{
    struct sy_buf buf = SY_BUF_INIT, *outer_out = r->out;
    struct sy_scope *outer = r->scope;

    r->out = &buf;
    r->scope = scope;
    bool good = run(r, body) != FLOW_FAILED;
    r->scope = outer;
    r->out = outer_out;
    return sy_built(r, good, &buf, out);
}

/* Filters of a block, the first of which has nothing before it. */
static bool apply_filters(struct sy_render *r, const struct sy_node *filters, struct sy_value text,
                          struct sy_value *out)
{
    struct sy_node copies[16], value = {.kind = SY_NODE_CONST, .value = text};
    int n = 0;

    for (const struct sy_node *filter = filters; filter; filter = filter->a) {
        if (n == 16)
            return sy_fail(r, "more than 16 filters on a block");
        copies[n] = *filter;
        if (n)
            copies[n - 1].a = &copies[n];
        n++;
    }
    *out = text;
    if (!n)
        return true;
    copies[n - 1].a = &value;
    return sy_eval(r, &copies[0], out);
}

static enum flow run_for(struct sy_render *r, const struct sy_node *node);

static enum flow run_if(struct sy_render *r, const struct sy_node *node)
{
    struct sy_value value;

    for (const struct sy_node *branch = node->list; branch; branch = branch->next) {
        if (branch->a && !sy_eval(r, branch->a, &value))
            return FLOW_FAILED;
        if (!branch->a || sy_value_truth(value))
            return run(r, branch->body);
    }
    return FLOW_ON;
}

/* Blocks whose text goes through filters: to a name, or to the output. */
static bool run_block(struct sy_render *r, const struct sy_node *node)
{
    struct sy_scope *scope = sy_scope_new(r, r->scope);
    struct sy_value text;

    if (!scope || !sy_run_captured(r, node->body, scope, &text) || !apply_filters(r, node->b, text, &text))
        return false;
    return node->kind == SY_NODE_SET_BLOCK ? assign(r, node->a, text) : sy_show_into(r, text, r->out);
}

static bool run_macro(struct sy_render *r, const struct sy_node *node)
{
    struct sy_macro *macro = sy_take(r, sizeof *macro);

    if (!macro)
        return false;
    *macro = (struct sy_macro){.node = node, .scope = r->scope};
    return sy_scope_define(r, r->scope, node->name, (struct sy_value){.kind = SY_VALUE_MACRO, .as.macro = macro});
}

/* Statements in a scope of their own; with's values are found outside of it. */
static enum flow run_scoped(struct sy_render *r, const struct sy_node *node)
{
    struct sy_scope *outer = r->scope, *scope = sy_scope_new(r, outer);
    struct sy_value value;

    if (!scope)
        return FLOW_FAILED;
    for (const struct sy_node *set = node->list; set; set = set->next) {
        if (!sy_eval(r, set->b, &value))
            return FLOW_FAILED;
        r->scope = scope;
        if (!assign(r, set->a, value))
            return FLOW_FAILED;
        r->scope = outer;
    }
    r->scope = scope;
    enum flow flow = run(r, node->body);
    r->scope = outer;
    return flow;
}

static enum flow run_one(struct sy_render *r, const struct sy_node *node)
{
    struct sy_value value;

    switch (node->kind) {
    case SY_NODE_DATA:
        return flow_of(sy_show_into(r, node->value, r->out));
    case SY_NODE_PRINT:
        return flow_of(sy_eval(r, node->a, &value) && sy_show_into(r, value, r->out));
    case SY_NODE_IF:
        return run_if(r, node);
    case SY_NODE_FOR:
        return run_for(r, node);
    case SY_NODE_SET:
        return flow_of(sy_eval(r, node->b, &value) && assign(r, node->a, value));
    case SY_NODE_SET_BLOCK:
    case SY_NODE_FILTER_BLOCK:
        return flow_of(run_block(r, node));
    case SY_NODE_MACRO:
        return flow_of(run_macro(r, node));
    case SY_NODE_WITH:
    case SY_NODE_GENERATION:
        return run_scoped(r, node);
    case SY_NODE_BREAK:
        return FLOW_BREAK;
    case SY_NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        return flow_of(sy_fail(r, "this cannot stand as a statement"));
    }
}

static enum flow run(struct sy_render *r, const struct sy_node *first)
{
    const struct sy_node *outer = r->at;
    enum flow flow = FLOW_ON;

    if (++r->depth > SY_RENDER_DEPTH_MAX)
        return flow_of(sy_fail(r, "calls and statements are nested deeper than %d levels", SY_RENDER_DEPTH_MAX));
    for (const struct sy_node *node = first; node && flow == FLOW_ON; node = node->next) {
        r->at = node;
        flow = sy_charge(r, 1) ? run_one(r, node) : FLOW_FAILED;
    }
    if (flow == FLOW_FAILED)
        return FLOW_FAILED;
    r->depth--;
    r->at = outer;
    return flow;
}

/* The elements for which the loop's filter holds. */
static bool keep(struct sy_render *r, const struct sy_node *node, const struct sy_list **items)
{
    struct sy_scope *outer = r->scope;
    struct sy_value unused, value;
    struct sy_list *kept;

    if (!sy_list_new(r, SY_LIST_LIST, (*items)->n, &kept, &unused))
        return false;
    kept->n = 0;
    for (size_t i = 0; i < (*items)->n; i++) {
        r->scope = sy_scope_new(r, outer);
        if (!r->scope || !assign(r, node->a, (*items)->at[i]) || !sy_eval(r, node->c, &value))
            return false;
        if (sy_value_truth(value))
            kept->at[kept->n++] = (*items)->at[i];
    }
    r->scope = outer;
    *items = kept;
    return true;
}

static enum flow run_for(struct sy_render *r, const struct sy_node *node)
{
    struct sy_scope *outer = r->scope;
    struct sy_loop *loop = sy_take(r, sizeof *loop);
    struct sy_value sequence;
    enum flow flow = FLOW_ON;

    if (!loop || !sy_eval(r, node->b, &sequence) || !sy_value_items(r, sequence, &loop->items) ||
        (node->c && !keep(r, node, &loop->items)))
        return FLOW_FAILED;
    for (; loop->at < loop->items->n && flow != FLOW_FAILED && flow != FLOW_BREAK; loop->at++) {
        r->scope = sy_scope_new(r, outer);
        if (!r->scope || !assign(r, node->a, loop->items->at[loop->at]) ||
            !sy_scope_define(r, r->scope, "loop", (struct sy_value){.kind = SY_VALUE_LOOP, .as.loop = loop}))
            return FLOW_FAILED;
        flow = run(r, node->body);
    }
    r->scope = outer;
    if (!loop->items->n && node->list) {
        r->scope = sy_scope_new(r, outer);
        flow = r->scope ? run(r, node->list) : FLOW_FAILED;
        r->scope = outer;
        return flow;
    }
    return flow == FLOW_FAILED ? FLOW_FAILED : FLOW_ON;
}

bool sy_run(struct sy_render *r, const struct sy_node *root)
{
    return run(r, root) != FLOW_FAILED;
}

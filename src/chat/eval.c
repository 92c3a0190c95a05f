/* SPDX-License-Identifier: Apache-2.0
 * eval.c - expressions and calls
 */
#include <string.h>

#include "chat/render.h"

static bool eval_list(struct sy_render *r, const struct sy_node *node, enum sy_list_form form, struct sy_value *out)
{
    struct sy_list *list;
    size_t n = 0, i = 0;

    for (const struct sy_node *element = node->list; element; element = element->next)
        n++;
    if (!sy_list_new(r, form, n, &list, out))
        return false;
    for (const struct sy_node *element = node->list; element; element = element->next)
        if (!sy_eval(r, element, &list->at[i++]))
            return false;
    return true;
}

static bool eval_dict(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value key, value;

    if (!sy_dict_new(r, SY_VALUE_DICT, 0, out))
        return false;
    for (const struct sy_node *element = node->list; element; element = element->next)
        if (!sy_eval(r, element->a, &key) || !sy_eval(r, element->b, &value) ||
            !sy_dict_put(r, out->as.dict, key, value))
            return false;
    return true;
}

static bool eval_name(struct sy_render *r, const char *name, struct sy_value *out)
{
    const struct sy_value *variable;
    const struct sy_builtin *function;
    struct sy_method *method;

    for (const struct sy_scope *scope = r->scope; scope; scope = scope->parent)
        for (const struct sy_binding *binding = scope->first; binding; binding = binding->next) {
            if (!strcmp(binding->name, name)) {
                *out = binding->value;
                return true;
            }
            if (!sy_charge(r, 1))
                return false;
        }
    variable = sy_dict_find(r->variables, name);
    if (variable) {
        *out = *variable;
        return sy_charge(r, r->variables->n);
    }
    function = sy_builtin_in(sy_functions, name, strlen(name));
    *out = sy_value_undefined(name);
    if (!function)
        return true;
    method = sy_take(r, sizeof *method);
    if (!method)
        return false;
    method->builtin = function;
    *out = (struct sy_value){.kind = SY_VALUE_METHOD, .as.method = method};
    return true;
}

static bool eval_args(struct sy_render *r, const struct sy_node *first, struct sy_args *args)
{
    size_t n = 0;

    for (const struct sy_node *node = first; node; node = node->next)
        n++;
    *args = (struct sy_args){0};
    if (!n)
        return true;
    args->at = sy_take(r, n * sizeof *args->at);
    args->named = sy_take(r, n * sizeof *args->named);
    if (!args->at || !args->named)
        return false;
    for (const struct sy_node *node = first; node; node = node->next) {
        struct sy_named *named = &args->named[args->n_named];
        bool is_named = node->kind == SY_NODE_KEYWORD;
        if (!sy_eval(r, is_named ? node->a : node, is_named ? &named->value : &args->at[args->n]))
            return false;
        named->name = is_named ? node->name : NULL;
        args->n_named += is_named;
        args->n += !is_named;
    }
    return true;
}

static bool bind_parameters(struct sy_render *r, const struct sy_macro *macro, const struct sy_args *args)
{
    size_t i = 0, n_used = 0;

    for (const struct sy_node *p = macro->node->list; p; p = p->next, i++) {
        struct sy_value value = sy_value_undefined(p->name);
        bool given = i < args->n;
        if (given)
            value = args->at[i];
        for (size_t k = 0; k < args->n_named; k++)
            if (!strcmp(args->named[k].name, p->name)) {
                if (given)
                    return sy_fail(r, "the macro %.100s gets \"%.100s\" twice", macro->node->name, p->name);
                value = args->named[k].value;
                given = true;
                n_used++;
            }
        if (!given && p->a && !sy_eval(r, p->a, &value))
            return false;
        if (!sy_scope_define(r, r->scope, p->name, value))
            return false;
    }
    if (args->n > i || n_used < args->n_named)
        return sy_fail(r, "the macro %.100s has no such parameter", macro->node->name);
    return true;
}

static bool call_macro(struct sy_render *r, const struct sy_macro *macro, const struct sy_args *args,
                       struct sy_value *out)
{
    struct sy_scope *outer = r->scope, *scope = sy_scope_new(r, macro->scope);

    if (!scope)
        return false;
    r->scope = scope;
    bool good = bind_parameters(r, macro, args) && sy_run_captured(r, macro->node->body, scope, out);
    r->scope = outer;
    return good;
}

bool sy_call(struct sy_render *r, struct sy_value what, const struct sy_args *args, struct sy_value *out)
{
    if (what.kind == SY_VALUE_MACRO)
        return call_macro(r, what.as.macro, args, out);
    if (what.kind == SY_VALUE_METHOD)
        return sy_builtin_call(r, what.as.method->builtin, what.as.method->self, args, out);
    if (what.kind == SY_VALUE_UNDEFINED)
        return sy_fail(r, "\"%.100s\" is undefined", what.as.name);
    return sy_fail(r, "%s cannot be called", sy_value_type(what));
}

static bool eval_call(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value what;
    struct sy_args args;

    return sy_eval(r, node->a, &what) && eval_args(r, node->list, &args) && sy_call(r, what, &args, out);
}

static bool eval_builtin(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value self;
    struct sy_args args;

    return sy_eval(r, node->a, &self) && eval_args(r, node->list, &args) &&
           sy_builtin_call(r, node->builtin, self, &args, out);
}

static bool eval_slice(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value value, parts[3];
    const struct sy_node *part = node->list;

    if (!sy_eval(r, node->a, &value))
        return false;
    for (int i = 0; i < 3; i++, part = part->next)
        if (!sy_eval(r, part, &parts[i]))
            return false;
    return sy_slice(r, value, parts, out);
}

static bool eval_compare(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value left, right;
    bool holds = true;

    if (!sy_eval(r, node->a, &left))
        return false;
    for (const struct sy_node *operand = node->list; operand && holds; operand = operand->next) {
        if (!sy_eval(r, operand->a, &right) || !sy_compare(r, operand->op, left, right, &holds))
            return false;
        left = right;
    }
    *out = sy_value_bool(holds);
    return true;
}

static bool eval_sign(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value value;

    if (!sy_eval(r, node->a, &value))
        return false;
    if (!sy_value_is_number(value))
        return sy_fail(r, "a sign before %s", sy_value_type(value));
    return sy_binary(r, node->kind == SY_NODE_NEGATE ? SY_TOKEN_SUB : SY_TOKEN_ADD,
                     value.kind == SY_VALUE_REAL ? sy_value_real(node->kind == SY_NODE_NEGATE ? -0.0 : 0)
                                                 : sy_value_int(0),
                     value, out);
}

static bool eval_two(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value a, b;

    if (!sy_eval(r, node->a, &a) || !sy_eval(r, node->b, &b))
        return false;
    return node->kind == SY_NODE_ITEM ? sy_item(r, a, b, out) : sy_binary(r, node->op, a, b, out);
}

/* What evaluates only a part of its operands. */
static bool eval_lazy(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value value;

    if (!sy_eval(r, node->a, &value))
        return false;
    bool truth = sy_value_truth(value);
    *out = value;
    if (node->kind == SY_NODE_NOT)
        *out = sy_value_bool(!truth);
    else if (node->kind == SY_NODE_AND)
        return !truth || sy_eval(r, node->b, out);
    else if (node->kind == SY_NODE_OR)
        return truth || sy_eval(r, node->b, out);
    else if (truth || node->c)
        return sy_eval(r, truth ? node->b : node->c, out);
    else
        *out = sy_value_undefined("the value of an if without else");
    return true;
}

static bool eval(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    struct sy_value value;

    switch (node->kind) {
    case SY_NODE_CONST:
        *out = node->value;
        return true;
    case SY_NODE_NAME:
        return eval_name(r, node->name, out);
    case SY_NODE_LIST:
        return eval_list(r, node, SY_LIST_LIST, out);
    case SY_NODE_TUPLE:
        return eval_list(r, node, SY_LIST_TUPLE, out);
    case SY_NODE_DICT:
        return eval_dict(r, node, out);
    case SY_NODE_ATTRIBUTE:
        return sy_eval(r, node->a, &value) && sy_attribute(r, value, node->name, out);
    case SY_NODE_SLICE:
        return eval_slice(r, node, out);
    case SY_NODE_CALL:
        return eval_call(r, node, out);
    case SY_NODE_FILTER:
    case SY_NODE_TEST:
        return eval_builtin(r, node, out);
    case SY_NODE_NEGATE:
    case SY_NODE_PLUS:
        return eval_sign(r, node, out);
    case SY_NODE_NOT:
    case SY_NODE_AND:
    case SY_NODE_OR:
    case SY_NODE_CHOICE:
        return eval_lazy(r, node, out);
    case SY_NODE_ITEM:
    case SY_NODE_BINARY:
        return eval_two(r, node, out);
    case SY_NODE_COMPARE:
        return eval_compare(r, node, out);
    default:
        return sy_fail(r, "this cannot stand in an expression");
    }
}

bool sy_eval(struct sy_render *r, const struct sy_node *node, struct sy_value *out)
{
    const struct sy_node *outer = r->at;

    r->at = node;
    if (!sy_charge(r, 1))
        return false;
    if (++r->depth > SY_RENDER_DEPTH_MAX)
        return sy_fail(r, "calls and expressions are nested deeper than %d levels", SY_RENDER_DEPTH_MAX);
    if (!eval(r, node, out))
        return false;
    r->depth--;
    r->at = outer;
    return true;
}

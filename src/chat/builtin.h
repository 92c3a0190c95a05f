/* SPDX-License-Identifier: Apache-2.0
 * builtin.h - filters, tests, functions and methods: tables of names, parameters and C functions
 */
#ifndef SY_CHAT_BUILTIN_H
#define SY_CHAT_BUILTIN_H

#include "chat/value.h"

struct sy_render;

struct sy_named {
    const char *name;
    struct sy_value value;
};

struct sy_args {
    size_t n, n_named;
    struct sy_value *at;
    struct sy_named *named;
};

struct sy_builtin {
    const char *name;
    /* Names of the parameters with spaces between them: arguments are put in their order, SY_VALUE_ABSENT where one was not
     * given, and args->n is their number. NULL: the function takes any arguments. */
    const char *parameters;
    size_t n_required;
    /* NULL: Jinja2 has it, we do not, or its sandbox forbids it. */
    bool (*call)(struct sy_render *r, struct sy_value self, const struct sy_args *args, struct sy_value *out);
};

#define SY_PARAMETERS_MAX 5

/* Tables that end with a NULL name. */
extern const struct sy_builtin sy_text_filters[], sy_list_filters[], sy_tests[], sy_functions[], sy_text_methods[],
    sy_dict_methods[], sy_list_methods[], sy_loop_methods[];

/* NULL when there is none of this name. */
const struct sy_builtin *sy_builtin_in(const struct sy_builtin *table, const char *name, size_t len);
const struct sy_builtin *sy_builtin_filter(const char *name, size_t len);
const struct sy_builtin *sy_builtin_test(const char *name, size_t len);

/* Put arguments in order and call. */
bool sy_builtin_call(struct sy_render *r, const struct sy_builtin *builtin, struct sy_value self,
                     const struct sy_args *args, struct sy_value *out);

/* Arguments by their number, once they are in order: what to take when one is absent. They fail for a value of another
 * kind. */
bool sy_arg_int(struct sy_render *r, const struct sy_args *args, size_t i, int64_t *value);
bool sy_arg_bool(const struct sy_args *args, size_t i, bool otherwise);
bool sy_arg_text(struct sy_render *r, const struct sy_args *args, size_t i, struct sy_value *value);

#endif

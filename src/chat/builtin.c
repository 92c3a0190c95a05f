/* SPDX-License-Identifier: Apache-2.0
 * builtin.c - finding builtins, and putting their arguments in order
 */
#include "chat/builtin.h"

#include <string.h>

#include "chat/render.h"

const struct sy_builtin *sy_builtin_in(const struct sy_builtin *table, const char *name, size_t len)
{
    for (; table->name; table++)
        if (strlen(table->name) == len && !memcmp(table->name, name, len))
            return table;
    return NULL;
}

const struct sy_builtin *sy_builtin_filter(const char *name, size_t len)
{
    const struct sy_builtin *found = sy_builtin_in(sy_text_filters, name, len);

    return found ? found : sy_builtin_in(sy_list_filters, name, len);
}

const struct sy_builtin *sy_builtin_test(const char *name, size_t len)
{
    return sy_builtin_in(sy_tests, name, len);
}

/* Number of the parameter with this name, or -1. */
static int parameter(const char *parameters, const char *name)
{
    size_t len = strlen(name);

    for (int i = 0; *parameters; i++) {
        size_t n = strcspn(parameters, " ");
        if (n == len && !memcmp(parameters, name, n))
            return i;
        parameters += n + (parameters[n] == ' ');
    }
    return -1;
}

static size_t count(const char *parameters)
{
    size_t n = *parameters != '\0';

    for (; *parameters; parameters++)
        n += *parameters == ' ';
    return n;
}

bool sy_builtin_call(struct sy_render *r, const struct sy_builtin *builtin, struct sy_value self,
                     const struct sy_args *args, struct sy_value *out)
{
    struct sy_value values[SY_PARAMETERS_MAX] = {{.kind = SY_VALUE_ABSENT}};
    struct sy_args ordered = {.at = values};

    if (!builtin->call)
        return sy_fail(r, "%s is not supported", builtin->name);
    if (!builtin->parameters)
        return builtin->call(r, self, args, out);
    ordered.n = count(builtin->parameters);
    if (args->n > ordered.n)
        return sy_fail(r, "%s takes at most %zu arguments, found %zu", builtin->name, ordered.n, args->n);
    for (size_t i = 0; i < args->n; i++)
        values[i] = args->at[i];
    for (size_t i = 0; i < args->n_named; i++) {
        int at = parameter(builtin->parameters, args->named[i].name);
        if (at < 0 || values[at].kind)
            return sy_fail(r, "%s has no argument \"%.60s\", or has it twice", builtin->name, args->named[i].name);
        values[at] = args->named[i].value;
    }
    for (size_t i = 0; i < builtin->n_required; i++)
        if (!values[i].kind)
            return sy_fail(r, "%s needs %zu argument%s (%s)", builtin->name, builtin->n_required,
                           builtin->n_required == 1 ? "" : "s", builtin->parameters);
    return builtin->call(r, self, &ordered, out);
}

bool sy_arg_int(struct sy_render *r, const struct sy_args *args, size_t i, int64_t *value)
{
    struct sy_value given = args->at[i];

    if (given.kind == SY_VALUE_ABSENT)
        return true;
    if (!sy_value_is_integral(given))
        return sy_fail(r, "argument %zu is %s, expected an integer", i + 1, sy_value_type(given));
    *value = sy_value_integer(given);
    return true;
}

bool sy_arg_bool(const struct sy_args *args, size_t i, bool otherwise)
{
    return args->at[i].kind == SY_VALUE_ABSENT ? otherwise : sy_value_truth(args->at[i]);
}

bool sy_arg_text(struct sy_render *r, const struct sy_args *args, size_t i, struct sy_value *value)
{
    *value = args->at[i];
    return sy_value_is(*value, SY_VALUE_TEXT) ||
           sy_fail(r, "argument %zu is %s, expected a string", i + 1, sy_value_type(*value));
}

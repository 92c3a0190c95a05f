/* SPDX-License-Identifier: Apache-2.0
 * value.h - what a template computes with: Python's values, as far as templates see them
 *
 * A value is 16 bytes and is copied freely; what it points to lives in the region of the tree or of the rendering, and
 * never changes, except for namespaces and for the position of an iterator.
 */
#ifndef SY_CHAT_VALUE_H
#define SY_CHAT_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sy_value_kind {
    SY_VALUE_ABSENT, /* an argument that was not given; no template sees it */
    SY_VALUE_UNDEFINED,
    SY_VALUE_NONE,
    SY_VALUE_BOOL,
    SY_VALUE_INT,
    SY_VALUE_REAL,
    SY_VALUE_TEXT,
    SY_VALUE_LIST,
    SY_VALUE_DICT,
    SY_VALUE_NAMESPACE,
    SY_VALUE_ITERATOR, /* Python's generators: can be gone through once, and have no length */
    SY_VALUE_LOOP,
    SY_VALUE_MACRO,
    SY_VALUE_METHOD, /* with the value that it belongs to; functions have none */
};

/* Valid UTF-8. */
struct sy_text {
    size_t len;
    const char *bytes;
    size_t n_chars; /* 0: not counted yet */
};

/* Lists, and what behaves like one: all can be gone through and have a length; views cannot be indexed. */
enum sy_list_form { SY_LIST_LIST, SY_LIST_TUPLE, SY_LIST_RANGE, SY_LIST_VIEW };

struct sy_list {
    enum sy_list_form form;
    size_t n;
    struct sy_value *at; /* [n] */
};

struct sy_dict {
    size_t n, cap;
    struct sy_pair *at; /* [n], in order of insertion */
};

struct sy_iterator {
    const struct sy_list *list;
    size_t next;
};

struct sy_value {
    enum sy_value_kind kind;
    bool is_safe; /* of a text: marked by |safe, so that text which is added to it is escaped */
    union {
        bool truth;
        int64_t integer;
        double real;
        struct sy_text *text;
        const char *name; /* of what is undefined */
        const struct sy_list *list;
        struct sy_dict *dict; /* of a namespace too */
        struct sy_iterator *iterator;
        struct sy_loop *loop;
        const struct sy_macro *macro;
        const struct sy_method *method;
    } as;
};

struct sy_pair {
    struct sy_value key, value;
};

static inline struct sy_value sy_value_none(void)
{
    return (struct sy_value){.kind = SY_VALUE_NONE};
}

static inline struct sy_value sy_value_undefined(const char *name)
{
    return (struct sy_value){.kind = SY_VALUE_UNDEFINED, .as.name = name};
}

static inline struct sy_value sy_value_bool(bool truth)
{
    return (struct sy_value){.kind = SY_VALUE_BOOL, .as.truth = truth};
}

static inline struct sy_value sy_value_int(int64_t integer)
{
    return (struct sy_value){.kind = SY_VALUE_INT, .as.integer = integer};
}

static inline struct sy_value sy_value_real(double real)
{
    return (struct sy_value){.kind = SY_VALUE_REAL, .as.real = real};
}

static inline bool sy_value_is(struct sy_value value, enum sy_value_kind kind)
{
    return value.kind == kind;
}

/* Booleans, integers and reals are numbers; the first two have an exact integer. */
static inline bool sy_value_is_integral(struct sy_value value)
{
    return value.kind == SY_VALUE_INT || value.kind == SY_VALUE_BOOL;
}

static inline bool sy_value_is_number(struct sy_value value)
{
    return sy_value_is_integral(value) || value.kind == SY_VALUE_REAL;
}

static inline int64_t sy_value_integer(struct sy_value value)
{
    return value.kind == SY_VALUE_BOOL ? value.as.truth : value.as.integer;
}

static inline double sy_value_number(struct sy_value value)
{
    return value.kind == SY_VALUE_REAL ? value.as.real : (double)sy_value_integer(value);
}

bool sy_value_truth(struct sy_value value);

/* Python's name of the type, for messages. */
const char *sy_value_type(struct sy_value value);

#endif

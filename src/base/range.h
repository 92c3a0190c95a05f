/* SPDX-License-Identifier: Apache-2.0
 * range.h - what this thread is doing, by name, for whoever draws a timeline
 *
 * A phase says SY_RANGE("router") at the head of its block and lasts to the block's end, however that is left; ranges of a
 * thread nest. Nobody listens unless the program named a listener when it started, and then a range costs one look at a
 * pointer. Names are literals: a listener may keep them.
 */
#ifndef SY_BASE_RANGE_H
#define SY_BASE_RANGE_H

#include <stddef.h>

struct sy_range_listener {
    void (*begin)(const char *name);
    void (*end)(void);
};

extern const struct sy_range_listener *sy_range_listener;

/* Name the listener, or none (NULL), before other threads begin. It lasts as long as the program. */
static inline void sy_range_listen(const struct sy_range_listener *listener)
{
    sy_range_listener = listener;
}

static inline const struct sy_range_listener *sy_range_begin(const char *name)
{
    const struct sy_range_listener *listener = sy_range_listener;

    if (listener)
        listener->begin(name);
    return listener;
}

static inline void sy_range_end(const struct sy_range_listener **listener)
{
    if (*listener)
        (*listener)->end();
}

/* unused: clang does not count a cleanup as a use */
#define SY_RANGE(name) \
    const struct sy_range_listener *sy_range_here __attribute__((cleanup(sy_range_end), unused)) = sy_range_begin(name)

#endif

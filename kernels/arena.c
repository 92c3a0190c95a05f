/* SPDX-License-Identifier: Apache-2.0
 * arena.c - blocks of a backend's memory
 */
#include "arena.h"

enum sy_status sy_no_memory(const struct sy_kernels *kernels, size_t bytes, const char *what, struct sy_error *err)
{
    char left[100];

    if (!kernels->say_free)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu bytes of %s", bytes, what);
    kernels->say_free(left, sizeof left);
    return sy_error_set(err, SY_ERR_SYSTEM, "no memory for %zu bytes of %s: %s", bytes, what, left);
}

enum sy_status sy_arenas_init(struct sy_arena arenas[SY_N_PLACES], const struct sy_kernels *kernels,
                              const size_t bytes[SY_N_PLACES], struct sy_error *err)
{
    for (int place = 0; place < SY_N_PLACES; place++)
        arenas[place] = (struct sy_arena){.bytes = bytes[place]};
    for (int place = 0; place < SY_N_PLACES; place++) {
        if (!bytes[place])
            continue;
        void *(*alloc)(size_t) = place == SY_PLACE_DEVICE ? kernels->alloc : kernels->alloc_host;
        arenas[place].base = alloc(bytes[place]);
        if (arenas[place].base)
            continue;
        sy_arenas_fini(arenas, kernels);
        return sy_no_memory(kernels, bytes[place],
                            place == SY_PLACE_HOST && kernels->on_device ? "buffers in pinned memory" : "buffers", err);
    }
    return SY_OK;
}

void sy_arenas_fini(struct sy_arena arenas[SY_N_PLACES], const struct sy_kernels *kernels)
{
    if (arenas[SY_PLACE_DEVICE].base)
        kernels->free(arenas[SY_PLACE_DEVICE].base, arenas[SY_PLACE_DEVICE].bytes);
    if (arenas[SY_PLACE_HOST].base)
        kernels->free_host(arenas[SY_PLACE_HOST].base, arenas[SY_PLACE_HOST].bytes);
    for (int place = 0; place < SY_N_PLACES; place++)
        arenas[place] = (struct sy_arena){0};
}

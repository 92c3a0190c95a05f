/* SPDX-License-Identifier: Apache-2.0
 * arena.h - arenas in a backend's memory
 */
#ifndef SY_KERNELS_ARENA_H
#define SY_KERNELS_ARENA_H

#include "base/arena.h"
#include "kernels.h"

/* Say that there is no memory of the kernels for so many bytes of something, on which device and what it has left. */
enum sy_status sy_no_memory(const struct sy_kernels *kernels, size_t bytes, const char *what, struct sy_error *err);

/* Whose memory a buffer wants: the kernels' alone, or memory that the host uses too. */
enum sy_place { SY_PLACE_DEVICE, SY_PLACE_HOST, SY_N_PLACES };

/* An arena of so many bytes for each place, zeroed. Errors: SY_ERR_SYSTEM, and then there is none. */
enum sy_status sy_arenas_init(struct sy_arena arenas[SY_N_PLACES], const struct sy_kernels *kernels,
                              const size_t bytes[SY_N_PLACES], struct sy_error *err);
void sy_arenas_fini(struct sy_arena arenas[SY_N_PLACES], const struct sy_kernels *kernels);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * lender.h - memory of a device that processes of one machine lend to one another
 *
 * Who lends gives the others a handle, a few bytes that mean the memory to any process; who borrows gets an address of its own
 * for it. A backend whose memory can be lent has a lender; transports use it without knowing the backend.
 */
#ifndef SY_BASE_LENDER_H
#define SY_BASE_LENDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SY_HANDLE_BYTES 64

struct sy_handle {
    uint8_t bytes[SY_HANDLE_BYTES];
    int64_t device; /* the memory's: the same number in all processes; -1: not told, or it ends kernels that wait */
};

struct sy_lender {
    /* New zeroed memory and its handle. Everybody gives back before it is freed. Errors: SY_ERR_SYSTEM. */
    enum sy_status (*lend)(size_t bytes, void **memory, struct sy_handle *handle, struct sy_error *err);
    void (*free)(void *memory, size_t bytes);
    /* Another process's memory. Errors: SY_ERR_SYSTEM, when this one's device cannot reach it. */
    enum sy_status (*borrow)(const struct sy_handle *handle, void **memory, struct sy_error *err);
    void (*give_back)(void *memory);
};

#endif

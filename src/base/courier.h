/* SPDX-License-Identifier: Apache-2.0
 * courier.h - a library that moves memory between the devices of several processes, when both sides ask for it (NCCL)
 *
 * One whose exchange() is NULL moves nothing. It is a porter: rows that somebody else, as MPI, has brought to its own device it
 * brings to their places there; name() and settle() are NULL too.
 *
 * A link joins all ranks of a job. Everything that is asked of it runs in the order in which it was asked, beside the queues of
 * kernels; nobody waits inside, SY_AGAIN meaning "not yet". A backend whose maker has such a library has a courier; transports
 * use it without knowing the backend. Thread: the rank's main thread.
 */
#ifndef SY_BASE_COURIER_H
#define SY_BASE_COURIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SY_COURIER_NAME_BYTES 128
#define SY_COURIER_MARKS      8

/* What all ranks of a link must know of it. */
struct sy_courier_name {
    uint8_t bytes[SY_COURIER_NAME_BYTES];
};

/* Whose memory it is: what MPI must know of to take it. */
enum sy_memory { SY_MEMORY_HOST, SY_MEMORY_CUDA };

/* Memory that goes to a rank, or comes from it. */
struct sy_parcel {
    int peer;
    bool incoming;
    void *memory;
    size_t bytes;
};

struct sy_courier_link;

struct sy_courier {
    /* A number of this process's device that no other of the machine has. */
    int64_t (*device)(void);
    /* Errors: SY_ERR_USAGE where the library is not installed. */
    enum sy_status (*name)(struct sy_courier_name *name, struct sy_error *err);
    /* Begin to open; collective, but for a porter, which has no name. Once settle() returns SY_OK it is open. Errors:
     * SY_ERR_USAGE, SY_ERR_SYSTEM. */
    enum sy_status (*open)(const struct sy_courier_name *name, int rank, int size, struct sy_courier_link **link,
                           struct sy_error *err);
    /* Move parcels. What goes to a rank must be asked for by it, with the same bytes in the same order; all ranks that exchange
     * anything call this in one order of exchanges. Nothing else may be asked before settle() returns SY_OK. */
    enum sy_status (*exchange)(struct sy_courier_link *link, const struct sy_parcel *parcels, int n,
                               struct sy_error *err);
    /* Whether what was asked last has been taken, though it need not be done. Errors: SY_ERR_PEER when the link is broken. */
    enum sy_status (*settle)(struct sy_courier_link *link, struct sy_error *err);
    /* Then copy n rows from where they lie together to rows `rows` of to. All memory is the device's, or alloc_host()'s. */
    enum sy_status (*lay)(struct sy_courier_link *link, void *to, const uint32_t *rows, const void *from, int n,
                          size_t row_bytes, struct sy_error *err);
    /* Then reach a mark, one of SY_COURIER_MARKS; and whether it is reached. */
    enum sy_status (*mark)(struct sy_courier_link *link, int which, struct sy_error *err);
    enum sy_status (*reached)(struct sy_courier_link *link, int which, struct sy_error *err);
    /* End it, with whatever still runs; link may be NULL. */
    void (*close)(struct sy_courier_link *link);
    /* Zeroed; NULL when there is not enough. */
    void *(*alloc)(size_t bytes);
    void (*free)(void *memory, size_t bytes);
    void *(*alloc_host)(size_t bytes);
    void (*free_host)(void *memory, size_t bytes);
    enum sy_memory memory; /* what alloc() gives */
};

#endif

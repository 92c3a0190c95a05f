/* SPDX-License-Identifier: Apache-2.0
 * stream.h - copies of so much that no cache will keep it
 *
 * A plain copy reads each line of its destination before it writes it, and pushes out of the caches what is in use. A streaming
 * one does neither, but who reads the destination next has to fetch it from memory: it pays only well above the caches' size.
 */
#ifndef SY_BASE_STREAM_H
#define SY_BASE_STREAM_H

#include <stddef.h>

/* As memcpy(), past the caches where the processor can and both are aligned to 16 bytes. The bytes are there for other threads
 * and processes only after sy_stream_fence(), whatever is released in between. */
void sy_stream_copy(void *dst, const void *src, size_t bytes);
void sy_stream_fence(void);

#endif

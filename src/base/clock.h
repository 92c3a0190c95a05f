/* SPDX-License-Identifier: Apache-2.0
 * clock.h - monotonic time, and waiting with a deadline
 */
#ifndef SY_BASE_CLOCK_H
#define SY_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds of CLOCK_MONOTONIC. */
int64_t sy_clock_ns(void);

/* One wait for something that other processes bring about. Between polls sy_wait_pause() first yields the core and,
 * after two milliseconds without success, sleeps for longer and longer (at most 4 ms), so that more ranks than cores
 * and idle ranks cost nothing. */
struct sy_wait {
    int64_t begin_ns, deadline_ns, last_ns;
    uint64_t n_pauses;
};

/* timeout_ms <= 0 waits for ever. */
void sy_wait_begin(struct sy_wait *wait, int64_t timeout_ms);

/* Give the core away for a moment. Returns false once the deadline has passed; time in which this process was stopped
 * does not count. */
bool sy_wait_pause(struct sy_wait *wait);

/* Something happened: start counting again from now. */
void sy_wait_reset(struct sy_wait *wait);

#endif

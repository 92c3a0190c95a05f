/* SPDX-License-Identifier: Apache-2.0
 * clock.c - monotonic time and polite waiting
 */
#include "base/clock.h"

#include <sched.h>
#include <time.h>

#define YIELD_NS 2000000       /* yield this long before sleeping */
#define SLEEP_MIN_NS 20000     /* first sleep */
#define SLEEP_MAX_NS 4000000   /* longest sleep: waking up takes 20 us in a virtual machine, 0.5 % of this */
#define SLEEP_SHARE 16         /* sleep for 1/16 of the time waited so far */
#define STALL_SHARE 4          /* one pause counts for at most 1/4 of the deadline, */
#define STALL_MAX_NS 1000000000 /* and for at most a second */

int64_t sy_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void sy_wait_begin(struct sy_wait *wait, int64_t timeout_ms)
{
    wait->begin_ns = wait->last_ns = sy_clock_ns();
    wait->deadline_ns = timeout_ms > 0 ? timeout_ms * 1000000 : 0;
    wait->n_pauses = 0;
}

void sy_wait_reset(struct sy_wait *wait)
{
    wait->begin_ns = wait->last_ns = sy_clock_ns();
    wait->n_pauses = 0;
}

/* A process that was stopped and goes on must not blame the others for the time that it missed itself: what they sent is
 * there by now, or will be. */
static void leave_out_stall(struct sy_wait *wait, int64_t now_ns)
{
    int64_t most_ns = wait->deadline_ns / STALL_SHARE < STALL_MAX_NS ? wait->deadline_ns / STALL_SHARE : STALL_MAX_NS;

    if (wait->deadline_ns && now_ns - wait->last_ns > most_ns)
        wait->begin_ns += now_ns - wait->last_ns - most_ns;
    wait->last_ns = now_ns;
}

bool sy_wait_pause(struct sy_wait *wait)
{
    int64_t now_ns = sy_clock_ns();

    leave_out_stall(wait, now_ns);
    int64_t waited = now_ns - wait->begin_ns;
    wait->n_pauses++;
    if (wait->deadline_ns && waited > wait->deadline_ns)
        return false;
    if (waited < YIELD_NS) {
        sched_yield();
        return true;
    }
    int64_t ns = waited / SLEEP_SHARE;
    if (ns < SLEEP_MIN_NS)
        ns = SLEEP_MIN_NS;
    if (ns > SLEEP_MAX_NS)
        ns = SLEEP_MAX_NS;
    nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
    return true;
}

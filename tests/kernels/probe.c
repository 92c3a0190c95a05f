/* SPDX-License-Identifier: Apache-2.0
 * probe.c - a probe does what it says it does: all the rounds, on all the threads, and nothing to the buffer
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kernels.h"
#include "tap.h"

#define BYTES ((size_t)(1 << 21) + 3 * 256)

static struct sy_pool *pools[2];
static struct sy_queue *queues[2];

static double seconds_of(const struct sy_kernels *backend, enum sy_probe what, const void *buffer, int rounds)
{
    double best = 1e9;

    for (int i = 0; i < 5; i++) {
        int64_t begin_ns = sy_clock_ns();
        backend->probe(queues[0], what, buffer, BYTES, rounds);
        double seconds = (double)(sy_clock_ns() - begin_ns) * 1e-9;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void check(const struct sy_kernels *backend, uint8_t *buffer)
{
    static const char *const names[SY_N_PROBES] = {"read", "FP32", "BF16", "INT8"};

    for (int what = SY_PROBE_READ; what < SY_N_PROBES; what++) {
        enum sy_probe probe = (enum sy_probe)what;
        double one = backend->probe(queues[0], probe, buffer, BYTES, 1);
        double three = backend->probe(queues[0], probe, buffer, BYTES, 3);
        double wide = backend->probe(queues[1], probe, buffer, BYTES, 1);
        is_close(three, 3 * one, 0, 0, "%s: three rounds of %s are three times one", backend->name, names[what]);
        if (what == SY_PROBE_READ)
            is_close(wide, (double)BYTES, 0, 0, "%s: threads share a buffer", backend->name);
        else
            is_close(wide, 3 * one, 0, 0, "%s: three threads do three times as much %s", backend->name, names[what]);
        /* A loop that the compiler saw through would be over at once. */
        double few = seconds_of(backend, probe, buffer, 2), many = seconds_of(backend, probe, buffer, 40);
        ok(many > 4 * few, "%s: %s: 40 rounds take longer than 2 (%.1f us, %.1f us)", backend->name, names[what],
           many * 1e6, few * 1e6);
    }
    bool untouched = true;
    for (size_t i = 0; i < BYTES; i++)
        untouched = untouched && buffer[i] == (uint8_t)(i * 7);
    ok(untouched, "%s: the buffer is only read", backend->name);
}

int main(void)
{
    struct sy_error err = SY_ERROR_INIT;

    for (int isa = 0; isa < SY_N_ISAS; isa++) {
        const struct sy_kernels *backend = sy_kernels_cpu((enum sy_isa)isa);
        if (!backend) {
            skip("%s: not on this machine", sy_isa_name((enum sy_isa)isa));
            continue;
        }
        uint8_t *buffer = backend->alloc(BYTES);
        for (size_t i = 0; i < BYTES; i++)
            buffer[i] = (uint8_t)(i * 7);
        for (int i = 0; i < 2; i++)
            if (sy_pool_create(i ? 3 : 1, NULL, 0, &pools[i], &err) ||
                backend->queue_create(pools[i], &queues[i], &err))
                bail("%s", err.text);
        check(backend, buffer);
        for (int i = 0; i < 2; i++) {
            backend->queue_destroy(queues[i]);
            sy_pool_destroy(pools[i]);
        }
        backend->free(buffer, BYTES);
    }
    done();
    return tap_exit();
}

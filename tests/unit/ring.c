/* SPDX-License-Identifier: Apache-2.0
 * ring.c - tests of the rings in shared memory: a producer and a consumer thread, and words that cannot be
 *
 * ThreadSanitizer sees both sides here, which it cannot between processes.
 */
#include "comm/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "tap.h"

#define N_CHUNKS    20000
#define CHUNK_BYTES 200

struct memory {
    struct sy_ring_word tail, head;
    uint8_t *slots;
};

static struct memory memory_make(const struct sy_ring_shape *shape)
{
    struct memory m = {.slots = aligned_alloc(SY_ARENA_ALIGN, sy_ring_bytes(shape))};

    if (!m.slots)
        bail("no memory");
    memset(m.slots, 0xa5, sy_ring_bytes(shape));
    return m;
}

static size_t chunk_bytes(uint64_t chunk)
{
    return (size_t)(chunk * 2654435761u % (CHUNK_BYTES + 1));
}

struct side {
    const struct sy_ring_shape *shape;
    struct memory *memory;
    uint64_t seed;
    bool right;
};

static void *produce(void *arg)
{
    struct side *side = arg;
    struct sy_ring_out ring = {.tail = &side->memory->tail, .head = &side->memory->head, .slots = side->memory->slots};
    struct sy_error err = SY_ERROR_INIT;
    uint8_t bytes[CHUNK_BYTES];

    for (uint64_t chunk = 0; chunk < N_CHUNKS && side->right;) {
        size_t n = chunk_bytes(chunk), cut = n / 3;
        memset(bytes, (int)(chunk * 7), n);
        struct iovec iov[3] = {{bytes, cut}, {NULL, 0}, {bytes + cut, n - cut}};
        enum sy_status st = sy_ring_put(side->shape, &ring, iov, 3, &err);
        chunk += st == SY_OK;
        side->right = (st == SY_OK || st == SY_AGAIN) && ring.put - ring.credit <= (uint64_t)side->shape->n_slots;
        if (st == SY_AGAIN)
            sched_yield();
    }
    return NULL;
}

static bool chunk_right(uint64_t chunk, const uint8_t *data, size_t n)
{
    bool right = n == chunk_bytes(chunk);

    for (size_t i = 0; i < n && right; i++)
        right = data[i] == (uint8_t)(chunk * 7);
    return right;
}

static void *consume(void *arg)
{
    struct side *side = arg;
    struct sy_ring_in ring = {.tail = &side->memory->tail, .head = &side->memory->head, .slots = side->memory->slots};
    struct sy_error err = SY_ERROR_INIT;
    int held = 0;
    uint64_t state = side->seed;

    for (uint64_t chunk = 0; chunk < N_CHUNKS && side->right;) {
        const void *data;
        size_t n;
        enum sy_status st = sy_ring_poll(side->shape, &ring, &data, &n, &err);
        if (st == SY_OK) {
            side->right = chunk_right(chunk++, data, n);
            held++;
        } else {
            side->right = st == SY_AGAIN;
            sched_yield();
        }
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (held == side->shape->n_slots || (held && state >> 62 == 0)) {
            side->right = side->right && sy_ring_release(side->shape, &ring, held, &err) == SY_OK;
            held = 0;
        }
    }
    return NULL;
}

static void test_threads(int n_slots, uint64_t seed)
{
    struct sy_ring_shape shape = {.epoch = 3, .chunk_bytes = CHUNK_BYTES, .n_slots = n_slots};
    struct memory memory = memory_make(&shape);
    struct side sides[2] = {{&shape, &memory, seed, true}, {&shape, &memory, seed, true}};
    pthread_t threads[2];

    if (pthread_create(&threads[0], NULL, produce, &sides[0]) || pthread_create(&threads[1], NULL, consume, &sides[1]))
        bail("no thread");
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    ok(sides[0].right && sides[1].right, "%d chunks from one thread to another through %d slots", N_CHUNKS, n_slots);
    free(memory.slots);
}

/* What the other side could not have written is refused with a sentence. */
static void test_corrupt(void)
{
    struct sy_ring_shape shape = {.epoch = 3, .chunk_bytes = CHUNK_BYTES, .n_slots = 2};
    struct memory memory = memory_make(&shape);
    struct sy_ring_out out = {.tail = &memory.tail, .head = &memory.head, .slots = memory.slots};
    struct sy_ring_in in = {.tail = &memory.tail, .head = &memory.head, .slots = memory.slots};
    struct sy_error err = SY_ERROR_INIT;
    uint64_t words[4] = {1, 2, 3, 4};
    struct iovec iov = {words, sizeof words};
    const uint64_t epoch = (uint64_t)3 << 48;
    const void *data;
    size_t n;

    ok(sy_ring_poll(&shape, &in, &data, &n, &err) == SY_AGAIN, "an untouched ring is empty");
    atomic_store(&memory.tail.value, ((uint64_t)4 << 48) + 1);
    ok(sy_ring_poll(&shape, &in, &data, &n, &err) == SY_ERR_INTERNAL, "a word of another epoch: %s", err.text);
    atomic_store(&memory.tail.value, epoch + 3);
    ok(sy_ring_poll(&shape, &in, &data, &n, &err) == SY_ERR_INTERNAL, "more chunks than slots: %s", err.text);
    atomic_store(&memory.tail.value, epoch + 1);
    ok(sy_ring_poll(&shape, &in, &data, &n, &err) == SY_ERR_INTERNAL, "a slot that was not written: %s", err.text);
    atomic_store(&memory.tail.value, 0);
    ok(sy_ring_put(&shape, &out, &iov, 1, &err) == SY_OK, "a chunk is put");
    in.arrived = 0;
    ok(sy_ring_poll(&shape, &in, &data, &n, &err) == SY_OK && n == sizeof words && !memcmp(data, words, n),
       "and arrives whole");
    ok(sy_ring_release(&shape, &in, 2, &err) == SY_ERR_INTERNAL, "more released than held: %s", err.text);
    atomic_store(&memory.head.value, epoch + 2);
    ok(sy_ring_look(&shape, &out, &err) == SY_ERR_INTERNAL, "more released than put: %s", err.text);
    atomic_store(&memory.head.value, epoch + 1);
    ok(sy_ring_look(&shape, &out, &err) == SY_OK && out.credit == 1, "what is released gives credit");
    atomic_store(&memory.head.value, epoch);
    ok(sy_ring_look(&shape, &out, &err) == SY_ERR_INTERNAL, "a word never goes back: %s", err.text);
    iov.iov_base = memory.slots;
    iov.iov_len = CHUNK_BYTES + 1;
    ok(sy_ring_put(&shape, &out, &iov, 1, &err) == SY_ERR_INTERNAL, "too large a chunk: %s", err.text);
    free(memory.slots);
}

int main(void)
{
    uint64_t seed = (uint64_t)time(NULL);

    diag("seed %llu", (unsigned long long)seed);
    for (int n_slots = 1; n_slots <= 8; n_slots = n_slots < 3 ? n_slots + 1 : n_slots + 5)
        test_threads(n_slots, seed);
    test_corrupt();
    done();
    return 0;
}

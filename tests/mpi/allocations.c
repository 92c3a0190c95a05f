/* SPDX-License-Identifier: Apache-2.0
 * allocations.c - a step allocates, maps and frees nothing
 *
 * The program has functions of its own in place of the C library's, which count the calls from its own code (the engine is
 * linked into it) and those from libraries, by where they return to. Requests are under way on every rank: some still
 * read their prompts in chunks, the others generate. What MPI and UCX do inside their calls is shown, not judged.
 */
#include "config.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"
#include "tap.h"
#include "tap_mpi.h"

#define N_WARM_STEPS 6 /* libraries fill their pools in the first messages */
#define N_STEPS      24
#define N_REQUESTS   3 /* of each rank */

#if defined(__has_feature)
#define HAS_SANITIZER (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#else
#define HAS_SANITIZER 0
#endif

#ifdef HAVE_UCX
static const char *const transports[] = {"auto", "mpi", "ucx"};
#else
static const char *const transports[] = {"auto", "mpi"};
#endif
#define N_TRANSPORTS ((int)(sizeof transports / sizeof *transports))

static atomic_bool counting;
static atomic_int n_own, n_libraries;
static const void *_Atomic last_own; /* where the last own call returns to */

extern const char __executable_start, etext;

#if !HAS_SANITIZER /* which has an allocator of its own */

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t n, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);
void __libc_free(void *p);

static void count(const void *from)
{
    if (!counting)
        return;
    if ((const char *)from < &__executable_start || (const char *)from >= &etext) {
        n_libraries++;
        return;
    }
    n_own++;
    last_own = from;
}

#define COUNT() count(__builtin_return_address(0))

void *malloc(size_t bytes)
{
    COUNT();
    return __libc_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    COUNT();
    return __libc_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    COUNT();
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    COUNT();
    return __libc_memalign(align, bytes);
}

int posix_memalign(void **p, size_t align, size_t bytes)
{
    COUNT();
    *p = __libc_memalign(align, bytes);
    return *p ? 0 : ENOMEM;
}

void free(void *p)
{
    if (p)
        COUNT();
    __libc_free(p);
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    COUNT();
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

#endif

static bool counts_a_planted_one(void)
{
    void *volatile planted;

    n_own = 0;
    counting = true;
    planted = malloc(1);
    counting = false;
    free(planted);
    return n_own == 1;
}

static enum sy_status submit_all(struct sy_session *session, int n, int vocab, struct sy_error *err)
{
    int32_t prompt[160];
    enum sy_status st = SY_OK;

    for (int i = 0; i < (int)(sizeof prompt / sizeof *prompt); i++)
        prompt[i] = (i * 7919 + 13) % vocab;
    /* Every third prompt takes 20 steps; the others are short. */
    for (int i = 0; i < n && !st; i++)
        st = sy_session_submit(session,
                               &(struct sy_request){.id = (uint64_t)i,
                                                    .prompt = prompt,
                                                    .n_prompt = i % 3 ? 5 + i % 7 : 160,
                                                    .max_tokens = 60,
                                                    .temperature = i % 2 ? 0.8f : 0,
                                                    .top_p = 0.9f,
                                                    .seed = 3,
                                                    .n_logprobs = i % 2 ? 5 : -1,
                                                    .ignore_eos = true},
                               err);
    return st;
}

static void on_token(void *ctx, const struct sy_token_event *event)
{
    *(int *)ctx += event->token >= 0;
}

static enum sy_status steps(struct sy_session *session, int n, struct sy_error *err)
{
    bool ended = false;
    enum sy_status st = SY_OK;

    for (int i = 0; i < n && !st && !ended; i++)
        st = sy_session_step(session, 0, &ended, err);
    return st;
}

static void test_transport(struct sy_group *group, struct fixture *fixture, const char *transport)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_session_config config;
    struct sy_session *session;
    int n_ranks = sy_group_size(group), n_tokens = 0;

    sy_session_config_init(&config);
    config.kernels = fixture_kernels();
    config.n_threads = 2;
    config.chunk_rows = 4;
    config.n_slots = 2;
    config.prefill_chunk = 8;
    config.kv_bytes_max = 64u << 20;
    config.transport = sy_transport_choice_of(transport);
    config.on_token = on_token;
    config.ctx = &n_tokens;
    enum sy_status st = sy_session_create(group, fixture->ckpt, fixture->model, &config, &session, &err);
    if (st)
        bail("%s: %s", transport, err.text);
    if (sy_group_rank(group) == 0)
        st = submit_all(session, N_REQUESTS * n_ranks, fixture->model->vocab, &err);
    if (!st)
        st = steps(session, N_WARM_STEPS, &err);
    int n_before = n_tokens;
    n_own = n_libraries = 0;
    counting = true;
    if (!st)
        st = steps(session, N_STEPS, &err);
    counting = false;
    if (n_own)
        diag("%s: %d own calls; the last returns to %#zx of the program (addr2line tells where)", transport, (int)n_own,
             (size_t)((const char *)last_own - &__executable_start));
    diag("%s: %d calls from libraries in %d steps", transport, (int)n_libraries, N_STEPS);
    ok_all(!st && !n_own, "%s, %d ranks: %d steps allocate, map and free nothing%s%s", transport, n_ranks, N_STEPS,
           st ? ": " : "", st ? err.text : "");
    ok_all(sy_group_rank(group) || n_tokens - n_before >= N_STEPS * n_ranks * (N_REQUESTS - 1),
           "%s, %d ranks: requests were under way on every rank", transport, n_ranks);
    if (!st)
        st = fixture_run(session, &err);
    if (!st)
        st = fixture_end(session, &err);
    ok_all(!st, "%s, %d ranks: the requests end", transport, n_ranks);
    sy_session_destroy(session);
}

int main(int argc, char **argv)
{
    struct sy_group *group = tap_mpi_begin(&argc, &argv, 60000);
    struct fixture fixture;

    if (!counts_a_planted_one()) {
        int rank = sy_group_rank(group);
        sy_group_fini(group);
        if (rank)
            return 0;
        skip_all("another allocator is in the way");
    }
    plan(1 + 3 * N_TRANSPORTS);
    ok_all(counts_a_planted_one(), "a planted allocation is counted");
    if (!fixture_open(&fixture, "tests/data/demo"))
        bail("the demo does not open");
    for (int i = 0; i < N_TRANSPORTS; i++)
        test_transport(group, &fixture, transports[i]);
    fixture_close(&fixture);
    return tap_mpi_end(group);
}

/* SPDX-License-Identifier: Apache-2.0
 * tokenizer_hostile.c - texts that have no place to cut, and texts in which every word is new
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model/tokenizer.h"
#include "tap.h"
#include "testrand.h"

enum { SHORT = 1 << 16, LONG = 1 << 20 };

/* 16 times the length may take this many times as long (the square would be 256), and what the system takes for memory.
 * AddressSanitizer takes two seconds more: it looks whether large zeroed blocks are zero. The square would take minutes. */
#define TIMES 128
#ifdef __SANITIZE_ADDRESS__
#define SECONDS 5
#else
#define SECONDS 0.5
#endif

static struct sy_error err = SY_ERROR_INIT;
static struct sy_buf out = SY_BUF_INIT;

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void encode(const struct sy_tokenizer *tok, const char *text, size_t len)
{
    out.len = 0;
    if (sy_tokenizer_encode(tok, text, len, false, &out, &err))
        bail("%s", err.text);
}

static double seconds_of(const struct sy_tokenizer *tok, const char *text, size_t len)
{
    double begin = cpu_seconds();

    encode(tok, text, len);
    return cpu_seconds() - begin;
}

/* One word; were the time quadratic, the long one would take minutes. */
static void check_one_word(const char *name, const struct sy_tokenizer *tok, const char *kind, const char *letters,
                           struct testrand *rand)
{
    char *text = malloc(LONG);

    if (!text)
        bail("no memory");
    for (size_t i = 0; i < LONG; i++)
        text[i] = letters[testrand_next(rand) % strlen(letters)];
    double few = seconds_of(tok, text, SHORT), many = seconds_of(tok, text, LONG);
    ok(many < TIMES * few + SECONDS, "%s: a word of 1 MiB of %s takes time in proportion", name, kind);
    diag("%.1f ms for 64 KiB, %.1f ms for 1 MiB", few * 1e3, many * 1e3);
    free(text);
}

static size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;

    if (!file || fscanf(file, "%*u %zu", &pages) != 1)
        bail("no /proc/self/statm");
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Memory is what the first MiB needed, however many words come. */
static void check_new_words(const char *name, const struct sy_tokenizer *tok, struct testrand *rand)
{
    enum { CALLS = 192, FIRST = 32, PART = 1 << 15 };
    char *text = malloc(PART);
    size_t first = 0;

    if (!text)
        bail("no memory");
    for (int call = 0; call < CALLS; call++) {
        for (size_t i = 0; i < PART; i++)
            text[i] = (char)(testrand_next(rand) % 8 ? 'a' + testrand_next(rand) % 26 : ' ');
        encode(tok, text, PART);
        if (call == FIRST)
            first = resident_bytes();
    }
    size_t last = resident_bytes();
    ok(last < first + (4u << 20), "%s: memory does not grow with the number of different words", name);
    diag("%zu KiB after 1 MiB of text, %zu KiB after 6 MiB", first >> 10, last >> 10);
    free(text);
}

int main(void)
{
    static const char *const NAMES[] = {"demo", "tokenizers/deepseek_style", "tokenizers/mixtral_style"};
    static const struct {
        const char *kind, *letters;
    } WORDS[] = {
        {"one letter", "a"}, {"letters", "etaoinshrdlu"}, {"spaces", " "}, {"digits", "0123456789"}, {"signs", "-=*#"}};
    struct testrand rand = testrand_begin();
    const char *top = getenv("SY_SRCDIR");

    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) {
        struct sy_tokenizer *tok = NULL;
        char dir[4096];
        snprintf(dir, sizeof dir, "%s/tests/data/%s", top ? top : ".", NAMES[i]);
        if (sy_tokenizer_open(dir, &tok, &err) || !tok)
            bail("%s: %s", dir, err.text);
        for (size_t k = 0; k < sizeof WORDS / sizeof *WORDS; k++)
            check_one_word(NAMES[i], tok, WORDS[k].kind, WORDS[k].letters, &rand);
        check_new_words(NAMES[i], tok, &rand);
        sy_tokenizer_close(tok);
    }
    sy_buf_fini(&out);
    done();
    return tap_exit();
}

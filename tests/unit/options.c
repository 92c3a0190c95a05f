/* SPDX-License-Identifier: Apache-2.0
 * options.c - values, precedence, config files, help, and what is printed is read back
 */
#include "base/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/settings.h"
#include "tap.h"

struct values {
    bool flag, help;
    int64_t count, free_count;
    double real;
    uint64_t bytes;
    const char *text, *choice, *config;
    int64_t other;
};

#define AT(field) offsetof(struct values, field)

static const struct sy_option table[] = {
    {"flag", 'f', SY_OPTION_BOOL, "false", NULL, NULL, 0, 0, 3, AT(flag), "One", "A flag."},
    {"count", 'c', SY_OPTION_INT, "5", "N", NULL, 1, 10, 3, AT(count), "One", "A count."},
    {"free-count", 0, SY_OPTION_INT, NULL, "N", NULL, 0, 0, 3, AT(free_count), "One", "Any count."},
    {"real", 0, SY_OPTION_REAL, "0.5", "X", NULL, 0, 2, 3, AT(real), "Two", "A real number."},
    {"bytes", 0, SY_OPTION_BYTES, "0", "BYTES", NULL, 0, 0, 3, AT(bytes), "Two", "A size."},
    {"text", 't', SY_OPTION_STRING, NULL, "TEXT", NULL, 0, 0, 3, AT(text), "Two", "A text."},
    {"choice", 0, SY_OPTION_CHOICE, "red", NULL, "red|green", 0, 0, 3, AT(choice), "Two", "A choice."},
    {"config", 0, SY_OPTION_STRING, NULL, "FILE", NULL, 0, 0, 3, AT(config), "Two", "A file."},
    {"other", 0, SY_OPTION_INT, "1", "N", NULL, 0, 0, 2, AT(other), "Two", "Of the other command."},
    {"help", 'h', SY_OPTION_BOOL, NULL, NULL, NULL, 0, 0, 3, AT(help), "Two", "Help."},
    {.name = NULL},
};

static const char *environment[8]; /* name, value, name, value, ... */

static const char *env(const char *name)
{
    for (int i = 0; environment[i]; i += 2)
        if (!strcmp(environment[i], name))
            return environment[i + 1];
    return NULL;
}

static struct values values;
static struct sy_options *options;
static struct sy_error err;

/* Parse words (cut at blanks) for command 0. */
static enum sy_status parse(const char *words)
{
    static char kept[512];
    char *argv[32] = {(char[]){"cmd"}};
    int argc = 1;

    sy_options_destroy(options);
    options = NULL;
    memset(&values, 0, sizeof values);
    err = (struct sy_error)SY_ERROR_INIT;
    snprintf(kept, sizeof kept, "%s", words);
    for (char *word = strtok(kept, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return sy_options_parse(table, 0, argc, argv, env, "config", &values, &options, &err);
}

static void check_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},          {"512", 512},           {"64K", 65536},           {"64k", 65536},     {"3M", 3 << 20},
        {"3MiB", 3 << 20}, {"3mib", 3 << 20},      {"3MB", 3000000},         {"3mb", 3000000},   {"2G", UINT64_C(2) << 30},
        {"2GB", 2000000000}, {"1.5KiB", 1536},     {"1.5KB", 1500},          {"1T", UINT64_C(1) << 40}, {"7B", 7},
        {"1e3", 1000},
    };
    static const char *const bad[] = {"",    "x",   "-1",  "1X",     "1KK", "1MiBB", "1KiX", "nan",
                                      "inf", "1e99", "9223372T", "M",  "1Bi",   "0x",   "1MBi"};
    char words[64];

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        snprintf(words, sizeof words, "--bytes=%s", good[i].text);
        enum sy_status st = parse(words);
        ok(!st && values.bytes == good[i].bytes, "--bytes %s is %" PRIu64 " bytes", good[i].text, good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(words, sizeof words, "--bytes=%s", bad[i]);
        ok(parse(words) == SY_ERR_USAGE && strstr(err.text, "--bytes: expected a size such as"),
           "--bytes \"%s\" is refused", bad[i]);
    }
}

static void check_errors(void)
{
    static const char *const cases[][2] = {
        {"--count 0", "--count: expected an integer from 1 to 10, found \"0\""},
        {"--count 11", "found \"11\""},
        {"--count 3x", "found \"3x\""},
        {"--count=", "found \"\""},
        {"--count 99999999999999999999", "found \"99999999999999999999\""},
        {"--free-count 9223372036854775808", "--free-count: expected an integer, found"},
        {"--real 2.5", "expected a number from 0 to 2"},
        {"--real nan", "found \"nan\""},
        {"--real inf", "found \"inf\""},
        {"--choice blue", "expected one of red|green, found \"blue\""},
        {"--choice re", "found \"re\""},
        {"--choice red|green", "found \"red|green\""},
        {"--choice=", "found \"\""},
        {"--flag=maybe", "--flag: expected true or false"},
        {"--text", "cmd: --text needs a value (TEXT)"},
        {"--choice", "--choice needs a value (red|green)"},
        {"--counte 3", "cmd: unknown option --counte; did you mean --count?"},
        {"--zzzzzzzzz", "unknown option --zzzzzzzzz; see --help"},
        {"--no-count", "unknown option --no-count"},
        {"--no-help", "unknown option --no-help"},
        {"--no-flag=true", "unknown option --no-flag"},
        {"-x", "unknown option -x"},
        {"-c3", "unknown option -c3"},
        {"--other 3", "unknown option --other"},
        {"--=3", "unknown option --"},
    };
    char words[300] = "--";

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        is_int(parse(cases[i][0]), SY_ERR_USAGE, "%s", cases[i][0]);
        has_str(err.text, cases[i][1], "its message");
    }
    memset(words + 2, 'n', 250);
    is_int(parse(words), SY_ERR_USAGE, "a very long name");
    has_str(err.text, "see --help", "is like no other");
}

static void check_sources(void)
{
    environment[0] = NULL;
    is_int(parse("a -c 3 -f --real=1e-1 - -- --text -b"), SY_OK, "flags and other arguments");
    ok(values.count == 3 && values.flag && values.real == 0.1 && !values.text && !strcmp(values.choice, "red"),
       "values");
    ok(sy_options_n_rest(options) == 4 && !strcmp(sy_options_rest(options, 0), "a") &&
           !strcmp(sy_options_rest(options, 1), "-") && !strcmp(sy_options_rest(options, 2), "--text"),
       "the rest, with all after --");
    is_int(sy_options_source(options, "count"), SY_FROM_FLAG, "a flag is a flag");
    is_int(sy_options_source(options, "choice"), SY_FROM_DEFAULT, "a default is a default");
    parse("--count 3 --count 4 --flag --no-flag");
    ok(values.count == 4 && !values.flag, "the last one counts");
    parse("--text --count");
    is_str(values.text, "--count", "a value may look like an option");
    environment[0] = "SWITCHYARD_FREE_COUNT";
    environment[1] = "-7";
    environment[2] = "SWITCHYARD_COUNT";
    environment[3] = "9";
    environment[4] = "SWITCHYARD_HELP";
    environment[5] = "true";
    is_int(parse("--count 2"), SY_OK, "with an environment");
    ok(values.free_count == -7 && values.count == 2 && !values.help,
       "a flag comes before it, and it cannot ask for help");
    is_int(sy_options_source(options, "free-count"), SY_FROM_ENVIRONMENT, "where it is from");
    char near[64];
    is_str(sy_options_near_env(table, "SWITCHYARD_FREE_CONUT", near, sizeof near), "SWITCHYARD_FREE_COUNT",
           "a variable that is nearly an option's");
    ok(!sy_options_near_env(table, "SWITCHYARD_FREE_COUNT", near, sizeof near) &&
           !sy_options_near_env(table, "SWITCHYARD_OTHER", near, sizeof near),
       "an option's is no slip of the pen");
    ok(!sy_options_near_env(table, "SWITCHYARD_TXT", near, sizeof near) &&
           !sy_options_near_env(table, "SWITCHYARD_PREFIX", near, sizeof near) &&
           !sy_options_near_env(table, "FREE_CONUT", near, sizeof near),
       "nor is a short one, one that is like none, or one of somebody else");
    environment[3] = "many";
    is_int(parse(""), SY_ERR_USAGE, "a wrong one");
    has_str(err.text, "environment variable SWITCHYARD_COUNT: expected an integer", "is named");
    environment[0] = NULL;
}

static void make_file(const char *path, const void *bytes, size_t len)
{
    FILE *out = fopen(path, "w");

    if (!out || fwrite(bytes, 1, len, out) != len || fclose(out))
        bail("cannot write %s", path);
}

static void check_config(void)
{
    static const char *const bad[][2] = {
        {"count", ":1: expected \"count = value\""},
        {"\n\ncount = x", ":3: expected an integer"},
        {"cuont = 3", ":1: unknown option \"cuont\"; did you mean --count?"},
        {"help = true", "unknown option \"help\""},
        {"config = a", "unknown option \"config\""},
        {"text = \"a", "the quoted value of \"text\" does not end the line"},
        {"text = \"a\" b", "does not end the line"},
        {"text = \"a\\", "does not end the line"},
        {"= 3", "unknown option \"\""},
    };
    static const char good[] = "# a comment\n\n  count = 7 # seven\r\ntext = \"a # \\\"b\\\\ \\n\"  # end\nother = 9\n"
                               "choice=green\nreal\t=\t1.5\nflag = yes";
    const char *base = getenv("TMPDIR");
    char path[256], words[300];

    snprintf(path, sizeof path, "%s/switchyard-test-XXXXXX", base ? base : "/tmp");
    int fd = mkstemp(path);
    if (fd < 0 || close(fd))
        bail("cannot make %s", path);
    make_file(path, good, sizeof good - 1);
    snprintf(words, sizeof words, "--config %s --real 2", path);
    is_int(parse(words), SY_OK, "a config file") || (diag("%s", err.text), 0);
    ok(values.count == 7 && values.flag && values.real == 2 && !strcmp(values.choice, "green") && !values.other,
       "values");
    is_str(values.text, "a # \"b\\ \n", "a quoted text");
    is_int(sy_options_source(options, "text"), SY_FROM_CONFIG, "where it is from");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_file(path, bad[i][0], strlen(bad[i][0]));
        is_int(parse(words), SY_ERR_USAGE, "config file: %s", bad[i][0]);
        has_str(err.text, bad[i][1], "its message");
        has_str(err.text, path, "names the file");
    }
    make_file(path, "count = 3\0", 10);
    is_int(parse(words), SY_ERR_USAGE, "a zero byte");
    has_str(err.text, "not a text file", "is refused");
    is_int(parse("--config no-such-file"), SY_ERR_IO, "no such file");
    has_str(err.text, "no-such-file: cannot open", "is said");
    parse("");
    is_int(sy_options_read(options, "T", "text = a#b", 10, &values, &err), SY_OK, "a bare value");
    is_str(values.text, "a", "ends before a #");
    unlink(path);
}

/* What --print-config says, read back, is the same settings: this is how rank 0's reach the others. */
static void check_print(void)
{
    static const char text[] = "a \"b\"\\ \n\t# c = \xff\r";
    char *argv[] = {(char[]){"run"},         (char[]){"--prompt"},       (char[]){"x"},
                    (char[]){"--top-p=0.1"}, (char[]){"--seed=-3"},      (char[]){"--kv-bytes=3MB"},
                    (char[]){"--resume"},    (char[]){"--timeout=1e-3"}, NULL};
    struct sy_settings one = {0}, two = {0};
    struct sy_options *first = NULL, *second = NULL;
    struct sy_buf printed = SY_BUF_INIT, again = SY_BUF_INIT;

    argv[2] = (char *)text;
    is_int(sy_options_parse(sy_settings_table, SY_COMMAND_RUN, 8, argv, NULL, sy_settings_config, &one, &first, &err),
           SY_OK, "settings of run");
    is_int(sy_settings_write(first, &printed, &err), SY_OK, "are written");
    is_int(sy_settings_read(SY_COMMAND_RUN, &printed, &two, &second, &err), SY_OK, "and read") ||
        (diag("%s", err.text), 0);
    is_str(two.prompt, text, "a text with everything in it is the same");
    ok(two.top_p == 0.1 && two.seed == -3 && two.kv_bytes == 3000000 && two.resume && two.timeout_s == 1e-3 &&
           !two.model,
       "so are numbers, and what was not set");
    ok(sy_options_source(second, "max-tokens") == SY_FROM_DEFAULT &&
           sy_options_source(second, "seed") != SY_FROM_DEFAULT,
       "and whether somebody set it");
    ok(!sy_settings_write(second, &again, &err) && again.len > 100, "it can be written again");
    sy_options_destroy(first);
    sy_options_destroy(second);
    sy_buf_fini(&printed);
    sy_buf_fini(&again);
}

static void check_help(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    sy_options_help(table, 0, out);
    fclose(out);
    has_str(text, "\nOne:\n  -f, --flag", "help has groups and letters");
    has_str(text, "A count. [5] (SWITCHYARD_COUNT)", "defaults and the environment");
    has_str(text, "--choice red|green", "choices");
    ok(!strstr(text, "--other"), "and no option of another command");
    ok(!strstr(text, "SWITCHYARD_HELP"), "nor an environment variable that does nothing");
    free(text);
}

int main(void)
{
    check_sizes();
    check_errors();
    check_sources();
    check_config();
    check_print();
    check_help();
    sy_options_destroy(options);
    done();
    return tap_exit();
}

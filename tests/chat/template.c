/* SPDX-License-Identifier: Apache-2.0
 * template.c - templates of tests/data/chat held against what jinja2 makes of them, and what is refused, with its place
 */
#include "chat/template.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "tap.h"

static struct sy_buf out;

static json_t *read_json(const char *name)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf text = SY_BUF_INIT;
    const char *top = getenv("SY_SRCDIR");
    json_t *root = NULL;
    char path[1024];

    snprintf(path, sizeof path, "%s/tests/data/chat/%s", top ? top : ".", name);
    if (sy_file_read(path, (size_t)16 << 20, &text, &err) ||
        sy_json_parse(path, (const char *)text.data, text.len, 64, &root, &err))
        bail("%s", err.text);
    sy_buf_fini(&text);
    return root;
}

/* Render to out, which ends with a NUL; err has the message of a failure. */
static enum sy_status render_limited(const char *text, size_t len, const json_t *variables,
                                     const struct sy_template_limits *limits, struct sy_error *err)
{
    struct sy_template *tmpl;

    out.len = 0;
    *err = (struct sy_error)SY_ERROR_INIT;
    enum sy_status st = sy_template_parse("t", text, len, &tmpl, err);
    if (st)
        return st;
    /* 2024-07-05 09:03:01 UTC */
    st = sy_template_render(tmpl, variables, limits, 1720170181, &out, err);
    sy_template_destroy(tmpl);
    sy_buf_append(&out, "", 1);
    out.len--;
    return st;
}

static enum sy_status render(const char *text, size_t len, const json_t *variables, struct sy_error *err)
{
    return render_limited(text, len, variables, &sy_template_limits, err);
}

static void check_case(const char *name, const char *text, size_t len, const json_t *variables, const json_t *expected)
{
    struct sy_error err;
    enum sy_status st = render(text, len, variables, &err);
    bool same = !st && out.len == json_string_length(expected) &&
                !memcmp(out.data, json_string_value(expected), out.len);

    if (!ok(same, "%s", name))
        diag("found %s\n  expected %s", st ? err.text : (const char *)out.data, json_string_value(expected));
}

static void check_snippets(void)
{
    json_t *root = read_json("snippets.json"), *item;
    const json_t *variables = json_object_get(root, "variables");
    struct sy_error err;
    char name[64];
    size_t i;

    json_array_foreach (json_object_get(root, "renders"), i, item) {
        const json_t *text = json_object_get(item, "template");
        snprintf(name, sizeof name, "snippet %zu: %.30s", i + 1, json_string_value(text));
        for (char *at = name; *at; at++)
            *at = *at == '\n' || *at == '#' || (unsigned char)*at >= 0x80 ? ' ' : *at;
        check_case(name, json_string_value(text), json_string_length(text), variables,
                   json_object_get(item, "expected"));
    }
    json_array_foreach (json_object_get(root, "refuses"), i, item) {
        const json_t *text = json_object_get(item, "template");
        enum sy_status st = render(json_string_value(text), json_string_length(text), variables, &err);
        ok(st == SY_ERR_DATA && !strncmp(err.text, "t:1:", 4), "refused, with its place: %s", err.text);
    }
    json_decref(root);
}

static void check_conversations(void)
{
    json_t *root = read_json("conversations.json"), *item;
    struct sy_error err = SY_ERROR_INIT;
    size_t i;

    json_array_foreach (json_object_get(root, "cases"), i, item) {
        const char *file = json_string_value(json_object_get(item, "template"));
        const char *top = getenv("SY_SRCDIR");
        struct sy_buf text = SY_BUF_INIT;
        char path[1024], name[200];
        snprintf(path, sizeof path, "%s/tests/data/chat/%s", top ? top : ".", file);
        if (sy_file_read(path, SY_TEMPLATE_BYTES_MAX, &text, &err))
            bail("%s", err.text);
        snprintf(name, sizeof name, "%s: %s", file, json_string_value(json_object_get(item, "name")));
        check_case(name, (const char *)text.data, text.len, json_object_get(item, "variables"),
                   json_object_get(item, "expected"));
        sy_buf_fini(&text);
    }
    json_decref(root);
}

/* What Jinja2 knows and we do not, or what needs a place that is not on the first line. */
static void check_refusals(void)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a\n  {% include 'x' %}", "t:2:6: the tag \"include\" is not supported here"},
        {"{% block a %}{% endblock %}", "t:1:4: the tag \"block\" is not supported here"},
        {"{% call m() %}{% endcall %}", "t:1:4: the tag \"call\" is not supported here"},
        {"{% for a in b recursive %}{% endfor %}", "t:1:15: recursive loops are not supported"},
        {"\n\n{{ x | urlize }}", "t:3:8: the filter \"urlize\" is not supported"},
        {"{{ x is filter }}", "t:1:9: the test \"filter\" is not supported"},
        {"{{ 'a'.format(1) }}", "t:1:7: format is not supported"},
        {"{{ [].append(1) }}", "t:1:6: append is not supported"},
        {"{{ lipsum() }}", "t:1:4: lipsum is not supported"},
        {"{% macro m() %}{{ kwargs }}{% endmacro %}", "t:1:19: \"kwargs\" in a macro is not supported"},
        {"{{ f(*a) }}", "t:1:6: arguments with * are not supported"},
        {"\r\n{{ 1 + x.y }}", "t:2:9: \"x\" is undefined, so it has no \"y\""},
        {"{% if a %}\n{% for b in c %}\n{% endif %}", "t:3:4: the tag \"endif\" is not supported here"},
        {"{% if a %}\n", "t:1:11: the template ends where a tag \"endif\" is expected"},
        {"{{ raise_exception('roles must alternate') }}", "t:1:4: the template refuses: roles must alternate"},
        {"{{ 99999999999999999999 }}", "t:1:4: an integer of more than 63 bits"},
        {"{{ 9223372036854775807 + 1 }}", "t:1:24: the integer is too large"},
        {"{{ {}.items() }}", "a range or a view cannot be shown; use |list"},
        {"\xff", "t: not valid UTF-8 at byte 0"},
    };
    json_t *none = json_object();
    struct sy_error err;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum sy_status st = render(cases[i].text, strlen(cases[i].text), none, &err);
        has_str(st == SY_ERR_DATA ? err.text : "accepted", cases[i].message, "refused: %s", cases[i].message);
    }
    json_decref(none);
}

/* Text of n times the same between a begin and an end. */
static void check_hostile(const char *begin, const char *piece, int n, const char *end, const char *message)
{
    static const struct sy_template_limits limits = {.steps = 20000000, .memory_bytes = 64 << 20, .out_bytes = 1 << 20};
    struct sy_buf text = SY_BUF_INIT;
    json_t *none = json_object();
    struct sy_error err;

    sy_buf_append(&text, begin, strlen(begin));
    for (int i = 0; i < n; i++)
        sy_buf_append(&text, piece, strlen(piece));
    sy_buf_append(&text, end, strlen(end));
    enum sy_status st = render_limited((const char *)text.data, text.len, none, &limits, &err);
    has_str(st == SY_ERR_DATA ? err.text : "accepted", message, "%.30s ... %s", begin, message);
    is_int((int64_t)out.len, 0, "and nothing was printed");
    sy_buf_fini(&text);
    json_decref(none);
}

/* What closes 10000 times "(1, [" and one "[", and the tag. */
static const char *closers(void)
{
    static char text[20010];

    for (int i = 0; i < 10000; i++)
        memcpy(text + (size_t)2 * i, "])", 2);
    strcpy(text + 20000, "] }}");
    return text;
}

static void check_limits(void)
{
    check_hostile("{{ x[", "(1, [", 10000, closers(), "nested deeper than");
    check_hostile("{{ ", "not ", 10000, "1 }}", "nested deeper than");
    check_hostile("{{ ", "-", 10000, "1 }}", "nested deeper than");
    check_hostile("", "{% if 1 %}", 10000, "", "nested deeper than");
    check_hostile("{{ 1", " + 1", 10000, " }}", "nested deeper than");
    check_hostile("{{ 1", "|abs", 10000, " }}", "nested deeper than");
    check_hostile("{{ 1 if 0", " else 1 if 0", 10000, " }}", "nested deeper than");
    check_hostile("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "", 0, "", "nested deeper than");
    check_hostile("{% set n = namespace(v=[]) %}{% for i in range(1000) %}{% set n.v = [n.v] %}{% endfor %}{{ n.v }}",
                  "", 0, "", "a value is nested too deep");
    check_hostile("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "", 0, "",
                  "the template takes too");
    check_hostile("{{ 'x' * 99999999999 }}", "", 0, "", "too long");
    check_hostile("{{ [1] * 99999999999 }}", "", 0, "", "the template takes too");
    check_hostile("{% set n = namespace(v='xx') %}{% for i in range(100) %}{% set n.v = n.v ~ n.v %}{% endfor %}", "",
                  0, "", "too long");
    check_hostile("{% for a in range(99999) %}{{ 'some text that is printed' }}{% endfor %}", "", 0, "", "too long");
    check_hostile("{{ '", "x", 1 << 20, "' }}", "expected at most 1048576");
    check_hostile("{{ 2 ** 9999999999 }}", "", 0, "", "the integer is too large");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    check_snippets();
    check_conversations();
    check_refusals();
    check_limits();
    sy_buf_fini(&out);
    done();
    return tap_exit();
}

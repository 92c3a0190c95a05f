#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_expected.py - what jinja2 makes of the templates in tests/data/chat, for tests/chat/template.c

usage: make_expected.py [--check]

Writes the member "expected" of each case in snippets.json and conversations.json, and checks that jinja2 refuses what is
listed as refused; --check changes nothing and fails where a file would change. jinja2 (PyPI) is set up as transformers sets
it up for chat templates (utils/chat_template_utils.py): immutable sandbox, trim_blocks, lstrip_blocks, loop controls, a
`generation` block, tojson without HTML escapes, raise_exception and strftime_now.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

DATA = pathlib.Path(__file__).resolve().parent.parent / "data" / "chat"
NOW = datetime.datetime(2024, 7, 5, 9, 3, 1)  # what tests/chat/template.c says too, in UTC


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return nodes.CallBlock(self.call_method("_same"), [], [], body).set_lineno(lineno)

    def _same(self, caller):
        return caller()


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


ENV = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
ENV.filters["tojson"] = tojson
ENV.globals["raise_exception"] = raise_exception
ENV.globals["strftime_now"] = NOW.strftime


def render(template, variables):
    return ENV.from_string(template).render(**variables)


def refused(template, variables):
    try:
        render(template, variables)
    except Exception:  # pylint: disable=broad-except # whatever a template does wrong
        return True
    return False


def fill_snippets(doc):
    for case in doc["renders"]:
        try:
            case["expected"] = render(case["template"], doc["variables"])
        except Exception as e:
            sys.exit(f"{case['template']}: {e!r}")
    for case in doc["refuses"]:
        if not refused(case["template"], doc["variables"]):
            sys.exit(f"jinja2 does not refuse {case['template']}")


def fill_conversations(doc):
    for case in doc["cases"]:
        template = (DATA / case["template"]).read_text(encoding="utf-8")
        case["expected"] = render(template, case["variables"])


def main():
    check = sys.argv[1:] == ["--check"]
    stale = []
    for name, fill in (("snippets.json", fill_snippets), ("conversations.json", fill_conversations)):
        path = DATA / name
        before = path.read_text(encoding="utf-8")
        doc = json.loads(before)
        fill(doc)
        after = json.dumps(doc, ensure_ascii=False, indent=1) + "\n"
        if after != before:
            stale.append(name)
            if not check:
                path.write_text(after, encoding="utf-8")
    if stale and check:
        sys.exit("not up to date: " + ", ".join(stale))


if __name__ == "__main__":
    main()

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# shell.t - scripts parse as POSIX sh, are executable, and shellcheck has nothing to say

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

not_executable() {
    shell_files | while read -r file; do
        [ "$(head -c 2 "$file")" != '#!' ] || [ -x "$file" ] || echo "$file"
    done
}

not_parsed() {
    shell_files | while read -r file; do
        sh -n "$file" 2>&1
    done
}

# Left out: functions that are called by name (2317), programs for awk and sed in single quotes (2016).
complaints() {
    shell_files | xargs shellcheck -x -f gcc -e SC2317,SC2016
}

check "scripts that are not executable" not_executable
check "scripts that do not parse" not_parsed
if command -v shellcheck >/dev/null; then
    check "shellcheck" complaints
else
    skip "shellcheck" "shellcheck is not installed"
fi
done_testing

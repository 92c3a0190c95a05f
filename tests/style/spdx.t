#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# spdx.t - every source file names its licence, and every C file says what it is

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

without_licence() {
    { c_files; make_files; shell_files; } | while read -r file; do
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: Apache-2\.0' || echo "$file"
    done
}

without_purpose() {
    c_files | while read -r file; do
        sed -n 2p "$file" | grep -q "^ \* ${file##*/} - ." || echo "$file"
    done
}

ok "LICENSE is the Apache License" grep -q "Apache License" LICENSE
check "files without an SPDX line" without_licence
check "C files whose second line is not ' * NAME - PURPOSE'" without_purpose
done_testing

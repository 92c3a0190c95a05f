#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# paths.t - no file names a folder of one machine

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

# The folders are put together here so that this file does not find itself.
private() {
    folders=$(printf '%s|' home work root mnt srv Users)
    { c_files; make_files; shell_files; find . -maxdepth 1 -name '*.md' | sort; } |
        xargs grep -n -E "(^|[^A-Za-z0-9_.)}~/-])/(${folders%|})/" | grep -v '^tests/style/paths.t:'
}

planted() {
    folder=home
    printf 'path = "/%s/somebody/model";\n' "$folder" >"$SY_TMP/planted"
    grep -c -E "(^|[^A-Za-z0-9_.)}~/-])/($folder)/" "$SY_TMP/planted"
}

check "names of private folders" private
is "a planted one is found" "$(planted)" 1
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# build.t - every source file and shell test is in a local.mk, so that it is built, run and shipped

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

unnamed() {
    for folder in src topo kernels tests; do
        find "$folder" \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) ! -path src/config.h | sort |
            while read -r file; do
                grep -q -F "%D%/${file#"$folder"/}" "$folder/local.mk" || echo "$file"
            done
    done
    find tests -name '*.t' -type f ! -path 'tests/data/*' | sort | while read -r file; do
        if [ "$(head -c 2 "$file")" = '#!' ]; then
            grep -q -F "%D%/${file#tests/}" tests/local.mk || echo "$file"
        fi
    done
}

check "files that no local.mk names" unnamed
done_testing

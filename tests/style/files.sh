# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# files.sh - the project's own text files, one name a line, relative to $SY_SRCDIR; for sourcing

cd "$SY_SRCDIR" || exit 1

c_files() {
    find src topo kernels tests \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) ! -path src/config.h | sort
}

make_files() {
    printf '%s\n' configure.ac Makefile.am
    find m4 -name 'sy_*.m4' | sort
    find src topo kernels launch tests -name local.mk | sort
}

# Scripts are known by their first line or, when they are for sourcing, by their name.
shell_files() {
    find launch tests .ci -type f ! -path 'tests/data/*' 2>/dev/null | sort | while read -r file; do
        case $file in
        *.sh) echo "$file" ;;
        *) [ "$(head -c 9 "$file")" != '#!/bin/sh' ] || echo "$file" ;;
        esac
    done
}

# check NAME COMMAND...: a check that holds when the command prints nothing
check() {
    check_name=$1
    shift
    is "$check_name" "$("$@")" ""
}

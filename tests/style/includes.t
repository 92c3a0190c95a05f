#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# includes.t - includes go one way: cli, then chat and engine, moe, then comm, model, kernels and topo, then base
#
# Also: only src/cli/main.c ends the process or reads the environment, only src/comm/group.c has communicators, and keys of
# config.json are looked up in one way.

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

# Lines "FILE: includes X" for includes of a layer that FILE's layer may not see. Files on standard input.
wrong_way() {
    xargs awk '
        function layer(path, parts) {
            split(path, parts, "/")
            return parts[1] == "src" ? parts[2] : parts[1]
        }
        BEGIN {
            may["base"] = " base "
            may["topo"] = " topo base "
            may["kernels"] = " kernels base "
            may["model"] = " model kernels topo base "
            may["chat"] = " chat base "
            may["comm"] = " comm topo base "
            may["moe"] = " moe comm model kernels topo base "
            may["engine"] = " engine moe comm model kernels topo base "
            may["cli"] = " cli chat engine moe comm model kernels topo base "
            while (("find topo kernels -name \"*.h\"" | getline path) > 0) {
                name = path
                sub(/.*\//, "", name)
                home[name] = layer(path)
            }
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, quoted, "\"")
            target = quoted[2]
            from = layer(FILENAME)
            if (target == "config.h" || target == "")
                next
            if (target ~ /^(base|chat|model|comm|moe|engine|cli|topo|kernels)\//)
                to = layer(target)
            else if (target in home)
                to = home[target]
            else
                to = from
            if (index(may[from], " " to " ") == 0)
                print FILENAME ": includes " target
        }'
}

product_files() {
    c_files | grep -E '^(src|topo|kernels)/'
}

against_the_layers() {
    product_files | wrong_way
}

# A planted file shows that the check above sees something.
planted() {
    mkdir -p "$SY_TMP/src/base" "$SY_TMP/kernels" "$SY_TMP/topo"
    : >"$SY_TMP/kernels/kernels.h"
    printf '#include "engine/session.h"\n#include "kernels.h"\n' >"$SY_TMP/src/base/planted.c"
    (cd "$SY_TMP" && echo src/base/planted.c | wrong_way | wc -l | tr -d ' ')
}

# Calls of some functions outside the one file that may make them.
calls() { # REGEX FILE
    product_files | grep -v -x "$2" | xargs grep -n -E "(^|[^a-zA-Z0-9_])($1)[ ]*\\(" |
        grep -v -E ':[0-9]+:[ ]*(/?\*|//)'
}

names() { # REGEX FILE
    product_files | grep -v -x "$2" | xargs grep -n -E "(^|[^a-zA-Z0-9_])($1)([^a-zA-Z0-9_]|\$)" |
        grep -v -E ':[0-9]+:[ ]*(/?\*|//)'
}

# config.json is read with sy_json_get() and its kin, which note the keys that were asked for (src/model/keys.h).
unnoticed_keys() {
    product_files | xargs grep -l -E '"model/(config|families|quantization)\.h"' | xargs grep -n -E 'json_object_get'
}

check "includes against the direction of the layers" against_the_layers
is "a planted pair of wrong includes is found" "$(planted)" 2
check "exit and getenv outside src/cli/main.c" calls 'exit|getenv|secure_getenv|environ' src/cli/main.c
check "communicators outside src/comm/group.c" names 'MPI_COMM_WORLD|MPI_Comm' src/comm/group.c
check "keys of config.json that are read without a note" unnoticed_keys
done_testing

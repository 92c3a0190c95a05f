#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# measure_load.t - launch/measure-load says what it measured, and loading takes little memory beside the weights

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo

measure() { # ARGUMENT...
    "$SY_SRCDIR/launch/measure-load" -b "$SY_BUILDDIR" "$@" >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

measure -n 2 -p 3 "$demo"
is "three pairs on 2 ranks: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
is "a line for each pair" "$(grep -c '^pair [123]: dd [0-9.e-]* GB/s, load [0-9.e-]* GB/s$' "$SY_TMP/out")" 3
is "the medians" "$(grep -c \
    '^medians: dd [0-9.e-]* GB/s, load [0-9.e-]* GB/s, which is [0-9]* % of dd$' "$SY_TMP/out")" 1
# A rank is to take no more than its share of the weights and 256 MB.
is "the peak of each rank is within 256 MB of its share" "$(sed -n \
    's/^rank \([01]\): peak PSS [0-9]* MB, \([0-9-]*\) MB over its share of the weights$/\1 \2/p' "$SY_TMP/out" |
    awk '$2 <= 256 { printf "%s ", $1 }')" "0 1 " || diag "$(cat "$SY_TMP/out")"

measure
is "no folder: exit code" "$rc" 64
measure "$SY_TMP"
is "a folder without a checkpoint: exit code" "$rc" 74
has "a folder without a checkpoint: message" "$(cat "$SY_TMP/err")" "has no safetensors files"
"$SY_SRCDIR/launch/measure-load" -b "$SY_TMP" "$demo" >/dev/null 2>"$SY_TMP/err"
is "no program: exit code" "$?" 64

done_testing

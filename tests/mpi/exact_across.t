#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact_across.t - the bits of one rank where rows go from device to device without the host, in turn too, for few tokens and
# for many; CPUs stand for the devices where there is no GPU
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

program=$SY_BUILDDIR/tests/mpi/exact_hash

run() { # N TRANSPORT
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    $MPIRUN -n "$1" "$program" tests/data/demo "$2" </dev/null >>"$SY_TMP/$2" 2>"$SY_TMP/err"
}

hashes() { # TRANSPORT COMPUTE
    sed -n "s/^$2 .*hash=//p" "$SY_TMP/$1" | sort -u
}

run 1 shm
is "one rank" $? 0 || diag "$(cat "$SY_TMP/err")"
for r in 2 3; do
    run "$r" across
    is "$r ranks" $? 0 || diag "$(cat "$SY_TMP/err")"
done
for compute in f32 bf16; do
    is "$compute: one hash on 2 and 3 ranks, that of one" "$(hashes across "$compute")" "$(hashes shm "$compute")"
    ok "$compute: in turn too" grep -q "^$compute .* in-turn .*hash=" "$SY_TMP/across"
done
done_testing

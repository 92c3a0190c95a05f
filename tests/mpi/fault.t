#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fault.t - a rank that is aborted, killed or stopped ends the whole job soon, and is named

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

job() { # HOW RANK: 3 ranks, of which one comes to grief; deadline 1 s
    begin=$(date +%s)
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n 3 "$SY_BUILDDIR/tests/mpi/fault_job" "$1" "$2" </dev/null >"$SY_TMP/out" 2>&1
    rc=$?
    seconds=$(($(date +%s) - begin))
    out=$(cat "$SY_TMP/out")
}

soon() { # NAME
    ok "$1 (after $seconds s)" test "$seconds" -lt 15
}

job none 0
is "without a fault the exit code is 0" "$rc" 0
is "and nothing is said" "$out" ""

job abort 1
is "a rank that aborts gives the job its exit code" "$rc" 70
soon "and ends it"

job kill 1
is "a killed rank ends the job with 128 + 9" "$rc" 137
has "the launcher names it" "$out" "rank 1"
soon "soon"

for stopped in 0 2; do
    job stop $stopped
    is "when rank $stopped is stopped, the others give up with the code of a lost peer" "$rc" 69
    has "and say whom they waited for" "$out" "barrier: no answer within 1000 ms from rank $stopped ("
    soon "soon"
done

done_testing

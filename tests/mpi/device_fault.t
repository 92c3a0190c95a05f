#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# device_fault.t - a device that has no memory, runs a bad kernel or is gone ends the job soon, with a sentence that says where

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

job() { # RANKS HOW RANK N
    begin=$(date +%s)
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/device_fault" "$2" "$3" "$4" </dev/null >"$SY_TMP/out" 2>&1
    rc=$?
    seconds=$(($(date +%s) - begin))
    out=$(cat "$SY_TMP/out")
}

ends() { # NAME TEXT: with the code of a failed system call, soon, and rank $bad says TEXT
    is "$1: exit code" "$rc" 71
    ok "$1: soon (after $seconds s)" test "$seconds" -lt 20
    has "$1: the rank says what" "$(grep "^rank $bad: " "$SY_TMP/out")" "$2"
}

all_faults() { # DEVICE
    export SWITCHYARD_DEVICE="$1"
    job 2 none 0 0
    is "$1: without a fault: exit code" "$rc" 0
    for ranks in 1 2; do
        bad=$((ranks - 1))
        for n in 1 2 3; do
            job $ranks memory $bad $n
            ends "$1, $ranks ranks, buffer $n" "no memory for "
            [ "$1" = cpu ] || has "$1, $ranks ranks, buffer $n: what is free" "$out" " GB free"
        done
        for n in 1 5 9; do
            job $ranks lost $bad $n
            ends "$1, $ranks ranks, gone at wait $n" "the device is gone"
        done
        [ "$1" != cpu ] || continue
        for n in 1 30; do
            job $ranks kernel $bad $n
            ends "$1, $ranks ranks, a bad kernel after $n norms" "illegal memory access"
            has "$1, $ranks ranks, a bad kernel after $n norms: the device" "$out" "GPU "
        done
    done
}

all_faults cpu
export SWITCHYARD_DEVICE=cuda
job 1 none 0 0
if [ "$rc" -eq 0 ]; then
    all_faults cuda
else
    skip "faults of a GPU" "no GPU can be used here"
fi
done_testing

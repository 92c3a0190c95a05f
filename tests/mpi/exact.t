#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact.t - the same logits, bit for bit, on any number of ranks and however the work is cut
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

program=$SY_BUILDDIR/tests/mpi/exact_hash
ranks=${SY_EXACT_RANKS:-1 2 3 4 5 8}
lines=$SY_TMP/lines
: >"$lines"

run_all() { # N: all settings on N ranks
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    $MPIRUN -n "$1" "$program" </dev/null >"$SY_TMP/one" && cat "$SY_TMP/one" >>"$lines"
}

hashes() { # PATTERN: the distinct hashes of matching lines
    grep "^$1 " "$lines" | sed 's/.*hash=//' | sort -u
}

for n in $ranks; do
    ok "all settings run on $n ranks" run_all "$n"
done
for compute in f32 bf16; do
    n_runs=$(grep -c "^$compute ranks" "$lines")
    one=$(hashes "$compute")
    is "$compute: one hash in $n_runs runs over ranks, chunks, prefill, threads, batches and preemption" \
        "$(echo "$one" | grep -c .)" 1 || diag "$(grep "^$compute ranks" "$lines")"
    is "$compute: a combine in the wrong order changes the hash" "$(hashes "$compute-reversed" | grep -c "$one")" 0
    ok "$compute: sequences were preempted" grep -q "^$compute .*mode=preempted preemptions=[1-9]" "$lines"
done
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact.t - the same logits, bit for bit, on any number of ranks and however the work is cut
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

program=$SY_BUILDDIR/tests/mpi/exact_hash
ranks=${SY_EXACT_RANKS:-1 2 3 4 5 8}
few_ranks=${SY_EXACT_RANKS:-1 3} # for small checkpoints with attention of another kind
lines=$SY_TMP/lines

run_all() { # N [DIR]: all settings on N ranks
    n=$1
    shift
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    $MPIRUN -n "$n" "$program" "$@" </dev/null >"$SY_TMP/one" && cat "$SY_TMP/one" >>"$lines"
}

hashes() { # PATTERN: the distinct hashes of matching lines
    grep "^$1 " "$lines" | sed 's/.*hash=//' | sort -u
}

check() { # NAME RANKS [DIR]
    name=$1
    ranks=$2
    shift 2
    : >"$lines"
    for r in $ranks; do
        ok "$name: all settings run on $r ranks" run_all "$r" "$@"
    done
    for compute in f32 bf16; do
        n_runs=$(grep -c "^$compute ranks" "$lines")
        one=$(hashes "$compute")
        is "$name, $compute: one hash in $n_runs runs over ranks, chunks, prefill, threads, batches and preemption" \
            "$(echo "$one" | grep -c .)" 1 || diag "$(grep "^$compute ranks" "$lines")"
        ok "$name, $compute: sequences were preempted" grep -q "^$compute .*mode=preempted preemptions=[1-9]" "$lines"
    done
}

check "BF16 weights" "$ranks"
for compute in f32 bf16; do
    is "$compute: a combine in the wrong order changes the hash" \
        "$(hashes "$compute-reversed" | grep -c "$(hashes "$compute")")" 0
done
check "latent attention" "$few_ranks" tests/data/odd/hybrid_mla
check "windows" "$few_ranks" tests/data/odd/mixtral_window
check "FP8 weights" "${SY_EXACT_RANKS:-1 2 3}" tests/data/goldens/qwen3_moe_fp8
done_testing

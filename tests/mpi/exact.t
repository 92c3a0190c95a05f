#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact.t - the same logits, bit for bit, on any number of ranks and however the work is cut
# shellcheck source=tests/mpi/exact.sh
. "${SY_SRCDIR:=.}/tests/mpi/exact.sh"

ranks=${SY_EXACT_RANKS:-1 2 3 4 5 8}
few_ranks=${SY_EXACT_RANKS:-1 3} # where only attention is of another kind
lines=$SY_TMP/lines

check() { # NAME RANKS [DIR]
    name=$1
    ranks=$2
    shift 2
    : >"$lines"
    for r in $ranks; do
        ok "$name: all settings run on $r ranks" hash_on "$r" "$lines" "$@" || diag "$(cat "$SY_TMP/err")"
    done
    for compute in f32 bf16; do
        n_runs=$(grep -c "^$compute ranks" "$lines")
        one=$(hashes "$compute" "$lines")
        is "$name, $compute: one hash in $n_runs runs over ranks, transports, chunks, threads, batches, preemption" \
            "$(echo "$one" | grep -c .)" 1 || diag "$(grep "^$compute ranks" "$lines")"
        # What a sequence holds with windows alone has a bound, which it is admitted for.
        test "$name" = "windows alone" ||
            ok "$name, $compute: sequences were preempted" \
                grep -q "^$compute .*mode=preempted preemptions=[1-9]" "$lines"
    done
}

check "BF16 weights" "$ranks"
for compute in f32 bf16; do
    reversed=$(hashes "$compute-reversed" "$lines")
    is "$compute: a combine in the wrong order was run" "$(echo "$reversed" | grep -c .)" 1 || diag "$reversed"
    is "$compute: and changes the hash" "$(echo "$reversed" | grep -c "$(hashes "$compute" "$lines")")" 0
done

check "latent attention" "$few_ranks" tests/data/odd/hybrid_mla
check "windows alone" "$few_ranks" tests/data/odd/mixtral_window
# Layers with a window and without in turn, as gpt-oss has them.
mkdir "$SY_TMP/mixed"
cp "$SY_SRCDIR"/tests/data/odd/mixtral_window/* "$SY_TMP/mixed"
sed 's/"sliding_window": 6/"sliding_window": 19, "layer_types": ["sliding_attention", "full_attention"]/' \
    "$SY_SRCDIR/tests/data/odd/mixtral_window/config.json" >"$SY_TMP/mixed/config.json"
check "some windows" "$few_ranks" "$SY_TMP/mixed"
# A sequence of 37 to 49 tokens that starts over past 40, since all of it turns otherwise from there on.
mkdir "$SY_TMP/long"
cp "$SY_SRCDIR"/tests/data/odd/phi_long/* "$SY_TMP/long"
sed 's/"original_max_position_embeddings": 20/"original_max_position_embeddings": 40/' \
    "$SY_SRCDIR/tests/data/odd/phi_long/config.json" >"$SY_TMP/long/config.json"
check "LongRoPE" "$few_ranks" "$SY_TMP/long"
check "FP8 weights" "${SY_EXACT_RANKS:-1 2 3}" tests/data/goldens/qwen3_moe_fp8
done_testing

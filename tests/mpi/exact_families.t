#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact_families.t - the same logits, bit for bit, on 1, 2, 3 and 5 ranks: every family, alone and in a batch
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

lines=$SY_TMP/lines
ranks="1 2 3 5"

set -- "$SY_SRCDIR"/tests/data/goldens/*/config.json "$SY_SRCDIR"/tests/data/odd/*/config.json
for config in "$@"; do
    set -- "$@" "${config%/config.json}"
    shift
done
n_experts() { # FOLDER
    sed -n 's/.*"\(num_local_experts\|num_experts\|n_routed_experts\)": *\([0-9]*\).*/\2/p' "$1/config.json" | head -n 1
}

# A rank without experts would do nothing, so a checkpoint of 4 experts does not run on 5 ranks.
: >"$lines"
for r in $ranks; do
    : >"$SY_TMP/folders"
    for folder in "$@"; do
        test "$(n_experts "$folder")" -lt "$r" || echo "$folder" >>"$SY_TMP/folders"
    done
    # shellcheck disable=SC2086,SC2046 # MPIRUN is a command with arguments; names of folders have no blanks
    ok "$(wc -l <"$SY_TMP/folders") checkpoints run on $r ranks" \
        sh -c '"$@" >>"$0"' "$lines" $MPIRUN -n "$r" "$SY_BUILDDIR/tests/mpi/exact_hash" --each \
        $(cat "$SY_TMP/folders") </dev/null
done
for folder in "$@"; do
    model=${folder##*/}
    n_runs=0
    for r in $ranks; do
        test "$(n_experts "$folder")" -lt "$r" || n_runs=$((n_runs + 4))
    done
    for compute in f32 bf16; do
        grep "^$compute .* model=$model " "$lines" >"$SY_TMP/one"
        is "$model, $compute: $n_runs runs over ranks, prefill chunks and batches" "$(grep -c . "$SY_TMP/one")" \
            "$n_runs"
        is "$model, $compute: one hash" "$(sed 's/.*hash=//' "$SY_TMP/one" | sort -u | grep -c .)" 1 ||
            diag "$(cat "$SY_TMP/one")"
    done
done
n_hashes=$(sed 's/.*hash=//' "$lines" | sort -u | grep -c .)
is "each checkpoint and compute type has a hash of its own" "$n_hashes" $((2 * $#))
done_testing

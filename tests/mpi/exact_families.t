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
: >"$lines"
for r in $ranks; do
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    ok "$# checkpoints run on $r ranks" \
        sh -c '"$@" >>"$0"' "$lines" $MPIRUN -n "$r" "$SY_BUILDDIR/tests/mpi/exact_hash" --each "$@" </dev/null
done
for folder in "$@"; do
    model=${folder##*/}
    for compute in f32 bf16; do
        grep "^$compute .* model=$model " "$lines" >"$SY_TMP/one"
        is "$model, $compute: 16 runs over ranks, prefill chunks and batches" "$(grep -c . "$SY_TMP/one")" 16
        is "$model, $compute: one hash" "$(sed 's/.*hash=//' "$SY_TMP/one" | sort -u | grep -c .)" 1 ||
            diag "$(cat "$SY_TMP/one")"
    done
done
n_hashes=$(sed 's/.*hash=//' "$lines" | sort -u | grep -c .)
is "each checkpoint and compute type has a hash of its own" "$n_hashes" $((2 * $#))
done_testing

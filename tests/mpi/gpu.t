#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# gpu.t - whole models on a GPU, which ranks share: weights, goldens, draws, the same bits on 1, 2 and 4 ranks, perplexity
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo
SWITCHYARD_DEVICE=cuda
export SWITCHYARD_DEVICE

switchyard run -m "$demo" -p "In the beginning God" -n 5 --temperature 0
why=$(sed -n 's/.*no GPU can be used here: //p' "$SY_TMP/err")
[ -z "$why" ] || skip_all "no GPU can be used: $why"
is "a prompt: exit code" "$rc" 0
is "a prompt: the text" "$(cat "$SY_TMP/out")" ", and the Lord Jesus"
has "a prompt: the GPU is named" "$(cat "$SY_TMP/err")" "rank 0 on GPU "

# A test of this folder on the GPU: what of it failed is shown.
on_gpu() { # COMMAND...
    "$@" </dev/null >"$SY_TMP/log" 2>&1 || {
        diag "$(grep -E -A4 '^not ok|Bail out' "$SY_TMP/log" | grep -v '^ok')"
        return 1
    }
}

for n in 1 2 3; do
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    ok "goldens on $n ranks" on_gpu $MPIRUN -n $n "$SY_BUILDDIR/tests/mpi/golden.np$n.t"
done
for n in 1 2; do
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    ok "weights of every family in the GPU's memory, on $n ranks" \
        on_gpu $MPIRUN -n $n "$SY_BUILDDIR/tests/mpi/landing.np$n.t"
done
# shellcheck disable=SC2086 # MPIRUN is a command with arguments
ok "tokens drawn from what is picked" on_gpu $MPIRUN -n 1 "$SY_BUILDDIR/tests/mpi/draws.np1.t"
SY_EXACT_RANKS="1 2 4"
export SY_EXACT_RANKS
ok "the same bits over 1, 2 and 4 ranks, chunks, batches, preemption" on_gpu sh "$SY_SRCDIR/tests/mpi/exact.t"
ok "the same bits by the ways between GPUs" on_gpu sh "$SY_SRCDIR/tests/mpi/exact_gpus.t"
ok "the same bits through UCX" on_gpu sh "$SY_SRCDIR/tests/mpi/exact_ucx.t"

for n in 1 2 4; do
    switchyard_ranks $n score -m "$demo" -i "$demo/heldout.jsonl" -o "$SY_TMP/scores.$n" --truncate 512
    is "scores on $n ranks: exit code" "$rc" 0
    has "scores on $n ranks: within 0.5 % of the reference's perplexity of 10.52" \
        "$(sed -n 's/.*perplexity \([0-9.]*\)$/\1/p' "$SY_TMP/err" | awk '{ print $1 > 10.468 && $1 < 10.573 ? "yes" : $1 }')" yes
    sort "$SY_TMP/scores.$n" >"$SY_TMP/sorted.$n"
done
ok "scores of 1 and 2 ranks are equal" cmp "$SY_TMP/sorted.1" "$SY_TMP/sorted.2"
ok "scores of 1 and 4 ranks are equal" cmp "$SY_TMP/sorted.1" "$SY_TMP/sorted.4"

switchyard bench layer --shape small --layers 2 --tokens 1,40 --reps 2 --probe-bytes 2M --json "$SY_TMP/layer.json"
is "a replayed layer: exit code" "$rc" 0
has "a replayed layer: a line for each number of tokens" "$(sed -n '/^replayed/,$p' "$SY_TMP/out" | grep -c '^layer')" 2
has "a replayed layer: within 1e-2 of FP32" \
    "$(grep -o '"relative_error": *[0-9.e-]*' "$SY_TMP/layer.json" | awk '{ n += $2 > 0 && $2 < 0.01 } END { print n }')" 2
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact.t - the same logits, bit for bit, on any number of ranks and however the work is cut
. "${SY_SRCDIR:=.}/tests/sh-tap.sh"

program=$SY_BUILDDIR/tests/mpi/exact_hash
ranks=${SY_EXACT_RANKS:-1 2 3 4 5 8}
few_ranks=${SY_EXACT_RANKS:-1 3} # where only attention is of another kind
near_ranks=${SY_EXACT_RANKS:-2 5} # by transports of GPUs
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
    is "$compute: a combine in the wrong order changes the hash" \
        "$(hashes "$compute-reversed" | grep -c "$(hashes "$compute")")" 0
done

# Through UCX, by puts and by active messages and rings of 2, 3 and 16 slots, the hash of all others.
by_ucx() { # N
    for lanes in all tcp,self; do
        # shellcheck disable=SC2086 # MPIRUN is a command with arguments
        UCX_TLS=$lanes $MPIRUN -n "$1" "$program" tests/data/demo ucx </dev/null >>"$SY_TMP/ucx" || return
    done
}

if "$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]'; then
    for r in $ranks; do
        ok "ucx: $r ranks" by_ucx "$r"
    done
    for compute in f32 bf16; do
        is "$compute: through ucx the same hash" "$(sed -n "s/^$compute .*hash=//p" "$SY_TMP/ucx" | sort -u)" \
            "$(hashes "$compute")"
    done
else
    skip "through ucx the same hash" "built without UCX"
fi
# Between GPUs, or on CPUs between processes that lend and carry memory as GPUs do. NCCL wants a GPU for each rank; direct and
# direct-ucx are mpi and ucx between GPUs, which go through the host's memory where the library does not take that of GPUs.
direct=direct
! "$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]' || direct="direct direct-ucx"
for transport in ipc nccl $direct; do
    for r in $near_ranks; do
        # shellcheck disable=SC2086 # MPIRUN is a command with arguments
        $MPIRUN -n "$r" "$program" tests/data/demo $transport </dev/null >>"$SY_TMP/$transport" 2>"$SY_TMP/err"
        rc=$?
        why=$(grep -o 'NCCL is not here.*\|ranks [0-9]* and [0-9]* share a GPU' "$SY_TMP/err")
        [ -z "$why" ] || skip "$transport: $r ranks" "$why"
        [ -n "$why" ] || is "$transport: $r ranks" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    done
    for compute in f32 bf16; do
        is "$compute: through $transport the same hash" \
            "$(sed -n "s/^$compute .*hash=//p" "$SY_TMP/$transport" | sort -u)" \
            "$(test -s "$SY_TMP/$transport" && hashes "$compute")"
    done
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

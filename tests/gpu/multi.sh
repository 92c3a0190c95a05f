#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# multi.sh - one run on the GPUs of one machine: transports are right and fast, ranks hide their exchanges, and a lost one ends it
#
# usage: tests/gpu/multi.sh [PART]...     from the build folder after `make check-programs`; ends with a table
#
# Parts: machine, right, rows, overlap, scaling, lost. Each shows its lines of the table and how long it took when it is done.
# All of them are to take under nine minutes.
# One rank on each GPU; with one GPU two ranks share it, and what that cannot show is skipped. Figures of NCCL's own all-to-all
# need a python3 with PyTorch.

: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun --oversubscribe}"
# Multicast of NVLink is not what this is about.
: "${NCCL_NVLS_ENABLE:=0}"
SWITCHYARD_DEVICE=cuda
export SY_SRCDIR SY_BUILDDIR MPIRUN SWITCHYARD_DEVICE NCCL_NVLS_ENABLE
# shellcheck source=tests/sh-tap.sh
. "$SY_SRCDIR/tests/sh-tap.sh"

for part in "$@"; do
    case $part in
    machine | right | rows | overlap | scaling | lost) ;;
    *)
        echo "multi.sh: $part: parts are machine, right, rows, overlap, scaling, lost" >&2
        exit 64
        ;;
    esac
done
parts=" ${*:-machine right rows overlap scaling lost} "
began=$(date +%s)
demo=$SY_SRCDIR/tests/data/demo
table=$SY_TMP/table
n_shown=0 # lines of it
n_gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
[ "$n_gpus" -gt 0 ] || skip_all "nvidia-smi lists no GPU"
ranks=
for n in 2 4 8; do
    [ "$n" -gt "$n_gpus" ] || ranks="$ranks $n" most=$n
done
if [ -z "$ranks" ]; then
    ranks=2 most=2
    diag "one GPU, which two ranks share: figures are of that"
fi

line() { # TEXT...: of the table
    printf '%s\n' "$*" >>"$table"
}

seconds() { # SINCE
    echo $(($(date +%s) - $1))
}

wanted() { # PART
    case $parts in
    *" $1 "*) return 0 ;;
    *) return 1 ;;
    esac
}

show() { # what is new in the table
    diag "$(tail -n +$((n_shown + 1)) "$table")"
    n_shown=$(wc -l <"$table")
}

switchyard_ranks "$most" doctor --transport nccl
no_nccl=
[ "$rc" -eq 0 ] || no_nccl=$(sed -n 's/.*--transport nccl: //p' "$SY_TMP/err" | head -n 1)
near="ipc nccl"
[ -z "$no_nccl" ] || near=ipc
# By messages: those that bring rows from GPU to GPU, and all.
direct='' messages=''
for transport in mpi ucx; do
    switchyard_ranks "$most" doctor --transport "$transport"
    [ "$rc" -ne 0 ] || messages="$messages $transport"
    ! grep -q ', from GPU to GPU) for ' "$SY_TMP/out" || direct="$direct $transport"
done
transports="$near$messages"

# What is there, and whether `switchyard topo` sees it as nvidia-smi does.
check_machine() {
    nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | sort | uniq -c >"$SY_TMP/gpus"
    line "GPUs:$(cat "$SY_TMP/gpus")"
    diag "$(nvidia-smi topo -m 2>/dev/null)"
    switchyard_ranks "$most" doctor
    is "doctor on $most ranks: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    line "auto:$(sed -n 's/^transports of rank 0://p' "$SY_TMP/out")"
    "$SY_SRCDIR/tests/launch/topo.t" >"$SY_TMP/log" 2>&1
    is "switchyard topo, beside nvidia-smi too" $? 0 || diag "$(grep -v '^ok' "$SY_TMP/log")"
    switchyard topo
    line "topo: $(head -n 1 "$SY_TMP/out")"
}

# Transports carry rows, and every number of ranks has the bits of one.
check_right() {
    for n in $ranks; do
        # shellcheck disable=SC2086 # MPIRUN is a command with arguments
        timeout -k 10 60 $MPIRUN -n "$n" "$SY_BUILDDIR/tests/mpi/windows.np$n.t" </dev/null >"$SY_TMP/log" 2>&1
        is "$n ranks: rows by every transport" $? 0 || diag "$(grep -v '^ok' "$SY_TMP/log")"
        why=$(sed -n 's/^ok .*# SKIP //p' "$SY_TMP/log")
        [ -z "$why" ] || skip "$n ranks: rows by one of them" "$why"
    done
    # shellcheck disable=SC2086
    timeout -k 10 100 $MPIRUN -n 2 "$SY_BUILDDIR/tests/mpi/golden.np2.t" </dev/null >"$SY_TMP/log" 2>&1
    is "2 ranks: logits of all families" $? 0 || diag "$(grep -v '^ok' "$SY_TMP/log")"
    for n in 1 $ranks; do
        for transport in $transports; do
            # shellcheck disable=SC2086
            timeout -k 10 100 $MPIRUN -n "$n" "$SY_BUILDDIR/tests/mpi/exact_hash" "$demo" "$transport" </dev/null \
                >"$SY_TMP/hashes" 2>"$SY_TMP/err"
            is "$n ranks, $transport: the demo model runs" $? 0 || diag "$(cat "$SY_TMP/err")"
            cat "$SY_TMP/hashes" >>"$SY_TMP/all"
        done
    done
    for compute in f32 bf16; do
        is "$compute: one hash of logits in all runs" \
            "$(sed -n "s/^$compute ranks.*hash=//p" "$SY_TMP/all" | sort -u | grep -c .)" 1
    done
}

# Rows of one layer to the experts and back.
measure_rows() {
    line "rows of a layer on $most ranks, hidden 7168, 8 of 256 experts, BF16: us to the experts and back (GB/s)"
    line "published for 8 GPUs and 128 tokens (FP8 to the experts): 42.6 by DeepEP and 64.2 by pplx-garden"
    for transport in $transports; do
        reps=3
        case " $messages " in *" $transport "*) reps=1 ;; esac
        name=$transport
        case " $direct " in *" $transport "*) name="$transport, direct" ;; esac
        SY_RUN_TIMEOUT=60 switchyard_ranks "$most" bench dispatch --transport "$transport" --hidden 7168 --experts 256 \
            --active 8 --tokens 1,8,64,128,4096 --reps "$reps"
        is "$most ranks, $transport: bench dispatch" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
        awk -v name="$name" '
            $2 == "dispatch" { to[$1] = $4 " (" $7 ")"; if (!n[$1]++) order[++k] = $1 }
            $2 == "combine" { back[$1] = $4 " (" $7 ")" }
            END {
                for (i = 1; i <= k; i++)
                    printf "%-12s %5d tokens %18s %18s\n", name, order[i], to[order[i]], back[order[i]]
            }
        ' "$SY_TMP/out" >>"$table"
    done
    alltoall=$SY_SRCDIR/tests/gpu/alltoall.py
    if [ "$n_gpus" -lt 2 ]; then
        skip "NCCL's own all-to-all" "one GPU"
    elif ! python3 -c 'import torch' 2>/dev/null; then
        skip "NCCL's own all-to-all" "no python3 with PyTorch"
    else
        # shellcheck disable=SC2086
        timeout -k 10 90 $MPIRUN -n "$most" python3 "$alltoall" "tcp://127.0.0.1:$((20000 + $$ % 20000))" 7168 8 \
            1 8 64 128 4096 </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
        is "$most ranks: NCCL's own all-to-all" $? 0 || diag "$(tail -n 20 "$SY_TMP/err")"
        awk 'NF == 3 { printf "%-12s %5d tokens %18s %18s\n", "all-to-all", $1, $2, $3 }' "$SY_TMP/out" >>"$table"
    fi
}

# Exchange behind computing.
measure_overlap() {
    line "overlap of a layer on $most ranks (1: the shorter of exchange and computing is hidden whole)"
    for transport in $near; do
        for shape in qwen3-30b-a3b deepseek-v3-experts; do
            SY_RUN_TIMEOUT=90 switchyard_ranks "$most" bench layer --shape "$shape" --layers 2 --reps 3 \
                --transport "$transport" --tokens $((128 * most)),$((1024 * most)),$((4096 * most))
            is "$most ranks, $transport: bench layer of $shape" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
            line "$shape, $transport"
            sed -n "s/^layer  *\([0-9]*\)  *\(exchange alone.*\)/\1 tokens: \2/p" "$SY_TMP/out" >>"$table"
        done
    done
}

# More GPUs.
measure_scaling() {
    line "a model of 8 of Qwen3-30B-A3B's layers, prompts of 2048 tokens and 32 sequences for each rank: tokens/s"
    for n in 1 $ranks; do
        SY_RUN_TIMEOUT=90 switchyard_ranks "$n" bench model --shape qwen3-30b-a3b --layers 8 --prefill "${n}x2048" \
            --decode $((32 * n)) --context 128 --reps 2 --max-tokens-per-step 2048 --prefill-chunk 2048
        is "$n ranks: bench model" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
        awk -v n="$n" '($1 == "prefill" || $1 == "decode") && $3 > 0 && $3 + 0 == $3 {
            printf "%d ranks: %s %s, %s, %.0f for each rank\n", n, $1, $2, $3, $3 / n }' "$SY_TMP/out" >>"$table"
    done
}

# Rank 1 is stopped or killed once the job has run for a while; it says when.
lose() { # SIGNAL TRANSPORT
    rm -f "$SY_TMP/lost"
    # shellcheck disable=SC2016,SC2086 # the rank's own shell knows its rank
    timeout -k 10 60 $MPIRUN -n 2 sh -c 'signal=$1; shift
        [ "$OMPI_COMM_WORLD_RANK" = 0 ] || { (sleep 12; date +%s >"$0"; kill -"$signal" $$; sleep 20; kill -9 $$) & }
        exec "$@"' "$SY_TMP/lost" "$1" "$SY_BUILDDIR/switchyard" bench model --shape small --layers 4 --prefill none \
        --decode 32 --generate 64 --reps 1000 --timeout 3 --transport "$2" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
    took=$(($(date +%s) - $(cat "$SY_TMP/lost" || echo 0)))
}

# A rank that is gone ends the job with its name.
check_lost() {
    for transport in $near $direct; do
        lose STOP "$transport"
        is "$transport, a rank that is stopped: exit code" "$rc" 69 || diag "$(cat "$SY_TMP/err")"
        ok "$transport, a rank that is stopped: it is named" grep -Eq "(from|for) rank 1 \(" "$SY_TMP/err"
        ok "$transport, a rank that is stopped: within its deadline of 3 s and 5 more ($took)" test "$took" -le 8
        why=$(grep -Eo '[^:]*: no (progress|answer) .*|[^:]* has not sent or taken rows .*' "$SY_TMP/err" | head -n 1)
        line "$transport, rank 1 stopped: after $took s: $why"
    done
    for transport in ipc $direct; do
        lose KILL "$transport"
        is "$transport, a rank that is killed: exit code" "$rc" 137
        ok "$transport, a rank that is killed: at once ($took s)" test "$took" -le 5
    done
}

for part in machine right rows overlap scaling lost; do
    wanted "$part" || continue
    part_began=$(date +%s)
    line ""
    case $part in
    machine) check_machine ;;
    right) check_right ;;
    rows) measure_rows ;;
    overlap) measure_overlap ;;
    scaling) measure_scaling ;;
    lost) check_lost ;;
    esac
    line "$part: $(seconds "$part_began") s"
    show
done

line ""
line "all of it in $(seconds "$began") s"
diag "$(cat "$table")"
done_testing

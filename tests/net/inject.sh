#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# inject.sh - random faults in the steps of jobs of 4 ranks: each ends in time, is named, and leaves nothing half done
#
# usage: tests/net/inject.sh [COUNT [FIRST]]     (60, 1; from the build folder)
#
# A fault is a rank killed, a rank stopped, or a node's link cut, at a random moment of a job on 2 nodes of 2 ranks, on
# 4 of 1, or (not for links) on 1 of 4. The seed and an index say all of it, but the moment in the steps, which depends
# on the machine: SY_SEED=7 tests/net/inject.sh 1 23 replays number 23 of seed 7.
#
# mpirun runs on node 0. When that is cut off, what ranks of other nodes say cannot arrive, and for node 0 all others
# are gone: one of its ranks must name a rank beyond the cut.

: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun}"
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
# shellcheck source=tests/net/net.sh
. "$SY_SRCDIR/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"
# shellcheck source=tests/net/requests.sh
. "$SY_SRCDIR/tests/net/requests.sh"

count=${1:-60}
first=${2:-1}
seed=${SY_SEED:-$(date +%s)}
limit_ms=10000
moment_ms=1000 # the job has some seconds of steps

draw() { # N: $drawn is one of 0 to N - 1; the same with every shell and awk
    random=$(((random * 1103515245 + 12345) % 2147483648))
    drawn=$((random / 65536 % $1))
}

choose() { # INDEX: where, what, whom and when
    random=$(((seed * 69069 + $1 * 7919) % 2147483648))
    draw 3
    draw 3
    case $drawn in
    0) nodes=2 ;;
    1) nodes=4 ;;
    2) nodes=1 ;;
    esac
    per_node=$((4 / nodes))
    draw $((nodes > 1 ? 3 : 2))
    case $drawn in
    0) kind="kill" ;;
    1) kind="stop" ;;
    2) kind="cut" ;;
    esac
    draw 4
    rank=$drawn
    node=$((rank / per_node))
    draw "$moment_ms"
    delay_ms=$drawn
    what="$nodes x $per_node ranks, $kind rank $rank"
    [ "$kind" != cut ] || what="$nodes x $per_node ranks, cut nd$node"
}

inject() {
    case $kind in
    kill) send_signal KILL "$rank" ;;
    stop) send_signal STOP "$rank" ;;
    cut) net_link "$node" down ;;
    esac
}

named() {
    case $kind in
    kill)
        grep -q -e "rank $rank .*on node nd$node exited on signal 9" -e "2000 ms.* rank $rank (nd$node)" "$SY_TMP/err"
        ;;
    stop) grep -q "2000 ms.* rank $rank (nd$node)" "$SY_TMP/err" ;;
    cut)
        if [ "$node" -eq 0 ]; then
            grep -q "rank [0-3] (nd0): .*2000 ms.* rank [0-3] (nd[1-3])" "$SY_TMP/err"
        else
            grep -q "2000 ms.* rank [0-3] (nd$node)" "$SY_TMP/err"
        fi
        ;;
    esac
}

left() { # what runs on the nodes
    for node_i in 0 1 2 3; do
        net_pids $node_i
    done
}

elapsed_ms() {
    echo $((($(date +%s%N) - begin) / 1000000))
}

deserted_in_time() {
    until [ -z "$(left)" ]; do
        [ "$(elapsed_ms)" -le $limit_ms ] || return
        sleep 0.05
    done
}

# After the end, in time or not: a line for each thing that is not as it must be.
complaints() {
    [ "$ms" -le $limit_ms ] || echo "it took $ms ms"
    [ "$rc" -ne 0 ] || echo "exit code 0"
    named || echo "the message does not name it"
    "$jsonl" lines "$SY_TMP/lines" >/dev/null 2>&1 || echo "a line is not whole: $("$jsonl" lines "$SY_TMP/lines" 2>&1)"
    [ "$(wc -l <"$SY_TMP/lines")" -lt "$(wc -l <"$SY_TMP/in")" ] || echo "the job was over"
    [ -z "$remains" ] || echo "still there: $remains"
}

one() { # INDEX
    choose "$1"
    net_place "$nodes" "$per_node"
    rm -f "$SY_TMP/lines"
    job_start 4 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --timeout 2
    wait_for 30 has_lines "$SY_TMP/lines" 1 || diag "no progress: $(cat "$SY_TMP/err")"
    sleep "$((delay_ms / 1000)).$(printf %03d $((delay_ms % 1000)))"
    begin=$(date +%s%N)
    inject || diag "could not $kind"
    job_end
    ms=$(elapsed_ms)
    remains=
    # shellcheck disable=SC2046 # process ids
    deserted_in_time || remains=$(ps -o pid=,stat=,args= -p $(left | paste -s -d ,))
    found=$(complaints)
    [ -z "$found" ]
    tap_result $? "$1 of seed $seed: $what after $delay_ms ms: ended in $ms ms" || diag "$found
$(cat "$SY_TMP/err")"
    echo "$kind $ms" >>"$SY_TMP/times"
    [ "$kind" != cut ] || net_link "$node" up
    for node_i in 0 1 2 3; do
        net_kill $node_i
    done
}

summary() {
    for kind in kill stop cut; do
        sed -n "s/^$kind //p" "$SY_TMP/times" | sort -n | awk -v kind=$kind '{ ms[NR] = $1 }
            END {
                if (NR)
                    printf "# %s: %d, to the end median %d ms, longest %d ms\n", kind, NR, ms[int((NR + 1) / 2)], ms[NR]
            }'
    done
}

net_up 4 || skip_all "$net_why"
write_requests "$SY_TMP/in"
echo "# SY_SEED=$seed"
plan "$count"
for index in $(seq "$first" $((first + count - 1))); do
    one "$index"
done
summary
net_down
done_testing

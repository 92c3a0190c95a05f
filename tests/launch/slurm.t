#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# slurm.t - launch/slurm and switchyard-run in a real Slurm of two nodes: by mpirun, by srun, as an array, and requeued

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"
# shellcheck source=tests/launch/slurm.sh
. "$SY_SRCDIR/tests/launch/slurm.sh"

net_up 2 || skip_all "$net_why"
slurm_up || skip_all "no Slurm here: $net_why"
batch=$SY_SRCDIR/launch/slurm
program=$SY_BUILDDIR/switchyard
LAUNCH="$SY_SRCDIR/launch/switchyard-run --program $program"
# Ranks share two cores.
SWITCHYARD_THREADS=1
SWITCHYARD_COMPUTE=f32
export LAUNCH SWITCHYARD_THREADS SWITCHYARD_COMPUTE

requests() { # N MAX-TOKENS
    awk -v n="$1" -v most="$2" 'BEGIN {
        for (i = 1; i <= n; i++)
            printf "{\"custom_id\":\"r%04d\",\"prompt\":\"The \",\"max_tokens\":%d,\"ignore_eos\":true,\"seed\":%d}\n",
                i, most - i % 8, i
    }'
}

net_place 1 1
alone() { # REQUESTS ANSWERS OPTION...: of one rank without Slurm
    alone_in=$1 alone_out=$2
    shift 2
    rm -f "$SY_TMP/alone"
    switchyard_ranks 1 run -m "$demo" -i "$alone_in" -o "$SY_TMP/alone" "$@"
    answers "$SY_TMP/alone" >"$alone_out"
}

state_of() { # JOB
    slurm scontrol show job "$1" | sed -n 's/^ *JobState=\([A-Z]*\).*/\1/p'
}

ended() { # JOB
    case $(state_of "$1") in
    COMPLETED | FAILED | TIMEOUT | CANCELLED | NODE_FAIL) ;;
    *) return 1 ;;
    esac
}

finish() { # NAME JOB SECONDS LOG
    wait_for "$3" ended "$2"
    is "$1: state" "$(state_of "$2")" COMPLETED || diag "$(tail -n 20 "$4")"
}

expect() { # NAME RESULTS EXPECTED
    answers "$2" >"$SY_TMP/found"
    ok "$1: every line once, as alone" diff "$3" "$SY_TMP/found"
}

# ---- work for longer than the time limit, which goes on beside all else ----

# In the first run requests come one after the other, or a fast machine would be done before the signal.
requests 400 20 >"$SY_TMP/many"
mkfifo "$SY_TMP/slowly"
cat >"$SY_TMP/slow_at_first" <<END
#!/bin/sh
if [ -z "\${SLURM_RESTART_COUNT:-}" ]; then
    while read -r line; do
        echo "\$line"
        sleep 0.2
    done <"$SY_TMP/many" >"$SY_TMP/slowly" &
    set -- "\$@" --in "$SY_TMP/slowly"
fi
exec $LAUNCH "\$@"
END
chmod +x "$SY_TMP/slow_at_first"
long=$(LAUNCH=$SY_TMP/slow_at_first slurm_submit --time=1 --signal=B:USR1@20 -o "$SY_TMP/long.log" \
    "$batch/requeue.sh" "$demo" "$SY_TMP/many" "$SY_TMP/long.jsonl")
ok "a long job is taken" test -n "$long"

# ---- one job by mpirun, one by srun ----

requests 8 20 >"$SY_TMP/few"
alone "$SY_TMP/few" "$SY_TMP/expected"
is "alone: each request has an answer" "$(wc -l <"$SY_TMP/expected")" 8
single() { # NAME LAUNCH RANKS
    id=$(LAUNCH=$2 slurm_submit -o "$SY_TMP/$1.log" -N 2 --ntasks=3 --ntasks-per-node=2 "$batch/single.sh" "$demo" \
        "$SY_TMP/few" "$SY_TMP/$1.jsonl")
    finish "$1" "$id" 60 "$SY_TMP/$1.log"
    expect "$1" "$SY_TMP/$1.jsonl" "$SY_TMP/expected"
    has "$1: ranks" "$(cat "$SY_TMP/$1.log")" "$3 ranks on 2 nodes"
}
single run-mpirun "$LAUNCH" 3
single run-srun "$LAUNCH --srun" 3
# It goes by what a node has room for.
single plain-mpirun "mpirun $program" 4
single plain-srun "srun --mpi=pmix $program" 3

# ---- nodes of the allocation by a cluster file ----

cat >"$SY_TMP/cluster.yaml" <<END
switchyard_cluster: 1
name: nodes
device_types: {cores: {kind: cpu}}
node_types:
  one: {devices: [{id: cpu0, type: cores}]}
  two: {devices: [{id: "cpu[0-1]", type: cores}]}
nodes: [{name: nd1, type: two}, {name: nd0, type: one}]
END
# Then a node that is not in the allocation, and an srun whose ranks get no PMIx.
cat >"$SY_TMP/srun" <<END
#!/bin/sh
for word in "\$@"; do
    shift
    [ "\$word" != --mpi=pmix ] || word=--mpi=none
    set -- "\$@" "\$word"
done
exec srun "\$@"
END
chmod +x "$SY_TMP/srun"
cat >"$SY_TMP/cluster" <<END
#!/bin/sh
$LAUNCH --cluster "$SY_TMP/cluster.yaml" doctor
$LAUNCH --hosts nd0,nd7 doctor
SRUN=$SY_TMP/srun $LAUNCH --srun doctor
END
cluster=$(slurm_submit -o "$SY_TMP/cluster.log" -N 2 --ntasks-per-node=2 "$SY_TMP/cluster")
wait_for 60 ended "$cluster"
places=$(awk '/^ *[0-9]+  nd/ { print $1 $2 }' "$SY_TMP/cluster.log" | paste -sd ' ' -)
is "a cluster file: where ranks are" "$places" "0nd1 1nd1 2nd0"
has "no PMIx" "$(cat "$SY_TMP/cluster.log")" \
    "switchyard-run: the ranks that srun starts do not find one another"
has "a node of others" "$(cat "$SY_TMP/cluster.log")" "switchyard-run: Slurm cannot start a step on nd0,nd7"

# ---- an array, a line of options each ----

printf '%s\n' "--temperature 0" "--temperature 0.5" "--temperature 0.5 --top-k 1" >"$SY_TMP/options"
array=$(slurm_submit --array=1-4 -o "$SY_TMP/array.%a.log" "$batch/array.sh" "$demo" "$SY_TMP/few" "$SY_TMP/options" \
    "$SY_TMP/array")
for task in 1 2 3; do
    finish "array: task $task" "${array}_$task" 60 "$SY_TMP/array.$task.log"
    # shellcheck disable=SC2046 # options
    alone "$SY_TMP/few" "$SY_TMP/expected.$task" $(sed -n "${task}p" "$SY_TMP/options")
    expect "array: task $task" "$SY_TMP/array/$task.jsonl" "$SY_TMP/expected.$task"
done
ok "array: the options make a difference" test -n "$(comm -3 "$SY_TMP/expected.1" "$SY_TMP/expected.2")"
wait_for 30 ended "${array}_4"
is "array: a task without a line" "$(state_of "${array}_4")" FAILED
has "array: which it says" "$(cat "$SY_TMP/array.4.log")" "options has no line 4"

# ---- drained by hand, ranks by srun ----

requests 80 200 >"$SY_TMP/some"
by_hand=$(LAUNCH="$LAUNCH --srun" slurm_submit -o "$SY_TMP/hand.log" "$batch/requeue.sh" "$demo" "$SY_TMP/some" \
    "$SY_TMP/hand.jsonl" --max-sequences 4)
ok "by srun: some answers" wait_for 60 has_lines "$SY_TMP/hand.jsonl" 3
slurm scancel --batch --signal=USR1 "$by_hand"

# ---- both end ----

went_on() { # NAME JOB
    finish "$1" "$2" 150 "$SY_TMP/$1.log"
    has "$1: it drained" "$(cat "$SY_TMP/$1.log")" "drained: "
    has "$1: and went back to the queue" "$(cat "$SY_TMP/$1.log")" "back to the queue"
    ok "$1: it ran again" test "$(slurm scontrol show job "$2" | sed -n 's/.*Restarts=\([0-9]*\).*/\1/p')" -ge 1
    diag "$(grep "drained: " "$SY_TMP/$1.log")"
}
went_on hand "$by_hand"
alone "$SY_TMP/some" "$SY_TMP/expected"
expect hand "$SY_TMP/hand.jsonl" "$SY_TMP/expected"
went_on long "$long"
alone "$SY_TMP/many" "$SY_TMP/expected"
expect long "$SY_TMP/long.jsonl" "$SY_TMP/expected"
slurm_down
net_down
done_testing

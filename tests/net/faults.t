#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# faults.t - on two nodes: ranks stopped, killed and cut off, of another version, with another model; each is named in time

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"
# shellcheck source=tests/net/requests.sh
. "$SY_SRCDIR/tests/net/requests.sh"

net_up 2 || skip_all "$net_why"
net_place 2 2
write_requests "$SY_TMP/in"

begin_job() { # NAME: until some answers are there
    rm -f "$SY_TMP/lines"
    job_start 4 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --timeout 2
    wait_for 30 has_lines "$SY_TMP/lines" 3 || diag "$1: no progress: $(cat "$SY_TMP/err")"
    begin=$(date +%s%N)
}

end_job() { # NAME
    job_end
    ms=$((($(date +%s%N) - begin) / 1000000))
    ok "$1: the job ends within 10 s (after $ms ms)" test "$ms" -le 10000
    ok "$1: no half line" "$jsonl" lines "$SY_TMP/lines"
    ok "$1: and it was in the middle of its work" test "$(wc -l <"$SY_TMP/lines")" -lt "$(wc -l <"$SY_TMP/in")"
}

says() { # NAME PATTERN
    ok "$1" grep -q "$2" "$SY_TMP/err" || diag "$(cat "$SY_TMP/err")"
}

deserted() { # nothing runs on the nodes
    [ -z "$(net_pids 0)$(net_pids 1)" ]
}

begin_job stopped
send_signal STOP 3
end_job stopped
is "stopped: exit code" "$rc" 69
says "stopped: the rank is named, with the deadline" "2000 ms.* rank 3 (nd1)"

begin_job killed
send_signal KILL 2
end_job killed
is "killed: exit code" "$rc" 137
says "killed: the launcher names the rank and the node" "rank 2 .*on node nd1 exited on signal 9"

begin_job "cut off"
net_link 1 down
end_job "cut off"
is "cut off: exit code" "$rc" 137
says "cut off: ranks behind the cut are named, with the deadline" "2000 ms.* rank [23] (nd1)"
says "cut off: why the launcher had to be killed" "switchyard: mpirun (process [0-9]* on nd0) has not ended"
ok "cut off: nothing is left on either side" wait_for 10 deserted || diag "$(net_pids 0) and $(net_pids 1)"
net_link 1 up

net_place 2 1
begin=$(date +%s)
# shellcheck disable=SC2086 # MPIRUN is a command with arguments
(
    sleep 2
    net_link 1 down
    echo
) | timeout -k 5 30 $MPIRUN -n 2 "$SY_BUILDDIR/tests/mpi/fault_job" ended 0 >"$SY_TMP/err" 2>&1
is "ended by another: exit code" "$?" 137
says "ended by another: why the launcher had to be killed" "switchyard: mpirun (process [0-9]* on nd0) has not ended"
ok "ended by another: within 12 s" test $(($(date +%s) - begin)) -le 12
net_link 1 up
net_kill 0
net_kill 1
net_place 2 2

# Open MPI's daemons notice a cut by themselves while nothing is on its way between them.
begin=$(date +%s)
(
    sleep 1.5
    net_link 1 down
) &
# shellcheck disable=SC2086 # MPIRUN is a command with arguments
OMPI_MCA_oob_tcp_keepalive_time=1 OMPI_MCA_oob_tcp_keepalive_intvl=1 OMPI_MCA_oob_tcp_keepalive_probes=2 \
    timeout -k 5 30 $MPIRUN -n 4 sleep 60 </dev/null >"$SY_TMP/out" 2>&1
rc=$?
ok "keep-alive: mpirun ends with an error ($rc)" test "$rc" -ne 0 -a "$rc" -ne 124
ok "keep-alive: within 10 s" test $(($(date +%s) - begin)) -le 10
wait $!
net_link 1 up
net_kill 0
net_kill 1

# ---- what a node has installed ----

run_prompt() {
    switchyard_ranks 4 run -m "$demo" --prompt "The " -n 4 --timeout 10
}

net_on 1 mount --bind "$SY_BUILDDIR/tests/net/other_version" "$SY_BUILDDIR/switchyard"
run_prompt
is "another version: exit code" "$rc" 71 || diag "$(cat "$SY_TMP/err")"
here=$("$SY_BUILDDIR/switchyard" --version | sed -n '1s/switchyard //p')
is "another version: message" "$(grep '^switchyard:' "$SY_TMP/err")" \
    "switchyard: rank 2 (nd1) runs switchyard 0.0.1-other, rank 0 (nd0) runs $here; install the same on all nodes"
switchyard_ranks 4 doctor
is "another version: doctor's exit code" "$rc" 71
has "another version: doctor says so too" "$(cat "$SY_TMP/err")" "runs switchyard 0.0.1-other"
net_on 1 umount "$SY_BUILDDIR/switchyard"

# Headers are the same, all else differs.
shard=$demo/model-00002-of-00002.safetensors
head_bytes=$(($(od -A n -t u8 -N 8 "$shard") + 8))
{
    head -c "$head_bytes" "$shard"
    tail -c +$((head_bytes + 1)) "$shard" | tr '\000-\377' '\001-\377\000'
} >"$SY_TMP/weights"
net_on 1 mount --bind "$SY_TMP/weights" "$shard"
run_prompt
is "another model: exit code" "$rc" 65
says "another model: message" "switchyard: rank 2 (nd1): $shard: tensor .* has other values here than"
net_on 1 umount "$shard"

head -c -4096 "$shard" >"$SY_TMP/weights"
net_on 1 mount --bind "$SY_TMP/weights" "$shard"
run_prompt
is "a model of another size: exit code" "$rc" 65
says "a model of another size: message" "switchyard: rank 2 (nd1): $shard: the file has [0-9]* bytes here"
net_on 1 umount "$shard"

run_prompt
is "all as it was: exit code" "$rc" 0
net_down
done_testing

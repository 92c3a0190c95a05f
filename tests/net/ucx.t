#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ucx.t - the ucx transport between nodes: the same text and bits, what auto makes of it, and a peer that is lost

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"
# shellcheck source=tests/net/prompt.sh
. "$SY_SRCDIR/tests/net/prompt.sh"

"$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]' || skip_all "built without UCX"
net_up 4 || skip_all "$net_why"
# UCX would try loopback between nodes too.
UCX_NET_DEVICES=eth0
export UCX_NET_DEVICES
# shellcheck disable=SC2034 # for net_place
net_launcher="$net_launcher -x UCX_NET_DEVICES"

one_memory='s/(sysv\|(posix/(memory/' # UCX has two ways to share it
net_place 1 1
run_prompt 1
cp "$SY_TMP/out" "$SY_TMP/text"
while read -r nodes per_node expected; do
    name="$nodes nodes with $per_node each"
    net_place "$nodes" "$per_node"
    run_prompt $((nodes * per_node)) --transport ucx
    is "$name: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    ok "$name: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
    is "$name: lanes" "$(transports "$one_memory")" "self for this rank, ucx ($expected (--transport)"
done <<END
2 1 tcp, active messages) for 1 peer
2 2 memory, put; tcp, active messages) for 3 peers
4 1 tcp, active messages) for 3 peers
END

net_place 2 2
run_prompt 4
why="on other nodes; ucx would be tcp, active messages"
is "auto: exit code" "$rc" 0
is "auto: ucx is not taken for active messages" "$(transports "$one_memory")" \
    "self for this rank, shm for 1 peer on this node (they share memory), mpi for 2 peers ($why)"

hashes() { # N TRANSPORT: with rings of 2, 3 and 16 slots
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/exact_hash" "$demo" "$2" </dev/null >>"$SY_TMP/lines"
}

for transport in ucx mpi; do
    while read -r nodes per_node; do
        net_place "$nodes" "$per_node"
        ok "hash of logits by $transport on $nodes nodes with $per_node each" hashes $((nodes * per_node)) $transport
    done <<END
1 2
2 1
2 2
4 1
END
done
for compute in f32 bf16; do
    is "$compute: one hash" "$(sed -n "s/^$compute .*hash=//p" "$SY_TMP/lines" | sort -u | grep -c .)" 1
    is "$compute: in 128 runs" "$(grep -c "^$compute .*hash=" "$SY_TMP/lines")" 128
done

conformance() { # N
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/transport.np$1.t" 1 ucx </dev/null >"$SY_TMP/tap" 2>&1 &&
        ! grep -A 4 "^not ok" "$SY_TMP/tap" && [ "$(grep -c "^ok" "$SY_TMP/tap")" -gt 100 ]
}

net_place 2 2
ok "conformance on 2 nodes with 2 each" conformance 4
net_place 2 1
ok "conformance on 2 nodes with 1 each" conformance 2

# ---- a lost peer, which no launcher tells of ----

mkfifo "$SY_TMP/requests"
exec 7<>"$SY_TMP/requests"
job_start 2 run -m "$demo" -i "$SY_TMP/requests" -o - --compute f32 --transport ucx --timeout 30
echo '{"prompt":"In the beginning God","max_tokens":4}' >&7
ok "a job that waits for requests" wait_for 30 has_lines "$SY_TMP/out" 1
victim=$(cat "$SY_TMP/pid.1")
daemons=$(net_pids 1 | grep -v -x "$victim") # the launcher's there
# shellcheck disable=SC2086 # process ids
kill -STOP $daemons
kill -9 "$victim"
ok "the other rank notices long before its deadline" \
    wait_for 10 grep -q "ucx transport: rank 1 (nd1): is lost: " "$SY_TMP/err"
# shellcheck disable=SC2086 # process ids
kill -CONT $daemons
job_end
ok "and the job ends with an error ($rc)" test "$rc" -ne 0
diag "$(grep "ucx transport" "$SY_TMP/err")"
exec 7>&-
net_down
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# nodes.t - several nodes: the same text and the same bits as one rank, and memory is shared inside a node only

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"
# shellcheck source=tests/net/prompt.sh
. "$SY_SRCDIR/tests/net/prompt.sh"

no_ucx='s/; ucx would be [^)]*//' # what UCX, where it is built in, would have been
net_up 4 || skip_all "$net_why"
net_place 1 1
run_prompt 1
is "one rank: exit code" "$rc" 0
cp "$SY_TMP/out" "$SY_TMP/text"

# ---- text, and which transport serves whom ----

far="on other nodes"
while read -r nodes per_node expected; do
    name="$nodes nodes with $per_node each"
    net_place "$nodes" "$per_node"
    run_prompt $((nodes * per_node))
    is "$name: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    ok "$name: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
    has "$name: nodes are told apart" "$(cat "$SY_TMP/err")" "$((nodes * per_node)) ranks on $nodes nodes"
    is "$name: transports" "$(transports "$no_ucx")" "self for this rank, $expected ($far)"
done <<END
2 1 mpi for 1 peer
2 2 shm for 1 peer on this node (they share memory), mpi for 2 peers
4 1 mpi for 3 peers
4 2 shm for 1 peer on this node (they share memory), mpi for 6 peers
END

net_place 2 2
run_prompt 4 --transport mpi
is "--transport mpi: exit code" "$rc" 0
ok "--transport mpi: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
is "--transport mpi: inside a node too" "$(transports "$no_ucx")" "self for this rank, mpi for 3 peers (--transport)"
run_prompt 4 --transport shm
is "--transport shm: exit code" "$rc" 64
has "--transport shm: what it cannot do" "$(cat "$SY_TMP/err")" \
    "--transport shm cannot reach rank 2 (nd1) from rank 0 (nd0): it is on another node"

run_prompt 4 --no-overlap
is "--no-overlap: exit code" "$rc" 0
ok "--no-overlap: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"

# ---- links of a known rate ----

for rate in 1gbit 100mbit; do
    if net_rate 1 $rate; then
        run_prompt 4
        is "$rate: exit code" "$rc" 0
        ok "$rate: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
        ok "$rate: it went through the bucket" sh -c 'tc -s qdisc show dev p1 | grep -A 1 tbf | grep -q "Sent [1-9]"'
    else
        skip "$rate" "$net_why"
    fi
done
net_rate 1 off

# ---- bits ----

# Beside other tests on two cores this has taken a minute and more; alone it takes four seconds.
hashes() { # N TRANSPORT
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 150 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/exact_hash" "$demo" "$2" </dev/null \
        >"$SY_TMP/one" && cat "$SY_TMP/one" >>"$SY_TMP/lines"
}

# direct: rows by MPI from windows as those of GPUs, without a copy in a ring of the host.
while read -r nodes per_node transport; do
    net_place "$nodes" "$per_node"
    ok "hash of logits on $nodes nodes with $per_node each, $transport" hashes $((nodes * per_node)) "$transport"
done <<END
1 1 auto
2 1 auto
2 2 auto
4 1 auto
2 2 direct
4 1 direct
END
for compute in f32 bf16; do
    found=$(sed -n "s/^$compute .*hash=//p" "$SY_TMP/lines" | sort -u)
    is "$compute: one hash of raw logits on 1, 2 and 4 nodes" "$(echo "$found" | wc -l)" 1 ||
        diag "$(cat "$SY_TMP/lines")"
    is "$compute: in 96 runs" "$(grep -c "^$compute .*hash=" "$SY_TMP/lines")" 96
done

# ---- every transport does what it promises ----

conformance() { # N
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/transport.np$1.t" </dev/null >"$SY_TMP/tap" 2>&1 &&
        ! grep "^not ok" "$SY_TMP/tap" && grep -c "^ok" "$SY_TMP/tap"
}

net_place 2 2
ok "conformance of transports on 2 nodes with 2 each" conformance 4
has "conformance: on several nodes" "$(cat "$SY_TMP/tap")" "fabric: shm alone is refused on several nodes"
net_place 2 1
ok "conformance of transports on 2 nodes with 1 each" conformance 2

# ---- whose memory ----

# Blocks of memory that a rank could write to and others map: device and number of the file, of all ranks of a node.
shared_blocks() { # RANK...
    for r in "$@"; do
        awk '$2 ~ /^.w.s$/ && $5 != 0 { print $4, $5, $6 }' "/proc/$(cat "$SY_TMP/pid.$r")/maps" | sort -u
    done | sort
}

mkfifo "$SY_TMP/requests"
exec 7<>"$SY_TMP/requests"
net_place 2 2
job_start 4 run -m "$demo" -i "$SY_TMP/requests" -o - --compute f32
echo '{"prompt":"In the beginning God","max_tokens":4}' >&7
ok "a job that waits for requests" wait_for 30 has_lines "$SY_TMP/out" 1
for node in 0 1; do
    shared_blocks $((2 * node)) $((2 * node + 1)) >"$SY_TMP/maps.$node"
    ok "node $node: its two ranks share blocks of the program" sh -c 'uniq -d "$1" | grep "memfd:switchyard"' sh \
        "$SY_TMP/maps.$node"
done
is "no block of memory is mapped on two nodes" "$(comm -12 "$SY_TMP/maps.0" "$SY_TMP/maps.1")" ""
send_signal USR1 0 1 2 3
job_end
is "and it drains: exit code" "$rc" 0
exec 7>&-
net_down
done_testing

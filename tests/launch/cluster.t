#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cluster.t - jobs by a cluster file: which CPUs each rank takes, the same answers, and ranks that run elsewhere

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

host=$(hostname | cut -d . -f 1)

# Two devices of this machine, with CPUs $1 and $2; policy $3, and more lines.
write_file() { # FIRST SECOND POLICY LINE...
    cat >"$SY_TMP/c.yaml" <<END
switchyard_cluster: 1
device_types: {part: {kind: cpu}}
node_types: {box: {devices: [{id: "cpu[0-1]", type: part, cpus: ["$1", "$2"]}]}}
nodes: [{name: $host, type: box}]
policy: {discover: $3}
END
    shift 3
    for line; do
        echo "$line" >>"$SY_TMP/c.yaml"
    done
}

# Lines of doctor's about ranks, one after the other.
places() {
    sed -n 's/^place of rank \([0-9]*\): /\1: /p' "$SY_TMP/out" | tr '\n' ';'
}
cpus() {
    sed -n 's/^CPUs of rank \([0-9]*\): /\1: /p' "$SY_TMP/out" | tr '\n' ';'
}

# The first and the last core that this test may use.
switchyard doctor --threads 1 --bind none
cores=$(sed -n 's/^CPUs of rank 0: any of //p' "$SY_TMP/out")
first=$(echo "$cores" | sed 's/[-,].*//')
last=$(echo "$cores" | sed 's/.*[-,]//')
is "without a file: no places" "$(places)" ""

write_file "$first" "$last" off
switchyard_ranks 2 doctor --cluster "$SY_TMP/c.yaml" --threads 1
is "2 ranks: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
is "2 ranks: their places" "$(places)" "0: $host.cpu0 at NUMA node 0;1: $host.cpu1 at NUMA node 0;"
if [ "$first" != "$last" ]; then
    is "2 ranks: their CPUs" "$(cpus)" "0: $first;1: $last;"
    write_file "$first" "$last" fill "ranks: {map: [$host.cpu1, $host.cpu0]}"
    switchyard_ranks 2 doctor --cluster "$SY_TMP/c.yaml" --threads 1
    is "2 ranks the other way: their CPUs" "$(cpus)" "0: $last;1: $first;"
else
    skip "2 ranks: their CPUs" "there is one core"
fi
write_file "$first" "$last" fill "ranks: {count: 1}"
switchyard_ranks 2 doctor --cluster "$SY_TMP/c.yaml"
is "more ranks than the file has: exit code" "$rc" 64
has "more ranks than the file has: why" "$(cat "$SY_TMP/err")" \
    "more ranks than devices: the job has 2, $SY_TMP/c.yaml 1"

# ---- one machine for two nodes of a file ----

write_nodes() { # HOST: three ranks, of which the first and the last are on one node
    cat >"$SY_TMP/nodes.yaml" <<END
switchyard_cluster: 1
device_types: {part: {kind: cpu}}
node_types: {box: {devices: [{id: "cpu[0-1]", type: part}], nics: [{id: nic0, port: eth}]}}
link_types: {eth: {class: ethernet, bw: 10 Gb/s}}
nodes: [{name: "n[0-1]", type: box, host: "$1"}]
fabrics: [{name: lan, kind: fat_tree, port: eth, members: "n[0-1].nic0"}]
ranks: {map: [n0.cpu0, n1.cpu0, n0.cpu1]}
policy: {discover: off}
END
}
write_nodes "*"
switchyard_ranks 3 doctor --cluster "$SY_TMP/nodes.yaml" --threads 1
is "two nodes on this machine: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
has "two nodes on this machine: they are two" "$(cat "$SY_TMP/out")" "3 ranks on 2 nodes"
has "two nodes on this machine: memory is shared in a node of the file" "$(cat "$SY_TMP/out")" \
    "transports of rank 0: self for this rank, shm for 1 peer on this node"
has "two nodes on this machine: and not between nodes" "$(grep '^transports' "$SY_TMP/out")" "on other nodes"
switchyard_ranks 3 doctor --threads 1
has "without the file it is one node" "$(cat "$SY_TMP/out")" "3 ranks on 1 node"
for file in "" "$SY_TMP/nodes.yaml"; do
    switchyard_ranks 3 run --model "$demo" --prompt "The old man" --max-tokens 8 --temperature 0 --threads 1 \
        ${file:+--cluster "$file"}
    is "run on three ranks${file:+, two nodes}: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    cp "$SY_TMP/out" "$SY_TMP/out${file:+.nodes}.text"
done
ok "two nodes on this machine: the same text" cmp "$SY_TMP/out.text" "$SY_TMP/out.nodes.text"

# ---- what a job answers does not depend on it ----

write_file "$first" "$last" fill
for file in "" "$SY_TMP/c.yaml"; do
    switchyard_ranks 2 run --model "$demo" --prompt "The old man" --max-tokens 8 --temperature 0 \
        ${file:+--cluster "$file"}
    is "run${file:+ by a file}: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    cp "$SY_TMP/out" "$SY_TMP/out${file:+.file}.text"
done
ok "the same text" cmp "$SY_TMP/out.text" "$SY_TMP/out.file.text"

# ---- ranks that are not where the file has them ----

sed "s/name: $host/name: elsewhere/" "$SY_TMP/c.yaml" >"$SY_TMP/far.yaml"
switchyard_ranks 2 doctor --cluster "$SY_TMP/far.yaml"
is "another host: exit code" "$rc" 64
has "another host: why" "$(cat "$SY_TMP/err")" \
    "has this rank on node 'elsewhere' (host elsewhere), and it runs on "
sed 's/, type: box}/, type: box, host: "*"}/' "$SY_TMP/far.yaml" >"$SY_TMP/any.yaml"
switchyard doctor --cluster "$SY_TMP/any.yaml"
is "any host: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"

write_file 4095 4095 off
switchyard doctor --cluster "$SY_TMP/c.yaml"
has "CPUs that are not there" "$(cat "$SY_TMP/err")" \
    "warning: rank 0 may use none of the CPUs that $SY_TMP/c.yaml gives it"
is "CPUs that are not there: it takes its own" "$rc" 0

# ---- against the machine ----

write_file "$first" "$last" verify
sed 's/{devices/{numa: 77, devices/; s/cpus:/numa: 0, cpus:/' "$SY_TMP/c.yaml" >"$SY_TMP/numa.yaml"
switchyard_ranks 2 doctor --cluster "$SY_TMP/numa.yaml"
is "another machine: exit code" "$rc" 65
has "another machine: where" "$(cat "$SY_TMP/err")" \
    "$SY_TMP/numa.yaml:3:26: error: node '$host' has 77 NUMA nodes here, and "
switchyard run --model "$demo" --prompt x --cluster "$SY_TMP/none.yaml"
is "no such file: exit code" "$rc" 74
has "no such file: why" "$(cat "$SY_TMP/err")" "$SY_TMP/none.yaml: cannot open: No such file"

# ---- what only machines could add ----

sed '/^fabrics:/,$d' "$SY_SRCDIR/topo/clusters/cpu-eth-16.yaml" >"$SY_TMP/apart.yaml"
switchyard topo --cluster "$SY_TMP/apart.yaml"
is "nodes without a network are shown: exit code" "$rc" 0
has "with a warning" "$(cat "$SY_TMP/err")" \
    "apart.yaml:12:20: warning: rank 2 (c02.cpu0) and rank 0 (c01.cpu0) cannot reach each other"
echo 'policy: {discover: off}' >>"$SY_TMP/apart.yaml"
switchyard topo --cluster "$SY_TMP/apart.yaml"
is "which is an error where no machine is asked: exit code" "$rc" 65
has "at its place" "$(cat "$SY_TMP/err")" "apart.yaml:12:20: error: rank 2 (c02.cpu0) and rank 0 (c01.cpu0) cannot"
done_testing

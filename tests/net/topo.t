#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# topo.t - switchyard topo on several nodes: four trays of one NVLink fabric, each with its own management library

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"

net_up 4 || skip_all "$net_why"
# On node ndN the library of the build folder replays the machine "NAME-N".
cat >"$SY_TMP/there" <<END
FAKE_NVML=$SY_SRCDIR/tests/data/nvml/\$1-\$(hostname | tr -dc 0-9)
LD_LIBRARY_PATH=$SY_BUILDDIR/tests/topo/fake
export FAKE_NVML LD_LIBRARY_PATH
shift
exec "$SY_BUILDDIR/switchyard" topo "\$@"
END

topo() { # RANKS NAME ARGUMENT...
    topo_ranks=$1
    shift
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n "$topo_ranks" sh "$SY_TMP/there" "$@" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

net_place 4 2
topo 8 gb200 --yaml "$SY_TMP/rack.yaml"
is "four nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
is "16 GPUs of one clique are one NVLink domain, however many ranks a node has" "$(head -n 1 "$SY_TMP/out")" \
    "4 nodes, 16 GPUs in 1 NVLink domain, 16 ranks"
for node in nd0 nd1 nd2 nd3; do
    ok "$node is one of them" grep -q "name: \"*$node\"*  *# discovered\|name: .*nd\[0-3\]" "$SY_TMP/rack.yaml"
done
is "their fabric is one" \
    "$(grep -c '^network nvlink-c1a5e700-7: nvlink_domain, 16 ports of 50 GB/s times 18' "$SY_TMP/out")" 1
topo 8 gb200 --cluster "$SY_TMP/rack.yaml"
is "the cluster file of it: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
has "is the same" "$(head -n 1 "$SY_TMP/out")" "4 nodes, 16 GPUs in 1 NVLink domain, 16 ranks"
topo 8 gb200 --check "$SY_TMP/rack.yaml"
is "and agrees with the machines: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
net_place 2 1
topo 2 gb200 --check "$SY_TMP/rack.yaml"
is "with half of them too: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
sed 's/^\( *\)clique: 7 /\1clique: 8 /' "$SY_TMP/rack.yaml" >"$SY_TMP/other.yaml"
topo 2 gb200 --check "$SY_TMP/other.yaml"
is "another clique does not: exit code" "$rc" 65
has "and that is said" "$(cat "$SY_TMP/err")" "other.yaml:"

done_testing

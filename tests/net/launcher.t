#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# launcher.t - launch/switchyard-run on 2 and 4 nodes with unequal ranks: each is on the node and cores it should be

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

net_up 4 || skip_all "$net_why"
# Rank files name cores of the whole machine, so that nodes may use all of it here.
allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
for node in 0 1 2 3; do
    echo "$allowed" >"$SY_NET/cpus.nd$node"
done

launch() { # ARGUMENT...: on node 0, where a user would be
    net_on 0 timeout -k 5 60 "$SY_SRCDIR/launch/switchyard-run" --program "$SY_BUILDDIR/switchyard" \
        --interface 10.77.0.0/24 "$@" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

nodes_of_ranks() { # as doctor's table has them: "nd0 nd1 nd1"
    awk '$1 == "rank" { table = 1 } table && $1 ~ /^[0-9]+$/ { print $2 } NF == 0 { if (table) exit }' "$SY_TMP/out" |
        paste -sd ' ' -
}

cpus_of_ranks() { # "0: 1;1: any of 0-1"
    sed -n 's/^CPUs of rank //p' "$SY_TMP/out" | paste -sd ';' -
}

# One CPU of each core in the order that rank files count them, as doctor has them too.
launch doctor --bind none
is "one rank on this node: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
every=$(sed -n 's/^CPUs of rank 0: any of //p' "$SY_TMP/out")
cpu() { # CORE
    echo "$every" | tr , '\n' | sed 's/-/ /' | while read -r first last; do seq "$first" "${last:-$first}"; done |
        sed -n "$(($1 + 1))p"
}

for list in nd0:1,nd1:2 nd2:1,nd1:2,nd0:1 nd0:2,nd1:1,nd2:1,nd3:3; do
    expected=$(echo "$list" | tr , '\n' | sed 's/:/ /' | while read -r host n; do yes "$host" | head -n "$n"; done |
        paste -sd ' ' -)
    launch --hosts "$list" doctor
    is "--hosts $list: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "--hosts $list: where ranks are" "$(nodes_of_ranks)" "$expected"
done
launch --hosts nd1,nd0,nd1,nd2 doctor
is "hosts in turn: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
is "hosts in turn: where ranks are" "$(nodes_of_ranks)" "nd1 nd0 nd1 nd2"

cluster() { # NODES RANKS: a cluster file of nodes with one and with two devices, each one core
    cat <<END
switchyard_cluster: 1
name: nodes
device_types: {core: {kind: cpu, cores: 1}}
node_types:
  one: {devices: [{id: cpu0, type: core}]}
  two: {devices: [{id: "cpu[0-1]", type: core}]}
nodes: [$1]
ranks: {$2}
END
}

if [ -n "$(cpu 1)" ]; then
    cat >"$SY_TMP/two" <<END
nd0 cores=1
nd1 slots=2 cores=0
END
    launch --hostfile "$SY_TMP/two" doctor
    is "cores on 2 nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "cores on 2 nodes: where ranks are" "$(nodes_of_ranks)" "nd0 nd1 nd1"
    is "cores on 2 nodes: which they are" "$(cpus_of_ranks)" "0: $(cpu 1);1: any of $(cpu 0);2: any of $(cpu 0)"
    cat >"$SY_TMP/four" <<END
nd2 cores=1
nd0 cores=0
nd1 cores=1
nd0 cores=1
nd3 cores=0
nd1 cores=0
END
    launch --hostfile "$SY_TMP/four" doctor
    is "cores on 4 nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "cores on 4 nodes: where ranks are" "$(nodes_of_ranks)" "nd2 nd0 nd1 nd0 nd3 nd1"
    is "cores on 4 nodes: which they are" "$(cpus_of_ranks)" \
        "0: $(cpu 1);1: $(cpu 0);2: $(cpu 1);3: $(cpu 1);4: $(cpu 0);5: $(cpu 0)"
    file="--hostfile $SY_TMP/four"
    cluster "{name: nd0, type: one}, {name: nd1, type: two}" "order: node" >"$SY_TMP/two.yaml"
    launch --cluster "$SY_TMP/two.yaml" doctor
    is "a cluster file of 2 nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "a cluster file of 2 nodes: where ranks are" "$(nodes_of_ranks)" "nd0 nd1 nd1"
    is "a cluster file of 2 nodes: which cores" "$(cpus_of_ranks)" "0: $(cpu 0);1: $(cpu 0);2: $(cpu 1)"
    cluster '{name: "nd[0-3]", type: two}' "map: [nd2.cpu1, nd0.cpu0, nd1.cpu1, nd0.cpu1, nd3.cpu0, nd1.cpu0]" \
        >"$SY_TMP/four.yaml"
    launch --cluster "$SY_TMP/four.yaml" doctor
    is "a cluster file of 4 nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "a cluster file of 4 nodes: where ranks are" "$(nodes_of_ranks)" "nd2 nd0 nd1 nd0 nd3 nd1"
    is "a cluster file of 4 nodes: which devices" \
        "$(sed -n 's/^place of rank [0-9]*: \([^ ]*\).*/\1/p' "$SY_TMP/out" | paste -sd ' ' -)" \
        "nd2.cpu1 nd0.cpu0 nd1.cpu1 nd0.cpu1 nd3.cpu0 nd1.cpu0"
    is "a cluster file of 4 nodes: which cores" "$(cpus_of_ranks)" \
        "0: $(cpu 1);1: $(cpu 0);2: $(cpu 1);3: $(cpu 1);4: $(cpu 0);5: $(cpu 0)"
else
    skip "cores" "two cores are needed"
    file="--hosts nd2,nd0,nd1,nd0,nd3,nd1"
fi

# ---- the same text as one rank ----

launch run -m "$demo" --prompt "In the beginning God" -n 16 --temperature 0 --compute f32
cp "$SY_TMP/out" "$SY_TMP/text"
# shellcheck disable=SC2086 # an option and its value
launch $file run -m "$demo" --prompt "In the beginning God" -n 16 --temperature 0 --compute f32
is "a job on 4 nodes: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
ok "a job on 4 nodes: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
has "a job on 4 nodes: 6 ranks on 4 nodes" "$(cat "$SY_TMP/err")" "6 ranks on 4 nodes"

launch --hosts nd1:2,nd2 --dry-run doctor
net_on 0 sh "$SY_TMP/out" </dev/null >"$SY_TMP/dry" 2>"$SY_TMP/err"
cp "$SY_TMP/dry" "$SY_TMP/out"
is "what --dry-run prints does the same" "$(nodes_of_ranks)" "nd1 nd1 nd2"

# ---- nodes that cannot take part ----

net_on 1 mount --bind "$SY_BUILDDIR/tests/net/other_version" "$SY_BUILDDIR/switchyard"
launch --hosts nd0,nd1 doctor
is "another version: exit code" "$rc" 69
has "another version: is said" "$(cat "$SY_TMP/err")" "switchyard-run: nd1: has switchyard 0.0.1-other, here is "
net_on 1 umount "$SY_BUILDDIR/switchyard"
mkdir "$SY_TMP/empty"
net_on 2 mount --bind "$SY_TMP/empty" "$SY_SRCDIR/tests/data"
launch --hosts nd0,nd1,nd2 run -m "$demo" --prompt a
is "no model on a node: exit code" "$rc" 69
has "no model on a node: is said" "$(cat "$SY_TMP/err")" "switchyard-run: nd2: does not have $demo"
is "no model on a node: and nothing else" "$(grep -c '^switchyard-run: ' "$SY_TMP/err")" 1
net_on 2 umount "$SY_SRCDIR/tests/data"

# ---- through ssh, where everything above went through net.sh's agent ----

keys=$SY_TMP/ssh
start_sshd() { # NODE
    net_on "$1" sh -c 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$0" -f "$1"' "$sshd" "$keys/sshd"
}

through_ssh() {
    mkdir -m 700 "$keys" && ssh-keygen -q -t ed25519 -N "" -f "$keys/host" &&
        ssh-keygen -q -t ed25519 -N "" -f "$keys/user" && cp "$keys/user.pub" "$keys/allowed" || return
    cat >"$keys/sshd" <<END
HostKey $keys/host
AuthorizedKeysFile $keys/allowed
PidFile none
StrictModes no
PermitRootLogin yes
END
    cat >"$keys/config" <<END
Host *
    IdentityFile $keys/user
    IdentitiesOnly yes
    UserKnownHostsFile $keys/known
END
    cat >"$keys/ssh" <<END
#!/bin/sh
exec $(command -v ssh) -F $keys/config "\$@"
END
    chmod +x "$keys/ssh"
    for node in 0 1 2; do
        echo "nd$node $(cat "$keys/host.pub")"
    done >"$keys/known"
    start_sshd 1 && net_on 0 timeout 10 "$keys/ssh" -o BatchMode=yes nd1 true
}

sshd=$(command -v sshd)
if [ -n "$sshd" ] && command -v ssh-keygen >/dev/null && through_ssh >"$SY_TMP/ssh.log" 2>&1; then
    unset OMPI_MCA_plm_rsh_agent
    PATH=$keys:$PATH
    launch --hosts nd0,nd1:2 doctor
    is "ssh: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    is "ssh: where ranks are" "$(nodes_of_ranks)" "nd0 nd1 nd1"
    launch --hosts nd0,nd1,nd2 doctor
    is "ssh: a node without sshd: exit code" "$rc" 69
    has "ssh: a node without sshd" "$(cat "$SY_TMP/err")" "switchyard-run: nd2: ssh is refused"
    : >"$keys/allowed"
    launch --hosts nd0,nd1 doctor
    has "ssh: a key that is not known there" "$(cat "$SY_TMP/err")" "switchyard-run: nd1: ssh asks for a password"
    sed -i 's/nd1/nd9/' "$keys/known"
    launch --hosts nd0,nd1 doctor
    has "ssh: a host that is not known here" "$(cat "$SY_TMP/err")" "switchyard-run: nd1: ssh does not know the key"
    launch --hosts nd0,nd8 doctor
    has "ssh: no such host" "$(cat "$SY_TMP/err")" "switchyard-run: nd8: there is no host of this name"
else
    skip "ssh" "sshd is not installed or does not start: $(tail -n 1 "$SY_TMP/ssh.log" 2>/dev/null)"
fi
net_down
done_testing

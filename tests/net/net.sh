# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# net.sh - several nodes on one machine, for tests; for sourcing: . "${SY_SRCDIR:-.}/tests/net/net.sh"
#
# The test starts again inside network, mount and process namespaces of its own (as root, or as the root of a user
# namespace), where nodes nd0, nd1, ... are made. A node has its own network, host name, /dev/shm, IPC and part of the
# CPUs, and processes of all nodes share one numbering. Nothing of it can be seen from outside, so tests run side by
# side; all of it ends with the test, even with a killed one. Where the system does not allow this, the whole test is a
# visible skip.
#
#   net_up N [bridge|switch]   nodes with an interface eth0, joined by a bridge of the kernel, or by tests/net/tapswitch
#   net_place NODES RANKS      MPIRUN then starts so many ranks on each of the first so many nodes
#   net_on NODE COMMAND...     run on a node
#   net_rate NODE RATE|off     limit a link (bridge only): "1gbit", "100mbit"
#   net_delay NODE US          make frames late (switch only)
#   net_loss NODE PPM          lose frames (switch only)
#   net_link NODE up|down      cut a link, and mend it
#   net_down                   end the nodes and all that runs on them
# All but net_on and net_place return 1, with the reason in $net_why, where the system has not what they need.

# shellcheck disable=SC2034 # for tests
net_why=

# Not in its namespaces yet: go there, or skip.
net_enter() { # ARGUMENT...: of the test
    for tool in ip tc unshare nsenter hostname taskset; do
        PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null || net_skip "$tool is not installed"
    done
    "${MPIRUN%% *}" --version 2>/dev/null | grep -q "Open MPI\|OpenRTE" ||
        net_skip "nodes are told to Open MPI, which ${MPIRUN:-mpirun} is not"
    for as in "" "-r"; do
        # shellcheck disable=SC2086 # options
        if net_error=$(unshare $as -n -m -p -f --mount-proc --kill-child sh -c \
            'ip link add name probe type bridge && unshare -n -m -u -i hostname probe' 2>&1); then
            SY_NET_INSIDE=1 exec unshare $as -n -m -p -f --mount-proc --kill-child "$0" "$@"
        fi
    done
    net_skip "no network namespaces here: $(echo "$net_error" | tail -n 1)"
}

net_skip() { # WHY
    echo "1..0 # SKIP $1"
    exit 0
}

: "${SY_SRCDIR:=.}" "${MPIRUN:=mpirun}"
PATH=$PATH:/usr/sbin:/sbin
[ -n "${SY_NET_INSIDE:-}" ] || net_enter "$@"
# shellcheck source=tests/sh-tap.sh
. "$SY_SRCDIR/tests/sh-tap.sh"

net_launcher=$MPIRUN
net_n=0
net_kind=
# Session directories are named after process ids, which are small and alike in every test.
TMPDIR=$SY_TMP
: "${OMPI_MCA_pml:=ob1}"
# For the agent; mpirun's daemons on other nodes are started through it.
SY_NET=$SY_TMP/net
OMPI_MCA_plm_rsh_agent="$SY_SRCDIR/tests/net/agent.sh"
export PATH TMPDIR SY_NET OMPI_MCA_pml OMPI_MCA_plm_rsh_agent
mkdir "$SY_NET"

net_failed() { # WHY: what a command of ip, tc or mount said comes after it
    # shellcheck disable=SC2034 # for tests
    net_why="$1: $(grep -v 'dmesg(1)' "$SY_NET/log" 2>/dev/null | tail -n 1)"
    return 1
}

net_quietly() { # COMMAND...
    "$@" >"$SY_NET/log" 2>&1
}

net_on() { # NODE COMMAND...
    net_name=nd$1
    shift
    nsenter -t "$(cat "$SY_NET/pid.$net_name")" -n -m -u -i -- taskset -c "$(cat "$SY_NET/cpus.$net_name")" "$@"
}

# Every net_n-th CPU, or one that nodes share where there are fewer CPUs than nodes: ranks bind to their node's first cores.
net_cpus() { # NODE
    sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr , '\n' | sed 's/-/ /' |
        while read -r net_first net_last; do seq "$net_first" "${net_last:-$net_first}"; done |
        awk -v n="$net_n" -v node="$1" '{ cpu[NR - 1] = $1 }
            END { for (i = node % NR; i < NR; i += n) text = text (text == "" ? "" : ",") cpu[i]; print text }' \
            >"$SY_NET/cpus.nd$1"
}

# A node is a process that sleeps in namespaces of its own. Where it may be set, TCP there does not depend on the machine: with
# BBR as its default short bursts wait for up to 9 ms.
net_node() { # NODE
    net_cpus "$1"
    unshare -n -m -u -i --propagation private sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0"; exec sleep 86400' \
        "$SY_NET/pid.nd$1" </dev/null >/dev/null 2>&1 &
    until [ -s "$SY_NET/pid.nd$1" ]; do
        kill -0 $! 2>/dev/null || return
        sleep 0.01
    done
    net_on "$1" sh -c 'hostname "nd$1" && mount -t tmpfs -o size=1g none /dev/shm && mount --bind "$2" /etc/hosts &&
        ip link set lo up' sh "$1" "$SY_NET/hosts" || return
    net_on "$1" sh -c 'echo reno >/proc/sys/net/ipv4/tcp_congestion_control' || :
}

net_wire() { # NODE: the node's eth0 has the other end on the bridge, or is a port of the switch
    net_pid=$(cat "$SY_NET/pid.nd$1")
    if [ "$net_kind" = bridge ]; then
        ip link add name "p$1" type veth peer name eth0 netns "$net_pid" && ip link set "p$1" master br0 up || return
    else
        ip link set "p$1" netns "$net_pid" name eth0 || return
    fi
    net_on "$1" ip addr add "10.77.0.$(($1 + 1))/24" dev eth0 && net_on "$1" ip link set eth0 up
}

net_middle() { # what all nodes are wired to
    if [ "$net_kind" = bridge ]; then
        if ! net_quietly ip link add name br0 type bridge || ! net_quietly ip link set br0 up; then
            net_failed "no bridge can be made here"
        fi
        return
    fi
    mkfifo "$SY_NET/commands" "$SY_NET/answers"
    # shellcheck disable=SC2046 # names of interfaces
    "$SY_BUILDDIR/tests/net/tapswitch" -s "${SY_NET_SEED:-1}" $(seq -f p%g 0 $((net_n - 1))) <>"$SY_NET/commands" \
        1<>"$SY_NET/answers" 2>"$SY_NET/log" &
    net_switch=$!
    exec 8<>"$SY_NET/answers"
    read -r net_answer <&8
    [ "$net_answer" = up ] || net_failed "the switch does not work here"
}

net_up() { # N [bridge|switch]
    net_n=$1
    net_kind=${2:-bridge}
    echo "127.0.0.1 localhost" >"$SY_NET/hosts"
    for net_i in $(seq 0 $((net_n - 1))); do
        echo "10.77.0.$((net_i + 1)) nd$net_i" >>"$SY_NET/hosts"
    done
    net_middle || return
    for net_i in $(seq 0 $((net_n - 1))); do
        if ! net_quietly net_node "$net_i" || ! net_quietly net_wire "$net_i"; then
            net_failed "node $net_i cannot be made here"
            return
        fi
    done
}

net_down() {
    for net_i in $(seq 0 $((net_n - 1))); do
        net_kill "$net_i"
        # Or it would go with the node's network, a moment later.
        [ "$net_kind" = switch ] || ip link del "p$net_i"
        kill -9 "$(cat "$SY_NET/pid.nd$net_i")"
        rm "$SY_NET/pid.nd$net_i"
    done
    if [ "$net_kind" = bridge ]; then
        ip link del br0
    else
        kill "$net_switch"
        wait "$net_switch"
        rm "$SY_NET/commands" "$SY_NET/answers"
    fi 2>/dev/null
}

net_pids() { # NODE: what runs there, one process id a line
    net_ns=$(readlink "/proc/$(cat "$SY_NET/pid.nd$1")/ns/net")
    for net_proc in /proc/[0-9]*; do
        [ "$(readlink "$net_proc/ns/net" 2>/dev/null)" != "$net_ns" ] ||
            [ "${net_proc#/proc/}" = "$(cat "$SY_NET/pid.nd$1")" ] || echo "${net_proc#/proc/}"
    done
}

net_kill() { # NODE: end what runs there
    net_pids "$1" | xargs -r kill -9 2>/dev/null
}

net_place() { # NODES RANKS
    net_hosts=
    for net_i in $(seq 0 $(($1 - 1))); do
        net_hosts=$net_hosts${net_hosts:+,}nd$net_i:$2
    done
    MPIRUN="nsenter -t $(cat "$SY_NET/pid.nd0") -n -m -u -i -- taskset -c $(cat "$SY_NET/cpus.nd0")"
    MPIRUN="$MPIRUN $net_launcher --host $net_hosts"
}

net_tell() { # COMMAND: to the switch, which has obeyed when this returns
    [ "$net_kind" = switch ] || return
    echo "$*" >"$SY_NET/commands"
    read -r net_answer <&8 && [ "$net_answer" = ok ]
}

net_delay() { # NODE US
    net_tell delay "$1" "$2"
}

net_loss() { # NODE PPM
    net_tell loss "$1" "$2"
}

net_link() { # NODE up|down
    if [ "$net_kind" = switch ]; then
        net_tell link "$1" "$2"
        return
    fi
    net_quietly ip link set "p$1" "$2" || return
    [ "$2" = up ] || return 0
    # The kernel takes up to a second to see that there is somebody at both ends, and remembers whom it did not find.
    until ip link show "p$1" | grep -q "state UP" && net_on "$1" ip link show eth0 | grep -q "state UP"; do
        sleep 0.05
    done
    for net_i in $(seq 0 $((net_n - 1))); do
        net_quietly net_on "$net_i" ip neigh flush dev eth0
    done
}

net_rate() { # NODE RATE|off: both ways
    if [ "$2" = off ]; then
        net_quietly tc qdisc del dev "p$1" root && net_quietly net_on "$1" tc qdisc del dev eth0 root
        return
    fi
    for net_end in "tc qdisc replace dev p$1" "net_on $1 tc qdisc replace dev eth0"; do
        # shellcheck disable=SC2086 # a command with arguments
        net_quietly $net_end root tbf rate "$2" burst 256kb latency 20ms || {
            net_failed "no token bucket filter (tbf) here"
            return
        }
    done
}

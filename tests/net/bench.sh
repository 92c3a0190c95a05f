#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.sh - a measurement on two nodes of one rank, joined by links of a given rate
#
# usage: tests/net/bench.sh RATE WHAT [OPTION...]     from the build folder; "900mbit", and what bench takes
#
#   tests/net/bench.sh 100mbit dispatch --tokens 128 --transport ucx      bytes over the link's own stream
#   tests/net/bench.sh 900mbit layer --layers 1 --threads 1 --tokens 1024 --shape qwen3-30b-a3b
#       how much of the exchange the layer hides: at a rate where exchange and compute alone take as long as each other
#
# Nothing else may run meanwhile. Nodes have parts of the CPUs: with two or more, each rank has its own.

[ $# -ge 2 ] || {
    sed -n '3,/^$/s/^# \{0,1\}//p' "$0" >&2
    exit 64
}
: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun}"
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
# shellcheck source=tests/net/net.sh
. "$SY_SRCDIR/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

net_up 2 || skip_all "$net_why"
net_rate 0 "$1"
net_rate 1 "$1"
shift
net_place 2 1
SY_RUN_TIMEOUT=600 switchyard_ranks 2 bench "$@"
is "exit code" "$rc" 0
diag "$(cat "$SY_TMP/out" "$SY_TMP/err")"
done_testing

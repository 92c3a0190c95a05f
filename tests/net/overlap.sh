#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# overlap.sh - how much of the exchange a layer hides, on two nodes of one rank joined by links of a given rate
#
# usage: tests/net/overlap.sh RATE [OPTION...]     from the build folder; options of bench layer, as --shape and --tokens
#
# Choose the rate so that exchange and compute alone take as long as each other. Nothing else may run meanwhile. Nodes have
# parts of the CPUs: with two or more, each rank has its own.

: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun}"
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
# shellcheck source=tests/net/net.sh
. "$SY_SRCDIR/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

net_up 2 || skip_all "$net_why"
[ $# -gt 0 ] || skip_all "usage: tests/net/overlap.sh RATE [OPTION...]"
net_rate 0 "$1"
net_rate 1 "$1"
shift
net_place 2 1
SY_RUN_TIMEOUT=300 switchyard_ranks 2 bench layer --threads 1 --probe-bytes 16M "$@"
is "exit code" "$rc" 0
diag "$(cat "$SY_TMP/out" "$SY_TMP/err")"
done_testing

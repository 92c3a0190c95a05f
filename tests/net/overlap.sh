#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# overlap.sh - how much of the exchange a layer hides, on two nodes of one rank joined by links of a given rate
#
# usage: tests/net/overlap.sh [RATE [TOKENS]]     (500mbit, 512; from the build folder)
#
# Choose the rate so that exchange and compute alone take as long as each other. Nothing else may run meanwhile.

: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun}"
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
# shellcheck source=tests/net/net.sh
. "$SY_SRCDIR/tests/net/net.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

net_up 2 || skip_all "$net_why"
net_rate 0 "${1:-500mbit}"
net_rate 1 "${1:-500mbit}"
net_place 2 1
switchyard_ranks 2 bench layer --shape small --threads 1 --reps 7 --probe-bytes 16M --tokens "${2:-512}"
is "exit code" "$rc" 0
diag "$(cat "$SY_TMP/out" "$SY_TMP/err")"
done_testing

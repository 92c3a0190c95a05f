#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# agent.sh - run a command on a node of net.sh, as ssh does for Open MPI: nothing of the environment goes along
#
# usage: agent.sh NODE COMMAND...   (OMPI_MCA_plm_rsh_agent names it; SY_NET is net.sh's folder)

node=$1
shift
exec nsenter -t "$(cat "$SY_NET/pid.$node")" -n -m -u -i -- taskset -c "$(cat "$SY_NET/cpus.$node")" \
    env -i PATH="$PATH" HOME="${HOME:-/}" TMPDIR="$TMPDIR" ASAN_OPTIONS="${ASAN_OPTIONS-}" \
    UBSAN_OPTIONS="${UBSAN_OPTIONS-}" sh -c "$*"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact_gpus.t - the bits of one rank by the ways between GPUs, or on CPUs between processes that lend and carry memory as GPUs do
# shellcheck source=tests/mpi/exact.sh
. "${SY_SRCDIR:=.}/tests/mpi/exact.sh"

# NCCL wants a GPU for each rank; direct and direct-ucx are mpi and ucx between GPUs, which go through the host's memory where
# the library does not take that of GPUs.
transports="ipc nccl direct"
! "$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]' || transports="$transports direct-ucx"

by_one_rank
for transport in $transports; do
    for r in ${SY_EXACT_RANKS:-2 5}; do
        hash_on "$r" "$SY_TMP/$transport" tests/data/demo "$transport"
        rc=$?
        why=$(grep -o 'NCCL is not here.*\|ranks [0-9]* and [0-9]* share a GPU' "$SY_TMP/err")
        [ -z "$why" ] || skip "$transport: $r ranks" "$why"
        [ -n "$why" ] || is "$transport: $r ranks" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    done
    [ ! -s "$SY_TMP/$transport" ] || same_hash "$transport"
done
done_testing

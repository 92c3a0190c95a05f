#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ucx_tcp.t - the ucx transport over TCP, where UCX makes puts of messages and answers

# shellcheck source=tests/mpi/ucx.sh
. "${SY_SRCDIR:-.}/tests/mpi/ucx.sh"

ucx_needed
UCX_TLS=tcp,self UCX_NET_DEVICES=lo
export UCX_TLS UCX_NET_DEVICES
ucx_conforms "tcp, active messages" 1 2 3 4 5 6 7 8 16

# A ucx that is asked for and cannot work says why; without being asked for it is left alone.
UCX_TLS=self
run_prompt() { # OPTION...
    switchyard_ranks 2 run -m "$SY_SRCDIR/tests/data/demo" --prompt "In the beginning God" -n 2 "$@"
}
run_prompt --transport ucx
is "without a way to the other rank: exit code" "$rc" 64
has "and the reason" "$(cat "$SY_TMP/err")" \
    "rank 0 ($(hostname)): ucx transport: no way to rank 1 ($(hostname)): Destination is unreachable"
run_prompt
is "the same with auto: exit code" "$rc" 0
done_testing

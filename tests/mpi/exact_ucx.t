#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact_ucx.t - the bits of one rank through UCX, by puts and by active messages and rings of 2, 3 and 16 slots
# shellcheck source=tests/mpi/exact.sh
. "${SY_SRCDIR:=.}/tests/mpi/exact.sh"

"$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]' || skip_all "built without UCX"
by_one_rank
for r in ${SY_EXACT_RANKS:-1 2 3 4 5 8}; do
    for lanes in all tcp,self; do
        UCX_TLS=$lanes hash_on "$r" "$SY_TMP/ucx" tests/data/demo ucx
        is "$r ranks, lanes: $lanes" $? 0 || diag "$(cat "$SY_TMP/err")"
    done
done
same_hash ucx
done_testing

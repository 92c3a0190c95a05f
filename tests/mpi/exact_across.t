#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exact_across.t - the bits of one rank where rows go from device to device without the host, in turn too, for few tokens and
# for many; CPUs stand for the devices where there is no GPU
# shellcheck source=tests/mpi/exact.sh
. "${SY_SRCDIR:=.}/tests/mpi/exact.sh"

by_one_rank
for r in 2 3; do
    hash_on "$r" "$SY_TMP/across" tests/data/demo across
    is "$r ranks" $? 0 || diag "$(cat "$SY_TMP/err")"
done
same_hash across
for compute in f32 bf16; do
    ok "$compute: in turn too" grep -q "^$compute .* in-turn .*hash=" "$SY_TMP/across"
done
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# runner.t - tests/run.sh: ranks by the name of a test, time limit, exit codes; and launch/mpi-env.sh

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

fake() { # NAME LINE...
    name=$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$SY_TMP/$name"
    chmod +x "$SY_TMP/$name"
}

run() { # TEST [VARIABLE=VALUE]...
    name=$1
    shift
    out=$(env MPIRUN="echo mpirun" "$@" "$SY_SRCDIR/tests/run.sh" "$SY_TMP/$name")
    rc=$?
}

fake plain.t 'echo "$SY_SRCDIR"' 'exit 3'
run plain.t
is "a plain test is run as it is" "$out" "$SY_SRCDIR"
is "its exit code is passed on" "$rc" 3

fake many.np12.t 'exit 0'
run many.np12.t
is "a test for 12 ranks" "$out" "mpirun -n 12 $SY_TMP/many.np12.t"

fake slow.t 'sleep 20'
run slow.t SY_TEST_TIMEOUT=1
is "a test that hangs: exit code" "$rc" 124
has "the time limit is named" "$out" "time limit of 1 s"

fake reader.t 'cat'
run reader.t
is "standard input is empty" "$rc" 0

fake settings.t 'echo "$OMPI_MCA_mpi_yield_when_idle $OMPI_MCA_rmaps_base_oversubscribe"'
run settings.t OMPI_MCA_mpi_yield_when_idle=0
is "settings of the environment win" "$out" "0 1"
done_testing

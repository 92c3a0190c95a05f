#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - start one test: NAME.npN.t on N ranks, anything else as it is; always with a time limit
#
# usage: tests/run.sh TEST [ARGUMENT]...        (make check does; so does: prove -e tests/run.sh TEST...)
#
# environment
#   SY_SRCDIR, SY_BUILDDIR   source folder (default: where this script is) and build folder (default: here)
#   SY_TEST_TIMEOUT          time limit in seconds (default 480; ten times as long under valgrind)
#   SY_VALGRIND              if set, C tests run under valgrind
#   SWITCHYARD_DEVICE        where models of other tests than those of GPUs run (default cpu)
#   MPIRUN                   launcher (default mpirun)

test=$1
shift
: "${SY_SRCDIR:=$(cd "$(dirname "$0")/.." && pwd)}" "${SY_BUILDDIR:=$(pwd)}" "${MPIRUN:=mpirun}"
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
limit=${SY_TEST_TIMEOUT:-480}

# Leak reports would be about the MPI library, which keeps what it allocates at start until the process ends.
: "${ASAN_OPTIONS:=detect_leaks=0:abort_on_error=0}" "${UBSAN_OPTIONS:=print_stacktrace=1}"
export ASAN_OPTIONS UBSAN_OPTIONS

# Tests that say nothing of a device are of CPUs; those of GPUs say so.
: "${SWITCHYARD_DEVICE:=cpu}"
export SWITCHYARD_DEVICE

wrap=
if [ -n "${SY_VALGRIND:-}" ] && [ "$(head -c 2 "$test")" != '#!' ]; then
    # Newer instruction sets than valgrind knows must not be picked.
    : "${SWITCHYARD_ISA:=avx2}" "${OMPI_MCA_pml:=ob1}"
    export SWITCHYARD_ISA OMPI_MCA_pml
    wrap="valgrind -q --error-exitcode=9 --suppressions=$SY_SRCDIR/tests/valgrind.supp"
    supp=/usr/share/openmpi/openmpi-valgrind.supp
    [ ! -r "$supp" ] || wrap="$wrap --suppressions=$supp"
    limit=$((limit * 10))
fi

n=$(basename "$test" | sed -n 's/.*\.np\([1-9][0-9]*\)\.t$/\1/p')
case $test in
*/*) ;;
*) test=./$test ;;
esac
[ -e "$test" ] || {
    echo "run.sh: $test is not here: call it in the build folder, where make check-programs makes the tests in C" >&2
    exit 127
}
# shellcheck disable=SC2086 # wrap and MPIRUN are commands with arguments
if [ -n "$n" ]; then
    timeout -k 10 "$limit" $MPIRUN -n "$n" $wrap "$test" "$@" </dev/null
else
    timeout -k 10 "$limit" $wrap "$test" "$@" </dev/null
fi
rc=$?
if [ $rc -eq 124 ] || [ $rc -eq 137 ]; then
    echo "# $test was ended after its time limit of $limit s"
fi
exit $rc

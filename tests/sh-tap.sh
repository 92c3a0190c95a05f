# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# sh-tap.sh - Test Anything Protocol for shell tests; for sourcing: . "${SY_SRCDIR:-.}/tests/sh-tap.sh"
#
# A test calls checks and, last, done_testing (or plan N first). SY_TMP is a folder of its own, removed at the end.
# switchyard and switchyard_ranks run the program of this build with standard output in $SY_TMP/out, standard error in
# $SY_TMP/err and the exit code in $rc.

: "${SY_SRCDIR:=.}" "${SY_BUILDDIR:=.}" "${MPIRUN:=mpirun}"
SY_SRCDIR=$(cd "$SY_SRCDIR" && pwd)
SY_BUILDDIR=$(cd "$SY_BUILDDIR" && pwd)
export SY_SRCDIR SY_BUILDDIR MPIRUN
# shellcheck source=launch/mpi-env.sh
. "$SY_SRCDIR/launch/mpi-env.sh"
SY_TMP=$(mktemp -d) || exit 1
trap 'rm -rf "$SY_TMP"' EXIT
trap 'exit 130' INT TERM
tap_n=0
tap_bad=0
tap_plan=
rc=0

plan() {
    tap_plan=$1
    echo "1..$1"
}

skip_all() { # WHY
    echo "1..0 # SKIP $1"
    exit 0
}

diag() { # TEXT: every line of it becomes a comment
    printf '%s\n' "$1" | sed 's/^/# /'
}

tap_result() { # HELD NAME, where HELD is 0 for a check that held
    tap_n=$((tap_n + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $tap_n - $2"
    else
        tap_bad=$((tap_bad + 1))
        echo "not ok $tap_n - $2"
    fi
    return "$1"
}

ok() { # NAME COMMAND...: the command succeeds
    tap_name=$1
    shift
    "$@" >"$SY_TMP/ok.log" 2>&1
    tap_held=$?
    tap_result $((tap_held != 0)) "$tap_name" || {
        diag "exit code $tap_held of: $*
$(tail -n 20 "$SY_TMP/ok.log")"
        return 1
    }
}

is() { # NAME FOUND EXPECTED
    [ "$2" = "$3" ]
    tap_result $? "$1" || {
        diag "   found: $2
expected: $3"
        return 1
    }
}

has() { # NAME FOUND PART: the text contains a part
    case $2 in
    *"$3"*) tap_result 0 "$1" ;;
    *)
        tap_result 1 "$1"
        diag "        found: $2
expected in it: $3"
        return 1
        ;;
    esac
}

skip() { # NAME WHY: one visible skip in place of a check
    tap_n=$((tap_n + 1))
    echo "ok $tap_n - $1 # SKIP $2"
}

done_testing() {
    [ -n "$tap_plan" ] || echo "1..$tap_n"
    if [ -n "$tap_plan" ] && [ "$tap_plan" -ne "$tap_n" ]; then
        diag "planned $tap_plan checks, ran $tap_n"
        exit 1
    fi
    [ "$tap_bad" -eq 0 ]
    exit $?
}

switchyard() { # ARGUMENT...: one process
    timeout -k 10 "${SY_RUN_TIMEOUT:-100}" "$SY_BUILDDIR/switchyard" "$@" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

switchyard_ranks() { # N ARGUMENT...: N ranks
    tap_ranks=$1
    shift
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 "${SY_RUN_TIMEOUT:-100}" $MPIRUN -n "$tap_ranks" "$SY_BUILDDIR/switchyard" "$@" \
        </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    # shellcheck disable=SC2034 # for the test that sources this file
    rc=$?
}

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# job.sh - whole runs in the background, for tests that disturb them; for sourcing, after tests/sh-tap.sh

LC_ALL=C
export LC_ALL
# shellcheck disable=SC2034 # for the test that sources this file
demo=$SY_SRCDIR/tests/data/demo
jsonl=$SY_BUILDDIR/tests/launch/jsonl
job=
# When a rank has failed Open MPI gives the others seconds to end by themselves. These ended before it, or never will.
: "${OMPI_MCA_odls_base_sigkill_timeout:=0}"
export OMPI_MCA_odls_base_sigkill_timeout
trap 'kill_job; rm -rf "$SY_TMP"' EXIT

kill_job() {
    [ -z "$job" ] || kill "$job" 2>/dev/null
}

wait_for() { # SECONDS COMMAND...: until the command succeeds
    wait_deadline=$(($(date +%s) + $1))
    shift
    until "$@"; do
        [ "$(date +%s)" -lt "$wait_deadline" ] || return 1
        sleep 0.02
    done
}

# Run N ranks in the background. Process ids go to pid.launcher and pid.<rank>; job_end waits for the end.
job_start() { # N ARGUMENT...
    job_ranks=$1
    shift
    rm -f "$SY_TMP"/pid.*
    # Others may write there beside it.
    : >"$SY_TMP/err"
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 "${SY_RUN_TIMEOUT:-60}" sh -c 'echo $$ >"$0.launcher"; exec "$@"' "$SY_TMP/pid" \
        $MPIRUN -n "$job_ranks" sh -c 'echo $$ >"$0.${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}"; exec "$@"' "$SY_TMP/pid" \
        "$SY_BUILDDIR/switchyard" "$@" </dev/null 3>&- >"$SY_TMP/out" 2>>"$SY_TMP/err" &
    job=$!
}

job_end() { # exit code in $rc
    # A shell may remark on a job that was killed.
    wait "$job" 2>/dev/null
    # shellcheck disable=SC2034 # for the test that sources this file
    rc=$?
    job=
}

send_signal() { # SIGNAL WHO...: launcher or ranks
    signal_name=$1
    shift
    for signal_to in "$@"; do
        kill -"$signal_name" "$(cat "$SY_TMP/pid.$signal_to")"
    done
}

has_lines() { # FILE N: at least N lines
    [ -f "$1" ] && [ "$(wc -l <"$1")" -ge "$2" ]
}

answers() { # FILE: the part of each line that depends on the request alone, sorted
    "$jsonl" get "$1" custom_id response.body.choices.0.text response.body.choices.0.finish_reason \
        response.body.usage.completion_tokens error.code | sort
}

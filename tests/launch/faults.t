#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# faults.t - killed and stopped ranks, full disks, unfinished output, duplicate ids

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

# Four short requests and many long ones, so that a job with some lines written is in the middle of its work.
awk 'BEGIN {
    for (i = 1; i <= 60; i++)
        printf "{\"custom_id\":\"r%02d\",\"prompt\":\"The \",\"max_tokens\":%d,\"ignore_eos\":true,\"seed\":%d}\n", i,
            i <= 4 ? i : i <= 30 ? 150 + i : 30, i
}' >"$SY_TMP/in"

run_job() { # RANKS OPTION...
    ranks=$1
    shift
    job_start "$ranks" run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 "$@"
}

whole_job() { # NAME: $SY_TMP/lines has each request's answer once
    answers "$SY_TMP/lines" >"$SY_TMP/found"
    ok "$1: each request has its answer, once" diff "$SY_TMP/expected" "$SY_TMP/found"
}

switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/undisturbed" --compute f32
is "undisturbed: exit code" "$rc" 0
answers "$SY_TMP/undisturbed" >"$SY_TMP/expected"

# ---- a rank is killed ----

: >"$SY_TMP/kept"
for victim in 1 0; do
    run_job 2 --resume
    wait_for 30 has_lines "$SY_TMP/lines" $(($(wc -l <"$SY_TMP/kept") + 4 * victim + 1)) ||
        diag "no progress before the kill: $(cat "$SY_TMP/err")"
    cp "$SY_TMP/lines" "$SY_TMP/kept"
    begin=$(date +%s)
    send_signal KILL $victim
    job_end
    ok "rank $victim killed: the job ends with an error" test "$rc" -ne 0
    ok "rank $victim killed: at once" test $(($(date +%s) - begin)) -le 10
    ok "rank $victim killed: the message names it" grep -q "rank $victim " "$SY_TMP/err" || diag "$(cat "$SY_TMP/err")"
    ok "rank $victim killed: the job was not over" test "$(wc -l <"$SY_TMP/lines")" -lt 60
    ok "rank $victim killed: lines that were written are kept" sh -c 'head -n "$(wc -l <"$1")" "$2" | cmp - "$1"' sh \
        "$SY_TMP/kept" "$SY_TMP/lines"
done
run_job 2 --resume
job_end
is "resumed after the kills: exit code" "$rc" 0
whole_job "resumed after the kills"

# ---- a rank is stopped ----

for victim in 1 0; do
    rm -f "$SY_TMP/lines"
    run_job 2 --timeout 2
    wait_for 30 has_lines "$SY_TMP/lines" 4 || diag "no progress before the stop: $(cat "$SY_TMP/err")"
    begin=$(date +%s)
    send_signal STOP $victim
    job_end
    is "rank $victim stopped: exit code" "$rc" 69
    ok "rank $victim stopped: the job ends after the deadline" test $(($(date +%s) - begin)) -le 12
    ok "rank $victim stopped: the other one names it" grep -q "rank $((1 - victim)) (.*2000 ms.* rank $victim (" \
        "$SY_TMP/err" || diag "$(cat "$SY_TMP/err")"
    ok "rank $victim stopped: no half line" "$jsonl" lines "$SY_TMP/lines"
done

# A job that is stopped as a whole goes on: nobody was waited for.
rm -f "$SY_TMP/lines"
run_job 2 --timeout 1
wait_for 30 has_lines "$SY_TMP/lines" 4
send_signal STOP 0 1
sleep 2
send_signal CONT 0 1
job_end
is "all stopped for longer than the deadline, and continued: exit code" "$rc" 0
whole_job "all stopped and continued"

# ---- the disk is full ----

rm -f "$SY_TMP/lines"
switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/in" -o /dev/full --compute f32
is "/dev/full: exit code" "$rc" 74
has "/dev/full: message" "$(cat "$SY_TMP/err")" "/dev/full: cannot write: No space left on device"

# A file system of 12 kB, for the processes of this test only.
unshare=
for how in "unshare -m" "unshare -rm"; do
    if [ -z "$unshare" ] && $how sh -c 'mount -t tmpfs -o size=12k none "$1"' sh "$SY_TMP" 2>/dev/null; then
        unshare=$how
    fi
done
if [ -n "$unshare" ]; then
    mkdir "$SY_TMP/small"
    # shellcheck disable=SC2016,SC2086 # $unshare and MPIRUN are commands with arguments
    OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -k 10 60 $unshare sh -c '
        mount -t tmpfs -o size=12k none "$1/small" || exit 1
        '"$MPIRUN"' -n 2 "$2" run -m "$3" -i "$1/in" -o "$1/small/lines" --compute f32 </dev/null
        rc=$?
        cp "$1/small/lines" "$1/lines"
        exit $rc' sh "$SY_TMP" "$SY_BUILDDIR/switchyard" "$demo" >"$SY_TMP/out" 2>"$SY_TMP/err"
    is "full disk: exit code" $? 74
    has "full disk: message" "$(cat "$SY_TMP/err")" "small/lines: cannot write: No space left on device"
    ok "full disk: no half line is left" "$jsonl" lines "$SY_TMP/lines"
    ok "full disk: but whole ones are" has_lines "$SY_TMP/lines" 4
    run_job 2 --resume
    job_end
    is "full disk, resumed elsewhere: exit code" "$rc" 0
    whole_job "full disk, resumed"
else
    skip "full disk while writing" "this system does not allow a file system of our own (unshare, mount)"
fi

# ---- an unfinished last line ----

head -n 5 "$SY_TMP/undisturbed" >"$SY_TMP/lines"
sed -n 6p "$SY_TMP/undisturbed" | head -c 100 >>"$SY_TMP/lines"
run_job 1 --resume --summary "$SY_TMP/summary"
job_end
is "unfinished last line: exit code" "$rc" 0
whole_job "unfinished last line"
is "unfinished last line: the five whole ones are not done again" "$("$jsonl" get "$SY_TMP/summary" skipped requests |
    tr '\t' ' ')" "5 55"
ok "unfinished last line: nor changed" sh -c 'head -n 5 "$1" | cmp - "$2"' sh "$SY_TMP/undisturbed" - <<END
$(head -n 5 "$SY_TMP/lines")
END

cp "$SY_TMP/lines" "$SY_TMP/before"
run_job 2 --resume
job_end
is "nothing left to do: exit code" "$rc" 0
ok "nothing left to do: nothing done" cmp "$SY_TMP/before" "$SY_TMP/lines"

run_job 1
job_end
is "an output file that is there, without --resume: exit code" "$rc" 64
has "an output file that is there: message" "$(cat "$SY_TMP/err")" "give --resume"
ok "an output file that is there: untouched" cmp "$SY_TMP/before" "$SY_TMP/lines"

echo 'a line of something else' >"$SY_TMP/lines"
run_job 1 --resume
job_end
is "--resume with a file of something else: exit code" "$rc" 65
has "--resume with a file of something else: message" "$(cat "$SY_TMP/err")" "lines:1:"
is "--resume with a file of something else: untouched" "$(cat "$SY_TMP/lines")" "a line of something else"

# ---- duplicate ids ----

{
    sed -n 1,3p "$SY_TMP/in"
    sed -n 2p "$SY_TMP/in"
    echo '{"custom_id":"r01","prompt":"another"}'
} >"$SY_TMP/twice"
rm -f "$SY_TMP/lines"
for round in 1 2; do
    switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/twice" -o "$SY_TMP/lines" --compute f32 --resume
    is "duplicate ids, round $round: exit code" "$rc" 65
    has "duplicate ids, round $round: message" "$(cat "$SY_TMP/err")" \
        "2 lines had a custom_id that an earlier line had used"
    is "duplicate ids, round $round: the first of each is served, the second refused" "$(answers "$SY_TMP/lines" |
        awk -F '\t' '{ print $1, $5 }' | tr '\n' ';')" \
        '"r01" -;"r01" "duplicate_custom_id";"r02" -;"r02" "duplicate_custom_id";"r03" -;'
done
done_testing

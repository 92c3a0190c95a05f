#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# drain.t - SIGUSR1 and SIGTERM finish what is in flight; --resume does the rest; a job without requests sleeps

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

n_lines=80
awk -v n=$n_lines 'BEGIN {
    for (i = 1; i <= n; i++)
        printf "{\"custom_id\":\"r%02d\",\"prompt\":\"The \",\"max_tokens\":%d,\"ignore_eos\":true,\"seed\":%d}\n", i,
            60 + i, i
}' >"$SY_TMP/in"
switchyard run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/undisturbed" --compute f32
answers "$SY_TMP/undisturbed" >"$SY_TMP/expected"
is "undisturbed: each request has an answer" "$(wc -l <"$SY_TMP/expected")" $n_lines

# ---- signals: to the launcher, to all ranks, to a rank that does not read the input ----

drained() { # NAME SIGNAL WHO...
    drain_name=$1
    shift
    rm -f "$SY_TMP/lines"
    # Few at a time, so that most are not started when the first is done.
    job_start 2 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --max-sequences 4
    wait_for 30 has_lines "$SY_TMP/lines" 1 || diag "no progress before the signal: $(cat "$SY_TMP/err")"
    send_signal "$@"
    job_end
    is "$drain_name: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    n_done=$("$jsonl" lines "$SY_TMP/lines")
    ok "$drain_name: what was not started is left" test "$n_done" -lt $n_lines
    has "$drain_name: and counted" "$(cat "$SY_TMP/err")" \
        "drained: $((n_lines - n_done)) lines of $SY_TMP/in were not started"
    answers "$SY_TMP/lines" >"$SY_TMP/found"
    is "$drain_name: what was in flight has its whole answer" "$(comm -13 "$SY_TMP/expected" "$SY_TMP/found")" ""
    job_start 3 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --resume
    job_end
    is "$drain_name: --resume: exit code" "$rc" 0
    answers "$SY_TMP/lines" >"$SY_TMP/found"
    ok "$drain_name: --resume does the rest" diff "$SY_TMP/expected" "$SY_TMP/found"
}

drained "SIGUSR1 to mpirun" USR1 launcher
drained "SIGTERM to the ranks" TERM 0 1
drained "SIGTERM to rank 1" TERM 1

# ---- nothing to do ----

cpu_ticks() { # RANK: user and system time so far
    sed 's/.*) //' "/proc/$(cat "$SY_TMP/pid.$1")/stat" | awk '{ print $12 + $13 }'
}

mkfifo "$SY_TMP/fifo"
exec 3<>"$SY_TMP/fifo"
rm -f "$SY_TMP/lines"
job_start 2 run -m "$demo" -i "$SY_TMP/fifo" -o "$SY_TMP/lines" --compute f32 --timeout 3
sed -n 1p "$SY_TMP/in" >&3
ok "a request is answered while the pipe stays open" wait_for 30 has_lines "$SY_TMP/lines" 1
sleep 0.5
before_0=$(cpu_ticks 0) before_1=$(cpu_ticks 1)
sleep 4
used_0=$(($(cpu_ticks 0) - before_0)) used_1=$(($(cpu_ticks 1) - before_1))
hz=$(getconf CLK_TCK)
diag "idle ranks used $((used_0 * 1000 / 4 / hz)) and $((used_1 * 1000 / 4 / hz)) thousandths of a core"
ok "rank 0 without requests uses next to nothing" test $((used_0 * 100)) -le $((4 * hz * 3))
ok "rank 1 too" test $((used_1 * 100)) -le $((4 * hz * 3))
sed -n 2p "$SY_TMP/in" >&3
ok "after longer than --timeout another request is answered" wait_for 30 has_lines "$SY_TMP/lines" 2
send_signal TERM 1
job_end
is "a drain ends a job whose pipe stays open" "$rc" 0
has "which says where it stopped" "$(cat "$SY_TMP/err")" "drained: input after line 2 of $SY_TMP/fifo was not started"
exec 3>&-
done_testing

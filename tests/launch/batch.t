#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# batch.t - continuous batching: many requests through a small KV cache, the same text in any batch, late requests

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

# Of the demo model: layers x (keys and values) x tokens of a page x KV heads x head size x bytes of an f32.
page_bytes=$((6 * 2 * 16 * 2 * 64 * 4))

# ---- 200 requests of 1 to 300 tokens ----

awk 'BEGIN {
    n = split("In the beginning|The |/*|SELECT |hacker, n.|And it came to pass, that|static int |a small tree", prompt,
        "|")
    for (i = 1; i <= 200; i++) {
        len = i == 1 ? 1 : i == 200 ? 300 : 1 + i * 37 % 300
        printf "{\"custom_id\":\"r%03d\",\"prompt\":\"%s\",\"max_tokens\":%d", i, prompt[i % n + 1], len
        printf ",\"ignore_eos\":%s", i % 3 ? "true" : "false"
        printf ",\"temperature\":%s,\"seed\":%d,\"top_p\":%s}\n", i % 2 ? 0 : 0.9, i, i % 4 ? 1 : 0.95
    }
}' >"$SY_TMP/many.in"

switchyard run -m "$demo" -i "$SY_TMP/many.in" -o "$SY_TMP/roomy" --compute f32 --summary "$SY_TMP/roomy.json"
is "one rank, roomy KV cache: exit code" "$rc" 0
is "one rank, roomy KV cache: no preemption" "$("$jsonl" get "$SY_TMP/roomy.json" preemptions)" 0
answers "$SY_TMP/roomy" >"$SY_TMP/expected"
is "each request has an answer" "$(wc -l <"$SY_TMP/expected")" 200
"$jsonl" get "$SY_TMP/many.in" custom_id max_tokens ignore_eos | sort | paste - "$SY_TMP/expected" >"$SY_TMP/lengths"
ok "of as many tokens as were asked for, or fewer up to an end of text" awk -F '\t' '
    $1 != $4 || $7 > $2 || ($6 == "\"length\"") != ($7 == $2) || ($3 == "true" && $7 != $2) { print; bad = 1 }
    END { exit bad }' "$SY_TMP/lengths"

switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/many.in" -o "$SY_TMP/tight" --compute f32 \
    --kv-bytes $((64 * page_bytes)) --summary "$SY_TMP/tight.json"
is "2 ranks, 64 pages: exit code" "$rc" 0
has "2 ranks, 64 pages: so many there are" "$(cat "$SY_TMP/err")" "(64 pages of 16 tokens)"
ok "2 ranks, 64 pages: sequences were preempted" test "$("$jsonl" get "$SY_TMP/tight.json" preemptions)" -gt 0
has "2 ranks, 64 pages: the summary says so" "$(cat "$SY_TMP/err")" \
    "; $("$jsonl" get "$SY_TMP/tight.json" preemptions) preemptions"
answers "$SY_TMP/tight" >"$SY_TMP/found"
ok "2 ranks, 64 pages: the same texts" diff "$SY_TMP/expected" "$SY_TMP/found"
is "answers are written as requests finish" \
    "$("$jsonl" get "$SY_TMP/tight" custom_id | sort -c 2>/dev/null && echo in order of input || echo as they finish)" \
    "as they finish"
ok "a step serves many sequences" test "$("$jsonl" get "$SY_TMP/roomy.json" steps)" -lt \
    $(($("$jsonl" get "$SY_TMP/roomy.json" decode_tokens) / 20))
# A figure to look at, not a check: what is measured belongs to benchmarks.
diag "64 pages, time over that of the summary's rates: $("$jsonl" get "$SY_TMP/tight.json" wall_s prompt_tokens \
    prefill_tokens_per_s generated_tokens decode_tokens_per_s | awk '{ printf "%.3f", $1 / ($2 / $3 + $4 / $5) }') \
(tokens as asked for), $("$jsonl" get "$SY_TMP/tight.json" wall_s prefill_tokens prefill_tokens_per_s decode_tokens \
    decode_tokens_per_s | awk '{ printf "%.3f", $1 / ($2 / $3 + $4 / $5) }') (tokens as computed)"

# ---- the same request gives the same text in any batch ----

for i in 004 050 126 190; do
    grep "\"r$i\"" "$SY_TMP/many.in"
done >"$SY_TMP/few.in"
answers "$SY_TMP/roomy" | grep '^"r\(004\|050\|126\|190\)"' >"$SY_TMP/expected"
switchyard_ranks 3 run -m "$demo" -i "$SY_TMP/few.in" -o "$SY_TMP/few" --compute f32 --max-sequences 1
is "a few of them on 3 ranks: exit code" "$rc" 0
answers "$SY_TMP/few" >"$SY_TMP/found"
ok "a few of them on 3 ranks: the same texts, drawn with a seed" diff "$SY_TMP/expected" "$SY_TMP/found"

# ---- a late request joins the running batch ----

line() { # ID MAX_TOKENS
    printf '{"custom_id":"%s","max_tokens":%d,"prompt":"In the beginning","temperature":0,"ignore_eos":true}\n' "$@"
}

mkfifo "$SY_TMP/fifo"
# Both ends, so that neither open waits for the other.
exec 3<>"$SY_TMP/fifo"
job_start 2 run -m "$demo" -i "$SY_TMP/fifo" -o "$SY_TMP/late" --compute f32
{
    line first 2
    for i in $(seq 30); do
        line "long-$i" 350
    done
} >&3
ok "the first of many has an answer" wait_for 30 test -s "$SY_TMP/late"
line late 2 >&3
ok "so has one that came later" wait_for 30 grep -q '"late"' "$SY_TMP/late"
exec 3>&-
job_end
is "when the pipe is closed the job ends" "$rc" 0
"$jsonl" get "$SY_TMP/late" custom_id >"$SY_TMP/order"
is "it was done while the others went on" "$(sed -n 1,2p "$SY_TMP/order" | tr '\n' ' ')" '"first" "late" '
is "and they were done too" "$(grep -c long "$SY_TMP/order")" 30
done_testing

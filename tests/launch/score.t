#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# score.t - switchyard score against the demo model's reference: perplexity, log-probabilities, logits

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo
goldens=$SY_SRCDIR/tests/data/goldens
jsonl=$SY_BUILDDIR/tests/launch/jsonl
tensors=$SY_BUILDDIR/tests/launch/tensors
tab=$(printf '\t')

number() { # FILE PATH: one value
    "$jsonl" get "$1" "$2"
}

near() { # NAME FOUND EXPECTED TOLERANCE
    ok "$1: $2, expected $3 +- $4" awk -v a="$2" -v b="$3" -v t="$4" \
        'BEGIN { exit !(a != "-" && a - b <= t && b - a <= t) }'
}

# ---- perplexity of the held-out texts ----

switchyard_ranks 2 score --model "$demo" --in "$demo/heldout.jsonl" --out "$SY_TMP/f32.jsonl" --truncate 512 \
    --compute f32 --summary "$SY_TMP/f32.json"
is "f32: exit code" "$rc" 0
near "f32: perplexity" "$(number "$SY_TMP/f32.json" score.perplexity)" 10.521 0.01
is "f32: tokens scored" "$(number "$SY_TMP/f32.json" score.scored_tokens)" 48373
for domain in c dictionary jargon kjv manual; do
    near "f32: nats a token of $domain" "$(number "$SY_TMP/f32.json" "score.domains.$domain.nll_per_token")" \
        "$(number "$demo/reference.json" "domains.$domain.nll_per_token")" 0.002
    is "f32: tokens of $domain" "$(number "$SY_TMP/f32.json" "score.domains.$domain.scored_tokens")" \
        "$(number "$demo/reference.json" "domains.$domain.scored_tokens")"
done
has "the totals are shown" "$(cat "$SY_TMP/err")" "scored 97 texts, 48373 tokens"
has "by domain too" "$(cat "$SY_TMP/err")" "dictionary  "

switchyard_ranks 2 score --model "$demo" --in "$demo/heldout.jsonl" --out "$SY_TMP/bf16.jsonl" --truncate 512 \
    --compute bf16 --summary "$SY_TMP/bf16.json"
is "bf16: exit code" "$rc" 0
near "bf16: perplexity" "$(number "$SY_TMP/bf16.json" score.perplexity)" 10.521 0.0526
ok "bf16 is not f32 under another name" test "$(number "$SY_TMP/bf16.json" score.nll)" != \
    "$(number "$SY_TMP/f32.json" score.nll)"

# ---- the form of the output lines ----

is "each text has a line" "$("$jsonl" lines "$SY_TMP/f32.jsonl")" 97
"$jsonl" get "$demo/heldout.jsonl" domain | awk '{ printf "\"%d\"\t%s\n", NR, $0 }' | sort >"$SY_TMP/expected"
"$jsonl" get "$SY_TMP/f32.jsonl" custom_id domain | sort >"$SY_TMP/found"
ok "custom_id is the line number, and the domain is passed on" cmp "$SY_TMP/expected" "$SY_TMP/found"

# Columns: ids, their number, log-probabilities, nll, scored_tokens.
well_formed() { # FILE
    "$jsonl" get "$1" token_ids token_ids.# token_logprobs nll scored_tokens | awk -F '\t' '
        { n = split(substr($3, 2, length($3) - 2), value, ","); sum = 0 }
        $1 !~ /^\[[0-9,]+\]$/ || n != $2 || value[1] != "null" || $5 != n - 1 { print "line " NR ": " $0; bad = 1 }
        { for (i = 2; i <= n; i++) { sum -= value[i]; if (value[i] !~ /^-?[0-9.e-]+$/ || value[i] > 0) bad = 1 } }
        $4 - sum > 1e-5 || sum - $4 > 1e-5 { print "line " NR ": nll " $4 ", sum " sum; bad = 1 }
        END { exit bad || NR == 0 }'
}
ok "token_logprobs begins with null, and nll is minus its sum" well_formed "$SY_TMP/f32.jsonl"

# ---- logits ----

# Ids of a golden's three prompts as requests; some names need escaping.
golden_requests() { # DIR
    for i in 0 1 2; do
        printf '{"custom_id":"p/%d %%.","prompt":%s}\n' "$i" "$("$tensors" ids "$1/golden.safetensors" "p$i.input_ids")"
    done
}

for dir in "$demo" "$goldens/mixtral" "$goldens/olmoe" "$goldens/qwen3_moe"; do
    name=${dir##*/}
    golden_requests "$dir" >"$SY_TMP/$name.in"
    switchyard_ranks 2 score -m "$dir" -i "$SY_TMP/$name.in" -o "$SY_TMP/$name.jsonl" --compute f32 \
        --logits "$SY_TMP/$name.logits" --prefill-chunk 16
    is "$name: exit code" "$rc" 0
    for i in 0 1 2; do
        ok "$name: logits of text $i" "$tensors" compare "$SY_TMP/$name.logits/p%2F$i%20%25..safetensors" logits \
            "$dir/golden.safetensors" "p$i.logits" 2e-4
    done
    is "$name: and no other file" "$(find "$SY_TMP/$name.logits" -type f | wc -l)" 3
done

# The log-probabilities of a line, and those that follow from the golden's logits.
"$jsonl" get "$SY_TMP/demo.jsonl" custom_id token_logprobs | sort | sed -n 's/.*null,\(.*\)]/\1/p' | tr ',' '\n' \
    >"$SY_TMP/found"
for i in 0 1 2; do
    # shellcheck disable=SC2046 # each id is an argument
    "$tensors" logprobs "$demo/golden.safetensors" "p$i.logits" \
        $("$tensors" ids "$demo/golden.safetensors" "p$i.input_ids" | tr -d '[]' | tr ',' ' ')
done >"$SY_TMP/expected"
ok "log-probabilities follow from the reference's logits" sh -c 'paste "$1" "$2" | awk "
    { d = \$1 - \$2; if (NF != 2 || d > 1e-3 || d < -1e-3) { print NR \": \" \$0; bad = 1 } }
    END { exit bad || NR != 202 }"' sh "$SY_TMP/found" "$SY_TMP/expected"

# ---- texts that cannot be scored ----

{
    sed -n 1p "$demo/heldout.jsonl"
    echo '{"custom_id":"text","text":"In the beginning"}'
    echo '{"custom_id":"one","prompt":[524]}'
    echo '{"custom_id":"empty","text":""}'
    echo '{"custom_id":"far","prompt":[5,4096]}'
    echo '{"custom_id":"chat","messages":[{"role":"user","content":"hello"}]}'
} >"$SY_TMP/odd.in"
switchyard score -m "$demo" -i "$SY_TMP/odd.in" -o "$SY_TMP/odd.jsonl" --compute f32 --summary "$SY_TMP/odd.json"
is "error lines do not end the job" "$rc" 0
is "each line is answered" "$("$jsonl" lines "$SY_TMP/odd.jsonl")" 6
odd() { # ID PATH
    "$jsonl" get "$SY_TMP/odd.jsonl" custom_id "$2" | sed -n "s/^\"$1\"$tab//p"
}
has "a text over the context is an error" "$(odd 1 error.message)" "512"
has "which names the line" "$(odd 1 error.message)" "odd.in:1"
is "a short text is scored" "$(odd text scored_tokens)" 2
is "one token has nothing to score" "$(odd one token_logprobs)" "[null]"
is "and adds nothing" "$(odd one nll)" 0
is "an empty text is an error" "$(odd empty error.code)" '"empty_prompt"'
has "an id outside the vocabulary is an error" "$(odd far error.message)" "4096"
has "a chat is an error" "$(odd chat error.message)" "chat"
is "only texts count" "$("$jsonl" get "$SY_TMP/odd.json" score.texts score.scored_tokens refused)" "2${tab}2${tab}4"
done_testing

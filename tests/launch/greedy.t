#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# greedy.t - greedy continuations are the reference's, token for token, on any number of ranks

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo
goldens=$SY_SRCDIR/tests/data/goldens
jsonl=$SY_BUILDDIR/tests/launch/jsonl
tensors=$SY_BUILDDIR/tests/launch/tensors
tab=$(printf '\t')
choice=response.body.choices.0

# ---- the demo model: each prompt as text and as ids, all in one batch ----

"$jsonl" list "$demo/reference.json" greedy | "$jsonl" get - prompt prompt_ids new_ids new_ids.# text \
    >"$SY_TMP/reference"
is "the reference has ten continuations" "$(wc -l <"$SY_TMP/reference")" 10
n=0
while IFS=$tab read -r prompt prompt_ids new_ids n_new text; do
    n=$((n + 1))
    for form in text ids; do
        [ "$form" = ids ] && prompt=$prompt_ids
        printf '{"custom_id":"%s-%s","prompt":%s,"max_tokens":%s,' "$n" "$form" "$prompt" "$n_new"
        echo '"temperature":0,"ignore_eos":true,"return_token_ids":true}'
    done >>"$SY_TMP/demo.in"
    for form in text ids; do
        printf '"%s-%s"\t%s\t%s\t%s\t"length"\n' "$n" "$form" "$prompt_ids" "$new_ids" "$text" >>"$SY_TMP/demo.expected"
    done
done <"$SY_TMP/reference"
sort -o "$SY_TMP/demo.expected" "$SY_TMP/demo.expected"

for ranks in 1 2 3; do
    switchyard_ranks $ranks run -m "$demo" -i "$SY_TMP/demo.in" -o "$SY_TMP/demo.$ranks" --compute f32
    is "$ranks ranks: exit code" "$rc" 0
    "$jsonl" get "$SY_TMP/demo.$ranks" custom_id $choice.prompt_token_ids $choice.token_ids $choice.text \
        $choice.finish_reason | sort >"$SY_TMP/demo.found"
    ok "$ranks ranks: prompt ids, new ids and text of all continuations" \
        diff "$SY_TMP/demo.expected" "$SY_TMP/demo.found"
done

# ---- one prompt, streamed to standard output ----

{
    "$jsonl" list "$demo/reference.json" greedy | "$jsonl" get - text | sed -n 1p
} >"$SY_TMP/text.expected"
switchyard_ranks 2 run -m "$demo" --prompt "In the beginning God" -n 64 --temperature 0 --compute f32 --ignore-eos
is "--prompt: exit code" "$rc" 0
is "--prompt: the text" "\"$(cat "$SY_TMP/out")\"" "$(cat "$SY_TMP/text.expected")"
for word in "MB of weights in " "ready in " "prefill: 4 tokens" "decode: 63 tokens" "tokens/s" "moved between ranks: " \
    attention router dispatch experts combine waiting; do
    has "--prompt: the summary names $word" "$(cat "$SY_TMP/err")" "$word"
done

# ---- models without tokenizer take ids and return ids ----

for family in mixtral olmoe qwen3_moe; do
    : >"$SY_TMP/golden.in"
    : >"$SY_TMP/golden.expected"
    for i in 0 1 2; do
        prompt=$("$tensors" ids "$goldens/$family/golden.safetensors" "p$i.input_ids")
        printf '{"custom_id":"%d","prompt":%s,"max_tokens":16,"temperature":0,"ignore_eos":true}\n' "$i" "$prompt" \
            >>"$SY_TMP/golden.in"
        printf '"%d"\t%s\t%s\t""\n' "$i" "$prompt" \
            "$("$tensors" ids "$goldens/$family/golden.safetensors" "p$i.greedy")" >>"$SY_TMP/golden.expected"
    done
    echo '{"custom_id":"text","prompt":"a text"}' >>"$SY_TMP/golden.in"
    switchyard_ranks 2 run -m "$goldens/$family" -i "$SY_TMP/golden.in" -o "$SY_TMP/$family" --compute f32
    is "$family: exit code" "$rc" 0
    "$jsonl" get "$SY_TMP/$family" custom_id $choice.prompt_token_ids $choice.token_ids $choice.text | sort |
        grep -v text >"$SY_TMP/golden.found"
    ok "$family: 16 greedy tokens of each prompt" diff "$SY_TMP/golden.expected" "$SY_TMP/golden.found"
    has "$family: a text is refused" "$("$jsonl" get "$SY_TMP/$family" custom_id error.message | grep '^"text"')" \
        "has no tokenizer.json"
done
switchyard run -m "$goldens/mixtral" --prompt "$("$tensors" ids "$goldens/mixtral/golden.safetensors" p0.input_ids)" \
    -n 16 --temperature 0 --ignore-eos --compute f32
is "--prompt of ids: exit code" "$rc" 0
is "--prompt of ids: ids come out" "[$(tr ' ' ',' <"$SY_TMP/out")]" \
    "$("$tensors" ids "$goldens/mixtral/golden.safetensors" p0.greedy)"
switchyard run -m "$goldens/mixtral" --prompt "a text"
is "--prompt of text without tokenizer: exit code" "$rc" 65
has "--prompt of text without tokenizer: message" "$(cat "$SY_TMP/err")" "no tokenizer.json"
done_testing

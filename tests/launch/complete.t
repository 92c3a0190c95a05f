#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# complete.t - fields of a request: stop strings, echo, log-probabilities, sampling, ids, and what is refused

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo
jsonl=$SY_BUILDDIR/tests/launch/jsonl
tab=$(printf '\t')
choice=response.body.choices.0
# The reference continues this prompt greedily with
# ", that when the people were come, that the people were afraid, and said, Who is that ye? And they said, ..."
prompt='"prompt":"And it came to pass","temperature":0'

request() { # ID FIELDS
    printf '{"custom_id":"%s",%s}\n' "$1" "$2" >>"$SY_TMP/in"
}

value() { # ID PATH
    "$jsonl" get "$SY_TMP/lines" custom_id "$2" | sed -n "s/^\"$1\"$tab//p"
}

text() { # ID
    value "$1" $choice.text
}

expect() { # ID TEXT FINISH
    is "$1: text" "$(text "$1")" "\"$2\""
    is "$1: finish_reason" "$(value "$1" $choice.finish_reason)" "\"$3\""
}

# ---- stop strings ----

: >"$SY_TMP/in"
request stop "$prompt"',"stop":" afraid"'
request across "$prompt"',"stop":"re come, th"'
request first "$prompt"',"stop":["Who","that the people were a","zz"]'
request letter "$prompt"',"stop":"p"'
request at-once "$prompt"',"stop":","'
request none "$prompt"',"max_tokens":4,"stop":["the peopxyz","afraid"]'
request whole "$prompt"',"max_tokens":4'
# The prompt has the stop string, which counts in what is generated only.
request echoed "$prompt"',"stop":["came","afraid"],"echo":true'
# ---- echo and max_tokens 0 ----
request echo "$prompt"',"max_tokens":4,"echo":true'
request echo-only "$prompt"',"max_tokens":0,"echo":true'
request nothing "$prompt"',"max_tokens":0'
request unicode '"prompt":"Ünï\u00e7ödé 東京 🙂\n\t\"quoted\" \u0001","max_tokens":0,"echo":true'
request unicode-stop '"prompt":"東京","max_tokens":3,"temperature":0,"stop":"é🙂"'
# ---- log-probabilities ----
request logprobs "$prompt"',"max_tokens":6,"logprobs":3,"return_token_ids":true'
request logprobs-0 "$prompt"',"max_tokens":6,"logprobs":0'
request logprobs-echo "$prompt"',"max_tokens":0,"logprobs":0,"echo":true,"return_token_ids":true'
# ---- sampling ----
request hot '"prompt":"And it came to pass","temperature":1.5,"seed":1'
request hot-again '"prompt":"And it came to pass","temperature":1.5,"seed":1'
request hot-other '"prompt":"And it came to pass","temperature":1.5,"seed":2'
request greedy "$prompt"
request top-k-1 '"prompt":"And it came to pass","temperature":1.5,"seed":1,"top_k":1'
request top-p-0 '"prompt":"And it came to pass","temperature":1.5,"seed":1,"top_p":0'
# ---- forms of a line ----
request nulls "$prompt"',"max_tokens":4,"stop":null,"logprobs":null,"seed":null,"suffix":null,"tools":null,"other":null'
request inert "$prompt"',"max_tokens":4,"n":1,"best_of":1,"stream":false,"user":"me","logit_bias":{}'
request envelope '"method":"POST","url":"/v1/completions","body":{"model":"mine",'"$prompt"',"max_tokens":4}'
request ids '"prompt":[375,399,1180],"temperature":0,"max_tokens":4'
printf '\n  \r\n{%s,"max_tokens":4}\r\n' "$prompt" >>"$SY_TMP/in"
unnamed=$(wc -l <"$SY_TMP/in")
# Two blank lines are no requests.
grep -v '^ *.\{0,1\}$' "$SY_TMP/in" >"$SY_TMP/filled"
n_lines=$(wc -l <"$SY_TMP/filled")

switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --max-tokens 40
is "exit code" "$rc" 0
is "each line but blank ones is answered" "$("$jsonl" lines "$SY_TMP/lines")" "$n_lines"
is "none with an error" "$("$jsonl" get "$SY_TMP/lines" error | sort -u)" null

expect stop ", that when the people were come, that the people were" stop
expect across ", that when the people we" stop
expect first ", that when the people were come, " stop
expect letter ", that when the " stop
expect at-once "" stop
is "at-once: tokens until the stop string count" "$(value at-once response.body.usage.completion_tokens)" 1
expect none ", that when the" length
expect whole ", that when the" length
expect echoed "And it came to pass, that when the people were come, that the people were " stop
expect echo "And it came to pass, that when the" length
expect echo-only "And it came to pass" length
expect nothing "" length
is "nothing: no token is counted" \
    "$(value nothing response.body.usage | "$jsonl" get - prompt_tokens completion_tokens total_tokens)" \
    "5${tab}0${tab}5"
is "unicode: echoed as it was" "$(text unicode)" '"Ünïçödé 東京 🙂\n\t\"quoted\" \u0001"'
is "unicode-stop: no error" "$(value unicode-stop response.status_code)" 200

is "logprobs: one for each token" "$(value logprobs $choice.logprobs |
    "$jsonl" get - tokens.# token_logprobs.# top_logprobs.# text_offset.#)" "6${tab}6${tab}6${tab}6"
is "logprobs: tokens are parts of the text" \
    "\"$(value logprobs $choice.logprobs | "$jsonl" list - tokens | sed 's/^"//; s/"$//' | tr -d '\n')\"" \
    "$(text logprobs)"
value logprobs $choice.logprobs | "$jsonl" list - token_logprobs >"$SY_TMP/chosen"
value logprobs $choice.logprobs | "$jsonl" list - top_logprobs | sed 's/^{"[^:]*":\([^,}]*\).*/\1/' >"$SY_TMP/likeliest"
is "logprobs: three alternatives" "$(value logprobs $choice.logprobs.top_logprobs | grep -o '":-' | wc -l)" 18
ok "logprobs: greedy takes the first of them" sh -c 'paste "$1" "$2" |
    awk "{ d = \$1 - \$2; if (\$1 >= 0 || d > 1e-5 || d < -1e-5) bad = 1 } END { exit bad || NR != 6 }"' sh \
    "$SY_TMP/chosen" "$SY_TMP/likeliest"
is "logprobs: the same tokens with 0 alternatives" "$(value logprobs-0 $choice.logprobs.token_logprobs)" \
    "$(value logprobs $choice.logprobs.token_logprobs)"
is "logprobs: then the token itself is the only one" \
    "$(value logprobs-0 $choice.logprobs.top_logprobs | grep -o '":-' | wc -l)" 6
is "logprobs: offsets begin at 0" "$(value logprobs $choice.logprobs.text_offset.0)" 0

# The same numbers as score gives.
value logprobs-echo $choice.prompt_token_ids | sed 's/.*/{"prompt":&}/' >"$SY_TMP/score.in"
value logprobs-echo $choice.logprobs.token_logprobs >"$SY_TMP/found"
switchyard score -m "$demo" -i "$SY_TMP/score.in" -o - --compute f32
is "logprobs of an echoed prompt are score's" "$("$jsonl" get "$SY_TMP/out" token_logprobs)" "$(cat "$SY_TMP/found")"

is "the same seed gives the same text" "$(text hot)" "$(text hot-again)"
ok "another seed another" test "$(text hot)" != "$(text hot-other)"
ok "and temperature is not greedy" test "$(text hot)" != "$(text greedy)"
is "top_k 1 is greedy" "$(text top-k-1)" "$(text greedy)"
is "top_p 0 is greedy" "$(text top-p-0)" "$(text greedy)"

is "null is as not there" "$(text nulls)" "$(text whole)"
is "fields without effect have none" "$(text inert)" "$(text whole)"
is "the batch format: text" "$(text envelope)" "$(text whole)"
is "the batch format: model" "$(value envelope response.body.model)" '"mine"'
is "model of a line that does not say" "$(value whole response.body.model)" '"demo"'
is "a line without custom_id has its number" "$(text "$unnamed")" "$(text whole)"
is "ids are returned when asked for" "$(value logprobs $choice.token_ids.#)" 6
is "and not else" "$(value whole $choice.token_ids)" "-"
is "a prompt of ids" "$(value ids response.body.usage.prompt_tokens)" 3

# ---- what is refused: an error line with a code and a sentence, and the job goes on ----

: >"$SY_TMP/in"
: >"$SY_TMP/refusals"
refuse() { # ID CODE PART-OF-THE-MESSAGE LINE
    printf '%s\n' "$4" >>"$SY_TMP/in"
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$SY_TMP/refusals"
}
field() { # NAME CODE PART FIELDS
    refuse "$1" "$2" "$3" "{\"custom_id\":\"$1\",\"prompt\":\"a\",$4}"
}

refuse 1 invalid_json ":1:" '{"custom_id":"half'
refuse 2 invalid_json "expected an object" '["custom_id"]'
refuse 3 invalid_value '"custom_id" is 7' '{"custom_id":7,"prompt":"a"}'
refuse no-prompt missing_prompt 'has no "prompt"' '{"custom_id":"no-prompt"}'
refuse empty empty_prompt '"prompt" is empty' '{"custom_id":"empty","prompt":""}'
refuse no-ids empty_prompt '"prompt" is empty' '{"custom_id":"no-ids","prompt":[]}'
refuse texts invalid_value 'a line of its own' '{"custom_id":"texts","prompt":["a","b"]}'
refuse far request_does_not_fit '4096' '{"custom_id":"far","prompt":[4096]}'
refuse negative invalid_value '-1' '{"custom_id":"negative","prompt":[-1]}'
refuse long request_does_not_fit "context is 512" \
    "{\"custom_id\":\"long\",\"prompt\":[$(awk 'BEGIN { for (i = 0; i < 512; i++) printf "%s5", i ? "," : "" }')]}"
refuse messages invalid_messages "has no chat template" \
    '{"custom_id":"messages","messages":[{"role":"user","content":"a"}]}'
refuse url unsupported_url "/v1/embeddings" '{"custom_id":"url","url":"/v1/embeddings","body":{"prompt":"a"}}'
refuse beside unsupported_field '"prompt" beside "body"' '{"custom_id":"beside","prompt":"a","body":{"prompt":"a"}}'
field n unsupported_value '"n" is 2' '"n":2'
field best_of unsupported_value '"best_of" is 3' '"best_of":3'
field stream unsupported_value '"stream"' '"stream":true'
field tools unsupported_value '"tools"' '"tools":[{"type":"function"}]'
field logit_bias unsupported_value '"logit_bias"' '"logit_bias":{"5":1}'
field suffix unsupported_value '"suffix"' '"suffix":"end"'
field presence_penalty unsupported_value '"presence_penalty"' '"presence_penalty":0.5'
field unknown unsupported_field '"frobnicate"' '"frobnicate":1'
field max_tokens invalid_value '"max_tokens"' '"max_tokens":"many"'
field max_tokens_below invalid_value '"max_tokens"' '"max_tokens":-1'
field temperature invalid_value '"temperature"' '"temperature":-0.5'
field top_p invalid_value '"top_p"' '"top_p":1.5'
field seed invalid_value '"seed"' '"seed":1.5'
field stop-number invalid_value '"stop"' '"stop":[1]'
field stop-empty invalid_value '"stop"' '"stop":""'
field logprobs-many invalid_value '"logprobs"' '"logprobs":21'
field echo-text invalid_value '"echo"' '"echo":"yes"'
# A line that is not UTF-8 cannot say what its custom_id is, so its number stands for it.
refuse "$(($(wc -l <"$SY_TMP/in") + 1))" invalid_json "byte 0xff" "$(printf '{"custom_id":"bytes","prompt":"a\377b"}')"
printf '{"custom_id":"last",%s,"max_tokens":4}\n' "$prompt" >>"$SY_TMP/in"

rm -f "$SY_TMP/lines"
switchyard_ranks 2 run -m "$demo" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32 --summary "$SY_TMP/summary"
is "refused lines: exit code" "$rc" 0
is "refused lines: each has its line" "$("$jsonl" lines "$SY_TMP/lines")" "$(wc -l <"$SY_TMP/in")"
n_refused=$(wc -l <"$SY_TMP/refusals")
is "refused lines: counted in the summary" "$("$jsonl" get "$SY_TMP/summary" refused requests)" "$n_refused${tab}1"
while IFS=$tab read -r id code part; do
    is "$id: code" "$(value "$id" error.code)" "\"$code\""
    has "$id: message" "$(value "$id" error.message | sed 's/\\"/"/g')" "$part"
done <"$SY_TMP/refusals"
is "the message names file and line" "$(value url error.message | grep -c "in:12: ")" 1
is "a refused line has a status" \
    "$("$jsonl" get "$SY_TMP/lines" response.status_code | sort | uniq -c | tr -s ' \n' ' ')" " 1 200 $n_refused 400 "
expect last ", that when the" length
done_testing

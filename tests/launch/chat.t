#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# chat.t - /v1/chat/completions and run --chat: templates of a checkpoint, answers, and what is refused

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

demo=$SY_SRCDIR/tests/data/demo
jsonl=$SY_BUILDDIR/tests/launch/jsonl
tab=$(printf '\t')
choice=response.body.choices.0

# model NAME: a copy of the demo model without a template, with links to the large files
model() {
    mkdir "$SY_TMP/$1"
    ln -s "$demo"/* "$SY_TMP/$1"
    rm -f "$SY_TMP/$1/tokenizer_config.json"
}

model chatml
cat >"$SY_TMP/chatml/chat_template.jinja" <<'END'
{%- if tools %}tools: {{ tools | tojson }}
{% endif %}
{%- for message in messages %}
    {{- '<' ~ message.role ~ '>' ~ (message.content or '') }}
    {%- for call in message.tool_calls or [] %}
        {%- if call.function.arguments is string %}{{ raise_exception('arguments are a string') }}{% endif %}
        {{- '[' ~ call.function.name ~ ' ' ~ call.function.arguments.x ~ ']' }}
    {%- endfor %}
    {{- '\n' }}
{%- endfor %}
{%- if extra is defined %}{{ extra }}{% endif %}
{%- if add_generation_prompt %}<assistant>And it came to pass{% endif %}
END

request() { # ID BODY-FIELDS
    printf '{"custom_id":"%s","method":"POST","url":"/v1/chat/completions",' "$1" >>"$SY_TMP/in"
    printf '"body":{"return_token_ids":true,"temperature":0,%s}}\n' "$2" >>"$SY_TMP/in"
}

text_of() { # ID TEXT: the same as a prompt
    printf '{"custom_id":"%s","prompt":"%s","return_token_ids":true,' "$1" "$2" >>"$SY_TMP/in"
    printf '"temperature":0,"max_tokens":8,"logprobs":2}\n' >>"$SY_TMP/in"
}

value() { # ID PATH
    "$jsonl" get "$SY_TMP/lines" custom_id "$2" | sed -n "s/^\"$1\"$tab//p"
}

same_prompt() { # ID ID
    is "$1: the prompt is what the template makes" "$(value "$1" $choice.prompt_token_ids)" \
        "$(value "$2" $choice.prompt_token_ids)"
}

hello='"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello"}],"max_tokens":8'
: >"$SY_TMP/in"
request plain "$hello"
text_of plain-text '<system>Be brief.\n<user>Hello\n<assistant>And it came to pass'
request parts '"max_tokens":1,"messages":[{"role":"user","content":
[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]'
text_of parts-text '<user>a\nb\n<assistant>And it came to pass'
request calls '"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":
{"name":"f","arguments":"{\"x\":5}"}},{"function":{"name":"g","arguments":{"x":6}}}]},
{"role":"tool","tool_call_id":"1","content":"r"}],"max_tokens":1'
# One request is one line.
tr '\n' ' ' <"$SY_TMP/in" | sed 's/} {"custom_id"/}\n{"custom_id"/g' >"$SY_TMP/in.lines"
echo >>"$SY_TMP/in.lines"
mv "$SY_TMP/in.lines" "$SY_TMP/in"
text_of calls-text '<assistant>[f 5][g 6]\n<tool>r\n<assistant>And it came to pass'
user='"messages":[{"role":"user","content":"a"}]'
request tools "$user"',"tools":[{"function":{"name":"é"}}],"max_tokens":1'
text_of tools-text 'tools: [{\"function\": {\"name\": \"é\"}}]\n<user>a\n<assistant>And it came to pass'
request kwargs '"messages":[{"role":"user","content":"a"}],"chat_template_kwargs":{"extra":"[x]"},"max_tokens":1'
text_of kwargs-text '<user>a\n[x]<assistant>And it came to pass'
request completion-tokens "$hello"',"max_completion_tokens":3'
request logprobs "$hello"',"logprobs":true,"top_logprobs":2'
request logprobs-0 "$hello"',"logprobs":true'
request stop "$hello"',"stop":["e"]'
request unlimited '"messages":[{"role":"user","content":"a"}]'
printf '{"custom_id":"bare",%s,"temperature":0}\n' "$hello" >>"$SY_TMP/in"

switchyard_ranks 2 run -m "$SY_TMP/chatml" -i "$SY_TMP/in" -o "$SY_TMP/lines" --compute f32
is "exit code" "$rc" 0
is "each line is answered" "$("$jsonl" lines "$SY_TMP/lines")" "$(wc -l <"$SY_TMP/in")"
is "none with an error" "$("$jsonl" get "$SY_TMP/lines" error | sort -u)" null
for name in plain parts calls tools kwargs; do
    same_prompt $name $name-text
done
is "object" "$(value plain response.body.object)" '"chat.completion"'
is "id" "$(value plain response.body.id)" '"chatcmpl-1"'
is "role" "$(value plain $choice.message.role)" '"assistant"'
is "content is what follows the same text" "$(value plain $choice.message.content)" "$(value plain-text $choice.text)"
is "finish_reason" "$(value plain $choice.finish_reason)" '"length"'
is "usage counts the whole prompt" "$(value plain response.body.usage.prompt_tokens)" \
    "$(value plain $choice.prompt_token_ids.#)"
is "max_completion_tokens" "$(value completion-tokens response.body.usage.completion_tokens)" 3
is "no logprobs unless asked for" "$(value plain $choice.logprobs)" null
is "logprobs: one for each token" "$(value logprobs $choice.logprobs.content.#)" 8
is "logprobs: the number of alternatives" "$(value logprobs $choice.logprobs.content.0.top_logprobs.#)" 2
is "logprobs: none of them unless asked for" "$(value logprobs-0 $choice.logprobs.content.0.top_logprobs.#)" 0
is "logprobs: the numbers of /v1/completions" "$(value logprobs $choice.logprobs.content.3.logprob)" \
    "$(value plain-text $choice.logprobs.token_logprobs.3)"
is "logprobs: greedy takes the first alternative" "$(value logprobs $choice.logprobs.content.5.top_logprobs.0.token)" \
    "$(value logprobs $choice.logprobs.content.5.token)"
is "logprobs: bytes of a token" "$(value logprobs $choice.logprobs.content.0.token)" '" to"'
is "logprobs: and as numbers" "$(value logprobs $choice.logprobs.content.0.bytes)" '[32,116,111]'
is "stop strings" "$(value stop $choice.finish_reason)" '"stop"'
ok "a chat without max_tokens may have a long answer" \
    test "$(value unlimited response.body.usage.completion_tokens)" -gt 16
is "a body without envelope" "$(value bare $choice.message.content)" "$(value plain $choice.message.content)"

switchyard_ranks 2 run -m "$SY_TMP/chatml" -p Hello --chat -n 4 --compute f32 --temperature 0
is "run --chat: exit code" "$rc" 0
switchyard run -m "$SY_TMP/chatml" -p '<user>Hello
<assistant>And it came to pass' -n 4 --compute f32 --temperature 0
cp "$SY_TMP/out" "$SY_TMP/as-text"
switchyard run -m "$SY_TMP/chatml" -p Hello --chat -n 4 --compute f32 --temperature 0
is "run --chat: the answer follows the template's text" "$(cat "$SY_TMP/out")" "$(cat "$SY_TMP/as-text")"

# ---- where templates come from, and special tokens ----

# as_prompt WHAT MODEL TEXT MORE-FIELDS: a chat of one message "a" has the ids of the text, without tokens around it
as_prompt() {
    printf '{"custom_id":"chat",%s,"max_tokens":1,"return_token_ids":true%s}\n' "$user" "$4" >"$SY_TMP/in"
    printf '{"custom_id":"text","prompt":"%s","max_tokens":1,"return_token_ids":true}\n' "$3" >"$SY_TMP/in.text"
    switchyard run -m "$demo" -i "$SY_TMP/in.text" -o -
    cp "$SY_TMP/out" "$SY_TMP/lines"
    switchyard run -m "$SY_TMP/$2" -i "$SY_TMP/in" -o -
    cat "$SY_TMP/out" >>"$SY_TMP/lines"
    is "$1" "$(value chat $choice.prompt_token_ids)" "$(value text $choice.prompt_token_ids)"
}

model config
cat >"$SY_TMP/config/tokenizer_config.json" <<'END'
{"bos_token": {"content": "<|endoftext|>"}, "eos_token": "<e>",
 "chat_template": "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ unk_token }}"}
END
as_prompt "a template in tokenizer_config.json, with special tokens" config '<|endoftext|>a<e>' ''
# Now the tokenizer itself puts a token in front, which a template has put there already.
rm "$SY_TMP/config/tokenizer.json"
lead='"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|endoftext|>","type_id":0}},'
lead=$lead'{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<|endoftext|>":'
lead=$lead'{"id":"<|endoftext|>","ids":[4091],"tokens":["<|endoftext|>"]}}}'
sed "s/\"post_processor\": *null/$lead/" "$demo/tokenizer.json" >"$SY_TMP/config/tokenizer.json"
switchyard run -m "$SY_TMP/config" -i "$SY_TMP/in.text" -o -
is "the test's tokenizer adds a token to a prompt" \
    "$("$jsonl" get "$SY_TMP/out" $choice.prompt_token_ids)" '[4091,4091,64,27,68,29]'
as_prompt "special tokens are not added twice" config '<|endoftext|>a<e>' ''

model list
cat >"$SY_TMP/list/tokenizer_config.json" <<'END'
{"chat_template": [{"name": "tool_use", "template": "T{{ tools[0].x }}"},
                   {"name": "default", "template": "D{{ messages[0].content }}"}]}
END
as_prompt "a list of templates: default" list Da ''
as_prompt "a list of templates: tool_use" list T5 ',"tools":[{"x":5}]'
as_prompt "no tools are as none given" list Da ',"tools":[]'
echo "J{{ messages[0].content }}" >"$SY_TMP/list/chat_template.jinja"
as_prompt "chat_template.jinja comes first" list Ja ''
: >"$SY_TMP/list/chat_template.jinja"
switchyard run -m "$SY_TMP/list" -i "$SY_TMP/in" -o -
has "a template that makes no text" "$("$jsonl" get "$SY_TMP/out" error.message)" "the prompt is empty"

# A template that adds the arguments of a call to text.
echo "{{ messages[0].content + messages[1].tool_calls[0].function.arguments }}" >"$SY_TMP/list/chat_template.jinja"
printf '%s' '{"custom_id":"chat","max_tokens":1,"return_token_ids":true,"messages":[{"role":"user","content":"a"},' \
    '{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]}]}' >"$SY_TMP/in"
echo >>"$SY_TMP/in"
printf '%s\n' '{"custom_id":"text","prompt":"a{\"x\":1}","max_tokens":1,"return_token_ids":true}' >>"$SY_TMP/in"
rm -f "$SY_TMP/lines"
switchyard run -m "$SY_TMP/list" -i "$SY_TMP/in" -o "$SY_TMP/lines"
same_prompt chat text

# ---- what is refused ----

: >"$SY_TMP/in"
: >"$SY_TMP/refusals"
refuse() { # ID CODE PART-OF-THE-MESSAGE FIELDS
    printf '{"custom_id":"%s",%s}\n' "$1" "$4" >>"$SY_TMP/in"
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$SY_TMP/refusals"
}
message=$user
refuse none invalid_value '"messages" is an array of 0, expected an array of messages' '"messages":[]'
refuse number invalid_value '"messages" is 7' '"messages":7'
refuse role invalid_value '"messages"[0].role is "king"' '"messages":[{"role":"king","content":"a"}]'
refuse no-role invalid_value '"messages"[0].role is missing' '"messages":["a"]'
refuse no-content invalid_value '"messages"[0] has no content' '"messages":[{"role":"user"}]'
refuse content invalid_value '"messages"[0].content is 7' '"messages":[{"role":"user","content":7}]'
refuse image invalid_value '"messages"[0].content[0] is no text part' \
    '"messages":[{"role":"user","content":[{"type":"image_url"}]}]'
refuse call invalid_value 'a call without function.name' '"messages":[{"role":"assistant","tool_calls":[{}]}]'
refuse arguments invalid_value 'not valid JSON' \
    '"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{"}}]}]'
refuse arguments-list invalid_value 'not an object' \
    '"messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}]'
refuse calls invalid_value 'tool_calls is 5' '"messages":[{"role":"assistant","tool_calls":5}]'
refuse tools invalid_value '"tools"[0] is 1' "$message"',"tools":[1]'
refuse tools-object invalid_value '"tools" is an object' "$message"',"tools":{}'
refuse choice invalid_value '"tool_choice" is "required"' "$message"',"tool_choice":"required"'
refuse kwargs invalid_value '"chat_template_kwargs" is 1' "$message"',"chat_template_kwargs":1'
refuse hidden invalid_value 'cannot set "messages"' "$message"',"chat_template_kwargs":{"messages":[]}'
refuse logprobs invalid_value '"logprobs" is 3' "$message"',"logprobs":3'
refuse top invalid_value '"top_logprobs" needs' "$message"',"top_logprobs":3'
refuse many invalid_value '"top_logprobs" is 21' "$message"',"logprobs":true,"top_logprobs":21'
refuse prompt unsupported_field '"prompt"' "$message"',"prompt":"b"'
refuse echo unsupported_field '"echo"' "$message"',"echo":true'
refuse template invalid_messages 'chat_template.jinja:2:8: the template refuses: not a king' \
    '"messages":[{"role":"developer","content":"x"}]'
refuse long request_does_not_fit "context is 512" \
    "\"messages\":[{\"role\":\"user\",\"content\":\"$(awk 'BEGIN { while (i++ < 3000) printf "ab " }')\"}]"
printf '{"custom_id":"url","url":"/v1/completions","body":{%s}}\n' "$message" >>"$SY_TMP/in"
printf 'url\tunsupported_field\t"messages" go to /v1/chat/completions\n' >>"$SY_TMP/refusals"
printf '{"custom_id":"other","url":"/v1/chat/completions","body":{"prompt":"a"}}\n' >>"$SY_TMP/in"
printf 'other\tmissing_prompt\t"messages" go to\n' >>"$SY_TMP/refusals"
printf '{"custom_id":"last",%s,"max_tokens":1}\n' "$message" >>"$SY_TMP/in"
printf '%s\n' "{%- if messages[0].role == 'developer' %}" "   {{ raise_exception('not a king') }}{% endif %}" \
    '{{ messages[0].content }}' >"$SY_TMP/list/chat_template.jinja"
sed -i 's/^   {{/{{-   /' "$SY_TMP/list/chat_template.jinja"
rm -f "$SY_TMP/lines"
switchyard_ranks 2 run -m "$SY_TMP/list" -i "$SY_TMP/in" -o "$SY_TMP/lines"
is "refused lines: exit code" "$rc" 0
while IFS=$tab read -r id code part; do
    is "$id: code" "$(value "$id" error.code)" "\"$code\""
    has "$id: message" "$(value "$id" error.message | sed 's/\\"/"/g')" "$part"
done <"$SY_TMP/refusals"
is "and the job goes on" "$(value last response.status_code)" 200

printf '{"custom_id":"chat",%s}\n{"custom_id":"text","prompt":"a","max_tokens":1}\n' "$message" >"$SY_TMP/in"
for what in none broken json; do
    model $what
    [ $what != broken ] || echo '{% if %}' >"$SY_TMP/$what/chat_template.jinja"
    [ $what != json ] || echo '{' >"$SY_TMP/$what/tokenizer_config.json"
    rm -f "$SY_TMP/lines"
    switchyard run -m "$SY_TMP/$what" -i "$SY_TMP/in" -o "$SY_TMP/lines"
    case $what in
    none) part="the model has no chat template" ;;
    broken) part="chat_template.jinja:1:7: expected an expression" ;;
    json) part="tokenizer_config.json:" ;;
    esac
    has "template $what: message" "$(value chat error.message)" "$part"
    is "template $what: other lines are answered" "$(value text response.status_code)" 200
    switchyard run -m "$SY_TMP/$what" -p a --chat
    is "template $what: run --chat" "$rc" 65
    has "template $what: and its message" "$(cat "$SY_TMP/err")" "--chat: $part"
done
switchyard run -m "$SY_TMP/none" --chat -i "$SY_TMP/in" -o "$SY_TMP/lines"
is "--chat without --prompt" "$rc" 64
done_testing

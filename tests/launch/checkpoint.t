#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# checkpoint.t - malformed checkpoints end the program on 1 and 2 ranks with a sentence and an exit code

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

model=$SY_TMP/model
golden=$SY_SRCDIR/tests/data/goldens/qwen3_moe
SY_RUN_TIMEOUT=20

fresh() { # FILES...: the model's folder with copies of them
    rm -rf "$model"
    mkdir "$model"
    cp "$@" "$model"
    chmod -R u+w "$model"
}

edit() { # FILE SED-SCRIPT: must change something; the header of a safetensors file keeps its length
    LC_ALL=C sed "$2" "$model/$1" >"$SY_TMP/edited"
    ! cmp -s "$SY_TMP/edited" "$model/$1" || diag "the edit changed nothing: $2"
    mv "$SY_TMP/edited" "$model/$1"
}

refused() { # NAME EXIT-CODE PART-OF-THE-MESSAGE...
    name=$1
    code=$2
    shift 2
    # Side by side, since most of the time goes by in the start and end of MPI.
    for ranks in 1 2; do
        [ $ranks -eq 1 ] && launcher= || launcher="$MPIRUN -n $ranks"
        # shellcheck disable=SC2086 # the launcher is a command with arguments
        timeout -k 10 20 $launcher "$SY_BUILDDIR/switchyard" run -m "$model" -p 1,2,3 -n 2 </dev/null >"$SY_TMP/out" \
            2>"$SY_TMP/err.$ranks" &
        eval "job_$ranks=$!"
    done
    # shellcheck disable=SC2154 # set above
    for ranks in 1 2; do
        eval "wait \$job_$ranks"
        rc=$?
        grep '^switchyard: ' "$SY_TMP/err.$ranks" >"$SY_TMP/said"
        is "$name, $ranks ranks: exit code" "$rc" "$code" || diag "$(cat "$SY_TMP/err.$ranks")"
        for part in "$@"; do
            has "$name, $ranks ranks: message" "$(cat "$SY_TMP/said")" "$part"
        done
        is "$name, $ranks ranks: said once" "$(wc -l <"$SY_TMP/said")" 1
    done
}

single() {
    fresh "$golden/config.json" "$golden/generation_config.json" "$golden/model.safetensors"
}

single
switchyard_ranks 2 run -m "$model" -p 1,2,3 -n 2
is "the checkpoint before it is touched: exit code" "$rc" 0

# ---- safetensors ----

single
printf '\377\377\377\377\377\377\377\177' | dd of="$model/model.safetensors" conv=notrunc 2>/dev/null
refused "length of the header" 65 model.safetensors header
single
edit model.safetensors '1s/{"__metadata__":{/["__metadata__":{/'
refused "header that is no JSON" 65 model.safetensors
single
head -c 700000 "$golden/model.safetensors" >"$model/model.safetensors"
refused "file cut off" 65 model.safetensors 700000
single
edit model.safetensors '1s/\("model.norm.weight":{"dtype":"\)BF16/\1BF99/'
refused "unknown type" 65 model.safetensors model.norm.weight BF99
single
edit model.safetensors '1s/model\.norm\.weight/model.norm.weighs/'
refused "missing tensor" 65 model.norm.weight
single
edit model.safetensors '1s/\[40960,81920\]/[40958,81918]/'
refused "overlapping tensors" 65 model.safetensors model.embed_tokens.weight
single
edit model.safetensors '1s/\[774912,775040\]/[994912,995040]/'
refused "offsets outside the file" 65 model.safetensors model.norm.weight
single
edit model.safetensors '1s/\[320,64\],"data_offsets":\[0,/[9999999999,64],"data_offsets":[0,/; 1s/}}       /}}/'
refused "shape that does not fit the bytes" 65 model.safetensors lm_head.weight 9999999999
single
edit model.safetensors '1s/layers\.0\.self_attn\.q_norm/layers.0.self_attn.k_norm/'
refused "tensor that is there twice" 65 model.safetensors

# ---- config.json ----

single
edit config.json 's/"hidden_size": 64/"hidden_size": 80/'
refused "shape that is not the config's" 65 model.safetensors 80 64
single
edit config.json 's/Qwen3MoeForCausalLM/Qwen9MoeForCausalLM/; s/qwen3_moe/qwen9_moe/'
refused "unknown architecture" 65 Qwen9MoeForCausalLM Qwen3MoeForCausalLM MixtralForCausalLM OlmoeForCausalLM
single
head -c 200 "$golden/config.json" >"$model/config.json"
refused "config that is cut off" 65 config.json:
single
edit config.json 's/"num_experts_per_tok": 4/"num_experts_per_tok": 400/'
refused "more experts for a token than there are" 65 config.json num_experts_per_tok 400
single
awk 'BEGIN { for (i = 0; i < 100000; i++) printf "["; print "" }' >"$model/config.json"
refused "config of deep nesting" 65 config.json
single
rm "$model/config.json"
refused "no config" 74 config.json "No such file"
single
rm "$model/model.safetensors"
refused "no weights" 74 "model.safetensors"

# ---- shards and index; hub caches are made of symbolic links ----

sharded() {
    rm -rf "$model"
    mkdir "$model"
    ln -s "$demo"/* "$model"
    rm "$model/model.safetensors.index.json" "$model/tokenizer.json"
    cp "$demo/model.safetensors.index.json" "$demo/tokenizer.json" "$model"
    chmod u+w "$model/model.safetensors.index.json" "$model/tokenizer.json"
}

sharded
switchyard_ranks 2 run -m "$model" -p hello -n 2
is "a folder of symbolic links: exit code" "$rc" 0
sharded
edit model.safetensors.index.json 's|"model-00002-of|"../demo/model-00002-of|'
refused "shard name with .." 65 model.safetensors.index.json ../demo/model-00002-of
sharded
edit model.safetensors.index.json "s|\"model-00002-of|\"$demo/model-00002-of|"
refused "absolute shard name" 65 model.safetensors.index.json "$demo/model-00002-of"
sharded
rm "$model/model-00002-of-00002.safetensors"
refused "missing shard" 74 model-00002-of-00002.safetensors
sharded
edit model.safetensors.index.json 's|"model.norm.weight": "model-00001|"model.norm.weight": "model-00002|'
refused "tensor that is in another shard" 65 model.norm.weight
sharded
edit tokenizer.json 's/"BPE"/"Trie"/'
refused "unknown tokenizer" 65 tokenizer.json Trie

# ---- where one rank differs ----

# Each rank has a folder of its own; the name that rank 0 gives to all is relative.
apart() { # folders rank.0 and rank.1 are made
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 20 $MPIRUN -n 2 sh -c 'cd "$0.${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}" && exec "$@"' "$SY_TMP/rank" \
        "$SY_BUILDDIR/switchyard" run -m model -p 1,2,3 -n 2 </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

single
mkdir "$SY_TMP/rank.0" "$SY_TMP/rank.1"
cp -R "$model" "$SY_TMP/rank.0"
apart
is "absent on the other node: exit code" "$rc" 74
ok "absent on the other node: the message names it" \
    grep -q "^switchyard: rank 1 ($(uname -n)): .*model" "$SY_TMP/err" || diag "$(cat "$SY_TMP/err")"
cp -R "$model" "$SY_TMP/rank.1"
apart
is "on both: exit code" "$rc" 0
head -c 700000 "$golden/model.safetensors" >"$SY_TMP/rank.1/model/model.safetensors"
apart
is "another copy on the other node: exit code" "$rc" 65
ok "another copy on the other node: the message names it" \
    grep -q "^switchyard: rank 1 ($(uname -n)): .*model.safetensors" "$SY_TMP/err" || diag "$(cat "$SY_TMP/err")"

# ---- more ranks than experts ----

switchyard_ranks 9 run -m "$SY_SRCDIR/tests/data/goldens/mixtral" -p 1,2,3 -n 2
is "9 ranks for 8 experts: exit code" "$rc" 64
has "9 ranks for 8 experts: message" "$(cat "$SY_TMP/err")" "9 ranks"
has "9 ranks for 8 experts: message" "$(cat "$SY_TMP/err")" "8 experts"
done_testing

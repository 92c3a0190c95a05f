#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# doctor.t - what doctor says of a checkpoint: published sizes without weights, what ranks really hold, what is not used

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

hollow=$SY_BUILDDIR/tests/launch/hollow
goldens=$SY_SRCDIR/tests/data/goldens

squeeze() { # standard output of the last run, runs of blanks as one
    tr -s ' ' <"$SY_TMP/out"
}

# ---- published models: headers of the real sizes, with holes for data ----

# This machine may be too small for them: the description comes all the same, and the exit code is then 71.
published() { # NAME SHARDS LINE...: each line is in what doctor says
    name=$1
    mkdir "$SY_TMP/$name"
    "$hollow" "$name" "$SY_TMP/$name" "$2"
    SY_RUN_TIMEOUT=60 switchyard doctor -m "$SY_TMP/$name" --ranks 1,8
    case $rc in
    0 | 71) tap_result 0 "$name: exit code" ;;
    *) tap_result 1 "$name: exit code" || diag "exit code $rc: $(cat "$SY_TMP/err")" ;;
    esac
    shift 2
    for line in "$@" "config.json all keys are known"; do
        has "$name: $line" "$(squeeze)" "$line"
    done
    rm -r "${SY_TMP:?}/$name"
}

# OLMoE: 6.92 B and 1.28 B in the paper (arXiv 2409.02060); 6,919,161,856 on the hub.
published olmoe-1b-7b 3 \
    "model OlmoeForCausalLM, 6.92 B parameters (6919161856), 1.28 B active (1282017280)" \
    "layers 16: 16 with experts; hidden 2048, vocabulary 50304, context 4096" \
    "attention 16 query heads, 16 key and value heads, of 128 dims, q and k normed as a whole" \
    "RoPE default, theta 10000, 128 dims turn" \
    "experts 64 a layer, top-8, width 1024; router softmax" \
    "KV cache --compute bf16 BF16, 131072 bytes a token; at most 536.87 MB for a sequence of 4096 tokens"

# Qwen3-30B-A3B: 30.5 B and 3.3 B on the model card; 30,532,122,624 on the hub.
published qwen3-30b-a3b 16 \
    "model Qwen3MoeForCausalLM, 30.53 B parameters (30532122624), 3.35 B active" \
    "attention 32 query heads, 4 key and value heads, of 128 dims, q and k normed head by head"

# Mixtral-8x7B: 46.7 B and 12.9 B (arXiv 2401.04088); 46,702,792,704 on the hub.
published mixtral-8x7b 19 \
    "model MixtralForCausalLM, 46.70 B parameters (46702792704), 12.88 B active" \
    "all 46.70 B 12.88 B 93.41 GB BF16"

# gpt-oss-20b: 20.91 B, and 3.61 B active without the embedding of 0.58 B, which counts here (arXiv 2508.10925).
published gpt-oss-20b 3 \
    "model GptOssForCausalLM, 20.91 B parameters (20914757184), 4.19 B active" \
    "embedding 579.13 M 579.13 M 1.16 GB BF16" \
    "experts 19.12 B 2.39 B 10.17 GB BF16 13.27 MB, MXFP4 9.56 GB, scales 597.20 MB" \
    "RoPE yarn, theta 150000, 64 dims turn, factor 32 from 4096 tokens" \
    "windows 12 of 24 layers see the last 128 tokens" \
    "weights mxfp4; activations are not quantised" \
    "KV cache --compute bf16 BF16, 24576 bytes a token, and 24576 bytes for each of the last 128; at most 3.22 GB"

# DeepSeek-V3: 671 B and 37 B without the layer for multi-token prediction (arXiv 2412.19437); 91991 tensors in 163 files.
published deepseek-v3 163 \
    "91991 tensors in 163 files, 688.57 GB" \
    "model DeepseekV3ForCausalLM, 671.03 B parameters (671026419200), 37.55 B active" \
    "layers 61: 58 with experts, 3 dense of width 18432; hidden 7168, vocabulary 129280, context 163840" \
    "attention latent (MLA): 128 heads of 128 + 64 rotary dims, values of 128; rank of keys and values 512, of queries 1536" \
    "experts 256 a layer, top-8, width 2048; router sigmoid, 4 of 8 groups; shared expert of width 2048" \
    "experts 653.91 B 20.43 B 654.07 GB F8_E4M3 653.91 GB, scales 159.65 MB" \
    "not loaded model.layers.61: 1564 tensors, 15.42 GB; multi-token prediction, after the last layer" \
    "KV cache --compute bf16 F16, 70272 bytes a token" \
    "8 32 84.29 GB"

# ---- what run holds on R ranks is what doctor said ----

row() { # R: experts and all else, from the row of R ranks
    awk -v ranks="$1" '$1 == "ranks" { table = 1 }
        table && $1 == ranks && !/cannot/ { n = $3 == "or" ? 5 : 3; print $n, $(n + 1) ", " $(n + 2), $(n + 3) }' \
        "$SY_TMP/out"
}

for model in "$demo" "$goldens/deepseek_v3_fp8" "$goldens/gpt_oss_yarn" "$goldens/granitemoe"; do
    switchyard doctor -m "$model" --ranks 1,2,3
    is "doctor $(basename "$model"): exit code" "$rc" 0
    cp "$SY_TMP/out" "$SY_TMP/said.out"
    for ranks in 1 3; do
        switchyard_ranks $ranks run -m "$model" -p "$([ "$model" = "$demo" ] && echo In || echo 1,2)" -n 1
        cp "$SY_TMP/said.out" "$SY_TMP/out"
        is "$(basename "$model") on $ranks ranks: what it holds" "$(row $ranks)" \
            "$(sed -n 's/.*memory: dense weights \(.*\) a node, experts \(.*\), KV cache.*/\2, \1/p' "$SY_TMP/err")"
    done
done
switchyard_ranks 2 doctor -m "$demo"
is "without --ranks: one row, of the ranks that there are" \
    "$(awk '/^verdict/ { on = 0 } on && NF { print $1 } $1 == "ranks" { on = 1 }' "$SY_TMP/out" | tr '\n' ' ')" "2 "
is "2 ranks: described once" "$(grep -c '^model  ' "$SY_TMP/out")" 1

# ---- --ranks ----

switchyard doctor -m "$goldens/mixtral" --ranks 8,9
is "more ranks than experts: exit code" "$rc" 0
has "more ranks than experts: the row" "$(squeeze)" " 9 more ranks than experts: cannot run"
for list in "" "," "1," 0 x "1,,2" 1,2x 1,5000 -1 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17; do
    switchyard doctor -m "$demo" --ranks "$list"
    is "--ranks '$list': exit code" "$rc" 64
    has "--ranks '$list': message" "$(cat "$SY_TMP/err")" "--ranks: "
done

# ---- keys and tensors without a use ----

mkdir "$SY_TMP/odd"
cp "$goldens/qwen3_moe_fp8/model.safetensors" "$SY_TMP/odd"
sed 's/"hidden_act"/"use_twist": true, "vision_config": {"depth": 3}, "nothing": null, "hidden_act"/
    s/"fmt"/"desc_act": true, "fmt"/' "$goldens/qwen3_moe_fp8/config.json" >"$SY_TMP/odd/config.json"
names="quantization_config.desc_act, use_twist, vision_config"
sorted() { # LINE: the names after the colon in order
    echo "${1#*ignored: }" | sed 's/, /\n/g' | sort | paste -sd, | sed 's/,/, /g'
}
switchyard doctor -m "$SY_TMP/odd"
is "keys that are not known: exit code" "$rc" 0
has "keys that are not known: how many" "$(squeeze)" "config.json 3 keys not known, ignored: "
is "keys that are not known: doctor names them" "$(sorted "$(grep '^config.json' "$SY_TMP/out")")" "$names"
switchyard run -m "$SY_TMP/odd" -p 1,2 -n 1
is "keys that are not known: run" "$rc" 0
is "keys that are not known: run names them" "$(sorted "$(grep 'keys not known' "$SY_TMP/err")")" "$names"

sed 's/"num_hidden_layers": 2/"num_hidden_layers": 1/' "$goldens/qwen3_moe_fp8/config.json" >"$SY_TMP/odd/config.json"
switchyard run -m "$SY_TMP/odd" -p 1,2 -n 1
is "a layer after the last: exit code" "$rc" 0
has "a layer after the last: said" "$(cat "$SY_TMP/err")" "not loaded: model.layers.1, "
has "the model in a line" "$(cat "$SY_TMP/err")" "Qwen3MoeForCausalLM, 2.04 M parameters (709.44 K active), 1 layer"

# ---- ranks that the launcher has bound: one alone on its CPU, two that share another ----

allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr , '\n' | sed 's/-/ /' |
    while read -r first last; do seq "$first" "${last:-$first}"; done)
alone=$(echo "$allowed" | sed -n 1p) shared=$(echo "$allowed" | sed -n 2p)
doctor_bound() { # CPU of rank 0, CPU of the others
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n 3 sh -c 'cpu=$1
        [ "${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" = 0 ] || cpu=$2
        shift 2
        exec taskset -c "$cpu" "$@"' sh "$1" "$2" "$SY_BUILDDIR/switchyard" doctor </dev/null \
        >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

if [ -n "$shared" ] && command -v taskset >/dev/null; then
    doctor_bound "$alone" "$shared"
    is "bound by the launcher: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    if squeeze | grep -q 'limited to .* cores$'; then
        skip "bound by the launcher: whose CPUs are whose" "a quota shares the cores with others"
    else
        is "bound by the launcher: whose CPUs are whose" "$(sed -n 's/^CPUs of rank //p' "$SY_TMP/out")" "0: $alone
1: any of $shared
2: any of $shared"
        is "bound by the launcher: who waits for whom" "$(grep -c '^note: .* has 2 threads on 1 cores' "$SY_TMP/out")" 1
    fi
else
    skip "bound by the launcher" "two CPUs and taskset are needed"
fi
done_testing

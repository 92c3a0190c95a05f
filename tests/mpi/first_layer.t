#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# first_layer.t - golden.c finds a copy of a golden with one number changed, and names the first layer that is off

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

program=$SY_BUILDDIR/tests/mpi/golden.np2.t
model=$SY_TMP/model

fresh() { # FAMILY
    rm -rf "$model"
    mkdir "$model"
    cp "$SY_SRCDIR/tests/data/goldens/$1"/*.json "$SY_SRCDIR/tests/data/goldens/$1"/*.safetensors "$model"
    chmod -R u+w "$model"
}

golden() {
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 60 $MPIRUN -n 2 "$program" "$model" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
    rc=$?
}

# The copy must fail, and name this place as the first.
named() { # NAME LAYER POSITION
    golden
    is "$1: exit code" "$rc" 1
    is "$1: the place" "$(sed -n 's/^# model: \(.*\): by .*, allowed .*/\1/p' "$SY_TMP/out")" \
        "$2 is the first that is off: $3" ||
        diag "$(cat "$SY_TMP/out" "$SY_TMP/err")"
}

weight() { # FAMILY TENSOR LAYER POSITION
    fresh "$1"
    ok "$1: a sign in $2 changes" "$SY_BUILDDIR/tests/launch/tensors" spoil "$model/model.safetensors" "$2"
    named "$1: $2" "$3" "$4"
}

key() { # FAMILY KEY VALUE LAYER POSITION
    fresh "$1"
    sed "s/\"$2\": [^,]*/\"$2\": $3/" "$SY_SRCDIR/tests/data/goldens/$1/config.json" >"$model/config.json"
    named "$1: $2 of $3" "$4" "$5"
}

fresh glm4_moe
golden
is "an untouched copy: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/out" "$SY_TMP/err")"

weight mixtral model.layers.0.self_attn.o_proj.weight "layer 0" "prompt 0, position 0"
weight deepseek_v3 model.layers.1.mlp.experts.3.down_proj.weight "layer 1" "prompt 0, position 0"
# The first position attends to itself alone, whatever its key is.
weight deepseek_v3 model.layers.2.self_attn.kv_b_proj.weight "layer 2 or the final norm" "prompt 0, position 1"
weight deepseek_v3_fp8 model.layers.1.mlp.shared_experts.up_proj.weight "layer 1" "prompt 0, position 0"
weight glm4_moe model.layers.0.mlp.down_proj.weight "layer 0" "prompt 0, position 0"
weight phimoe model.norm.bias "layer 1 or the final norm" "prompt 0, position 0"
key granitemoe embedding_multiplier 6.01 "the embedding" "prompt 0, position 0"
key granitemoe residual_multiplier 0.31 "layer 0" "prompt 0, position 0"
# The first prompt is shorter than the window.
key gpt_oss sliding_window 9 "layer 0" "prompt 1, position 8"
key deepseek_v2 routed_scaling_factor 1.01 "layer 1" "prompt 0, position 0"
done_testing

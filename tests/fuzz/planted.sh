#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# planted.sh - does fuzzing find anything? Take one check out of a copy of a parser and let the fuzzer look for it
#
# usage: tests/fuzz/planted.sh [SECONDS]        (time for each bug, default 120; needs clang with libFuzzer)
# Each bug starts from one input that is right, not from the stored corpus, which has most mistakes in it already. The
# fuzzer's seed is fixed, so that a run can be repeated.

: "${SY_SRCDIR:=$(cd "$(dirname "$0")/../.." && pwd)}"
# shellcheck source=tests/sh-tap.sh
. "$SY_SRCDIR/tests/sh-tap.sh"
seconds=${1:-120}

copy() { # a fresh copy of what the harnesses are made of, and an empty corpus
    rm -rf "$SY_TMP/top"
    mkdir -p "$SY_TMP/top"
    (cd "$SY_SRCDIR" && tar cf - src kernels topo tests/tap.h tests/fuzz) | (cd "$SY_TMP/top" && tar xf -)
    mkdir -p "$SY_TMP/top/tests/data/fuzz/$1"
}

# planted WHAT HARNESS FILE SED FORMAT TEXT: the edit changes FILE, and fuzzing HARNESS then ends with a failing input in
# time. An edit of "" changes nothing and must find nothing. The first input is what printf makes of FORMAT and TEXT.
planted() {
    copy "$2"
    # shellcheck disable=SC2059 # the format has the bytes before the text
    printf "$5" "$6" >"$SY_TMP/top/tests/data/fuzz/$2/first"
    if [ -n "$4" ]; then
        sed -i "$4" "$SY_TMP/top/$3"
        if cmp -s "$SY_SRCDIR/$3" "$SY_TMP/top/$3"; then
            tap_result 1 "$1: the edit no longer fits $3"
            return
        fi
    fi
    begin=$(date +%s)
    SY_FUZZ_DIR="$SY_TMP/top/build" "$SY_TMP/top/tests/fuzz/run.sh" "$2" "$seconds" \
        -seed=1 -dict="$SY_SRCDIR/tests/fuzz/$2.dict" >"$SY_TMP/log" 2>&1
    rc=$?
    took=$(($(date +%s) - begin))
    if [ -z "$4" ]; then
        is "$1: nothing is found" "$rc" 0
    else
        grep -q 'SUMMARY: ' "$SY_TMP/log"
        tap_result $? "$1: found in $took s, compilation included" || diag "$(tail -n 5 "$SY_TMP/log")"
        grep 'SUMMARY: ' "$SY_TMP/log" | sed "s,$SY_TMP/top/,,; s,^,# ,"
    fi
    rm -rf "$SY_TMP/top/build/corpus"
}

header='{"a":{"dtype":"BF16","shape":[1,1,1,1,1,1,2,3],"data_offsets":[0,12]}}'
# The first name is one dot away from leaving.
index='{"weight_map":{"a":".../m1.safetensors","b":"m2.safetensors"}}'
config='{"architectures":["Qwen3MoeForCausalLM"],"hidden_size":4,"num_hidden_layers":1,"num_attention_heads":2,
"num_experts":2,"num_experts_per_tok":1,"moe_intermediate_size":3,"vocab_size":5}'

planted "number of dimensions not limited" safetensors src/model/safetensors.c \
    '/n_dims == SY_TENSOR_DIMS_MAX/s/if (.*)/if (false)/' 'h\014\0\0\0%s' "$header"
planted "shard names may leave the folder" safetensors src/model/shard_index.c \
    '/strncmp(at, "\.\.", 2)/s/if (.*)/if (false)/' 'i%s' "$index"
planted "more experts for a token than there are" config src/model/bind_mlp.c \
    '/router.top_k > m->n_experts/s/if (.*)/if (false)/' '%s' "$config"
seconds=10
planted "nothing changed" safetensors src/model/safetensors.c '' 'h\014\0\0\0%s' "$header"
done_testing

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - fuzz a parser: tests/fuzz/run.sh [--coverage] NAME [SECONDS] [LIBFUZZER_OPTION]...
#
# NAME is safetensors, config, tokenizer, jsonl, template, nccl, hwloc or cluster; SECONDS is 60 unless given. Needs
# clang with libFuzzer. The harness is built in SY_FUZZ_DIR (default: build/fuzz in the source folder); inputs that
# reach something new are kept there in corpus/NAME, and an input that fails is left as NAME-crash-* and its like. To
# store one, copy it to tests/data/fuzz/NAME, whose files `make check` replays. What hwloc itself does not survive is
# reported and is no failure.
# --coverage runs the stored corpus instead and prints how many lines of the parser it reaches.
set -eu

usage() {
    sed -n '3s/^# //p' "$0" >&2
    exit 2
}

coverage=
if [ "${1:-}" = --coverage ]; then
    coverage=1
    shift
fi
[ $# -ge 1 ] || usage
name=$1
seconds=${2:-60}
if [ $# -ge 2 ]; then shift 2; else shift; fi

top=$(cd "$(dirname "$0")/../.." && pwd)
dir=${SY_FUZZ_DIR:-$top/build/fuzz}
clang=${CLANG:-clang}
seeds=$top/tests/data/fuzz/$name

# Which files hold the parser: coverage is counted over them. All harnesses are linked with all of these folders.
sources="src/base/*.c src/model/*.c src/chat/*.c kernels/dtype.c kernels/ref/*.c kernels/cpu/pack.c kernels/cpu/queue.c
    tests/fuzz/shards.c tests/fuzz/bound.c"
heads="src/model/safetensors.c src/model/scan.c src/model/shard_index.c src/model/meta.c src/model/checkpoint.c"
describe="src/model/config*.c src/model/families.c src/model/bind*.c src/model/quantization.c src/model/matrix.c
    src/model/model.c src/model/rope.c"
case $name in
safetensors) parser="$heads $describe src/model/shard.c src/model/load.c" ;;
config) parser=$describe ;;
tokenizer)
    parser="src/model/tokenizer.c src/model/tokenizer_read.c src/model/tiktoken.c src/model/added.c
        src/model/normalizer.c src/model/nfc.c src/model/pretokenizer.c src/model/pretokenizer_read.c
        src/model/pattern.c src/model/bpe.c src/model/vocab.c src/model/postprocessor.c
        src/model/decoder.c src/model/bytelevel.c src/model/detokenizer.c"
    ;;
jsonl)
    parser="src/cli/batch.c src/cli/chat_line.c"
    sources="$sources $parser src/cli/render.c"
    ;;
template) parser="src/chat/*.c" ;;
nccl)
    parser="topo/nccl_*.c"
    sources="src/base/*.c topo/*.c"
    ;;
cluster)
    parser="topo/cluster_*.c topo/yamltree.c topo/quantity.c topo/range.c topo/report.c topo/model*.c topo/path.c"
    sources="src/base/*.c topo/*.c"
    ;;
hwloc)
    parser="topo/hwloc_*.c"
    sources="src/base/*.c topo/*.c"
    ;;
*) usage ;;
esac

libraries="jansson libpcre2-8 libutf8proc yaml-0.1 hwloc expat"
mkdir -p "$dir/corpus/$name"

# build FILE FLAGS SOURCE...: the harness, with other sources than its own
build() {
    out=$1
    # shellcheck disable=SC2086 # a list of words
    flags="-std=gnu11 -D_GNU_SOURCE -g -O1 -ffp-contract=off -Isrc -I. -Ikernels -Itopo -Itests -Itests/fuzz $2
        $(pkg-config --cflags $libraries)"
    shift 2
    rm -rf "$out-objects"
    mkdir -p "$out-objects"
    (
        cd "$top"
        # shellcheck disable=SC2086 # lists of words, and patterns
        for source in $sources "tests/fuzz/fuzz_$name.c" "$@"; do
            echo "-c $source -o $out-objects/$(echo "$source" | tr / _).o"
        done | xargs -P "$(nproc)" -L 1 "$clang" $flags
        # shellcheck disable=SC2046,SC2086
        "$clang" $flags "$out-objects"/*.o -o "$out" $(pkg-config --libs $libraries) -lpthread -lm
    )
    rm -rf "$out-objects"
}

# Beside clang there may be tools with its version in their names, or in a folder of their own.
tool() {
    version=$("$clang" -dumpversion | cut -d. -f1)
    for candidate in "$1" "$1-$version" "/usr/lib/llvm-$version/bin/$1"; do
        if command -v "$candidate" >/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "run.sh: $1 was not found; it comes with llvm (Debian, Ubuntu: package llvm)" >&2
    exit 1
}

# Functions that read files, which no input of a harness can reach.
io='read_.*|check_plain|exists_in|open_shard|size_fail|sy_tokenizer_open'
io="$io|sy_checkpoint_(read|verify|verify_headers|bytes_read)"

# Lines of the parser that the inputs in $seeds reach.
measure() {
    profdata=$(tool llvm-profdata)
    cov=$(tool llvm-cov)
    build "$dir/$name-coverage" "-fprofile-instr-generate -fcoverage-mapping" tests/fuzz/replay.c tests/tap.c
    LLVM_PROFILE_FILE=$dir/$name.profraw "$dir/$name-coverage" "$seeds" >"$dir/$name.tap"
    "$profdata" merge -o "$dir/$name.profdata" "$dir/$name.profraw"
    # shellcheck disable=SC2086 # a list of words
    (cd "$top" && "$cov" report "$dir/$name-coverage" -instr-profile="$dir/$name.profdata" -show-functions $parser) |
        awk -v io="^($io)\$" -v reads="src/model/(meta|checkpoint|tokenizer)[.]c" '
            function show(what, n, missed) { printf "%-36s %5d of %5d lines %6.1f %%\n", what, n - missed, n,
                                             n ? 100 * (n - missed) / n : 0 }
            /^File / { if (file) show(file, lines, missed); lines = missed = 0; file = $2; gsub(/[\047:]/, "", file)
                       sub(/.*src\//, "src/", file); next }
            $1 == "TOTAL" || $1 == "Name" || NF < 7 { next }
            { name = $1; sub(/.*:/, "", name) }
            file ~ reads && name ~ io { next }
            { lines += $5; missed += $6; all += $5; all_missed += $6 }
            END { show(file, lines, missed); show("all", all, all_missed) }'
}

if [ -n "$coverage" ]; then
    measure
    exit 0
fi

build "$dir/$name" "-fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all" tests/fuzz/mutate.c \
    tests/fuzz/mutate_json.c tests/fuzz/mutate_text.c
dict=$top/tests/fuzz/$name.dict
[ ! -f "$dict" ] || set -- -dict="$dict" "$@"
exec "$dir/$name" -max_total_time="$seconds" -artifact_prefix="$dir/$name-" -timeout=10 \
    -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=8192 -print_final_stats=1 "$@" "$dir/corpus/$name" "$seeds"

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cli.t - help, version, settings from flags, environment and files, and what a wrong command line is told

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/launch/job.sh
. "$SY_SRCDIR/tests/launch/job.sh"

commands="run score doctor topo bench"
tab=$(printf '\t')

# Settings of the caller must not reach these runs.
for name in $(env | sed -n 's/^\(SWITCHYARD_[A-Z_]*\)=.*/\1/p'); do
    unset "$name"
done

shown() { # what the last run printed to standard output
    cat "$SY_TMP/out"
}

said() { # and to standard error
    cat "$SY_TMP/err"
}

setting() { # NAME ARGUMENT...: a line of --print-config
    setting_name=$1
    shift
    "$SY_BUILDDIR/switchyard" "$@" --print-config | sed -n "s/^$setting_name = //p"
}

# ---- help and version ----

switchyard --help
is "--help: exit code" "$rc" 0
for command in $commands; do
    has "--help names $command" "$(shown)" "  $command "
done
for code in 64 65 69 70 71 74; do
    has "--help tells exit code $code" "$(shown)" " $code  "
done
switchyard
is "nothing at all: exit code" "$rc" 64
has "nothing at all: the usage is shown" "$(said)" "Usage: switchyard COMMAND"

for command in $commands; do
    switchyard "$command" --help
    is "$command --help: exit code" "$rc" 0
    cp "$SY_TMP/out" "$SY_TMP/help"
    switchyard "$command" -h
    ok "$command -h is the same" cmp "$SY_TMP/help" "$SY_TMP/out"
    switchyard help "$command"
    ok "so is help $command" cmp "$SY_TMP/help" "$SY_TMP/out"
    switchyard "$command" --print-config
    is "$command --print-config: exit code" "$rc" 0
    sed -n 's/^# \([a-z0-9-]*\) is not set.*/\1/p; s/^\([a-z0-9-]*\) = .*/\1/p' "$SY_TMP/out" | sort >"$SY_TMP/settings"
    {
        cat "$SY_TMP/settings"
        printf '%s\n' config help print-config
    } | sort >"$SY_TMP/expected"
    grep -o '^  \(-., \|    \)--[a-z0-9-]*' "$SY_TMP/help" | sed 's/.*--//' | sort >"$SY_TMP/found"
    ok "$command --help has each option of --print-config, and no other" diff "$SY_TMP/expected" "$SY_TMP/found"
    ok "$command has options" test "$(wc -l <"$SY_TMP/settings")" -ge 5
    {
        cat "$SY_TMP/settings"
        echo config
    } | tr 'a-z-' 'A-Z_' | sed 's/^/SWITCHYARD_/' | sort >"$SY_TMP/expected"
    grep -o '(SWITCHYARD_[A-Z_]*)' "$SY_TMP/help" | tr -d '()' | sort >"$SY_TMP/found"
    ok "$command --help names the environment of each" diff "$SY_TMP/expected" "$SY_TMP/found"
    is "$command --help: no line is wider than 90 columns, none ends with a blank" \
        "$(grep -c '.\{91\}\| $' "$SY_TMP/help")" 0
done

switchyard --version
is "--version: exit code" "$rc" 0
for word in "switchyard [0-9]" "compiler " "flags " "kernels .*portable" "MPI .*[0-9]" "hwloc .*[0-9]" \
    "expat .*[0-9]" "jansson .*[0-9]" "PCRE2 .*[0-9]" "utf8proc .*[0-9]" "libyaml .*[0-9]"; do
    ok "--version tells: $word" grep -q "$word" "$SY_TMP/out"
done
cp "$SY_TMP/out" "$SY_TMP/version"
switchyard -V
ok "-V is the same" cmp "$SY_TMP/version" "$SY_TMP/out"
switchyard_ranks 2 --version
is "--version on 2 ranks is said once" "$(grep -c '^switchyard ' "$SY_TMP/out")" 1

# ---- wrong command lines ----

wrong() { # MESSAGE-PART ARGUMENT...
    part=$1
    shift
    switchyard "$@"
    is "switchyard $*: exit code" "$rc" 64
    has "switchyard $*: message" "$(said)" "$part"
}

wrong "did you mean run" rum
wrong "did you mean score" scorr
wrong "did you mean score" help scorr
wrong "help: unexpected argument \"twice\"" help run twice
wrong "did you mean run" --help rum
wrong "--version: unexpected argument \"please\"" --version please
wrong "did you mean --temperature" run --tempature 1
wrong "did you mean --max-tokens" run --max-token 1
wrong "--threads" run --thread 1
wrong "needs a value" run --model
wrong "see --help" run --zzzzzzzz
wrong "unknown option --temperature" score --temperature 1
wrong "--threads" run --threads many
wrong "--threads" run --threads=-1
wrong "--kv-bytes" run --kv-bytes 12parsec
wrong "--compute" run --compute f16
wrong "bf16" run --compute f16
wrong "--top-p" run --top-p 1.5
wrong "unexpected argument \"foo\"" run foo
wrong "--model is missing" run --prompt hello
wrong "--prompt" run --model "$demo"
wrong "--out" run --model "$demo" --in /dev/null
wrong "--prompt goes without" run --model "$demo" --prompt hello --in /dev/null --out /dev/null
wrong "--in is missing" score --model "$demo"
wrong "--ranks goes with --model" doctor --ranks 2
: >"$SY_TMP/empty"
wrong "same file" run --model "$demo" --in "$SY_TMP/empty" --out "$SY_TMP/empty"
wrong "prefill chunk" run --model "$demo" --prompt hello --prefill-chunk 64 --max-tokens-per-step 32
switchyard_ranks 2 run --tempature 1
is "wrong on 2 ranks: exit code" "$rc" 64
is "wrong on 2 ranks: said once" "$(grep -c 'did you mean --temperature' "$SY_TMP/err")" 1
switchyard run -m "$demo" -i "$SY_TMP/nothing-here" -o -
is "an input file that is not there: exit code" "$rc" 74
has "an input file that is not there: message" "$(said)" "nothing-here"

for command in "run -p a" "score -i $demo/heldout.jsonl -o -"; do
    # shellcheck disable=SC2086 # words
    switchyard $command -m "$demo" --summary "$SY_TMP/no/such/summary"
    is "$command: a summary that cannot be written: exit code" "$rc" 74
    has "$command: message" "$(said)" "--summary: cannot open $SY_TMP/no/such/summary"
    is "$command: nothing was done before" "$(shown)" ""
    # shellcheck disable=SC2086 # words
    wrong "--summary: expected a file, found \"-\"" $command -m "$demo" --summary -
done

# ---- flag, environment, file, default ----

cat >"$SY_TMP/file" <<END
# a comment
seed = 3
temperature = 0.5
model = "/a path/with # and \"quotes\""
END
is "default" "$(setting seed run)" "0   # default"
is "file" "$(setting seed run --config "$SY_TMP/file" | sed 's/ .*//')" 3
is "environment before file" "$(SWITCHYARD_SEED=4 setting seed run --config "$SY_TMP/file")" "4   # environment"
is "flag before environment" "$(SWITCHYARD_SEED=4 setting seed run --config "$SY_TMP/file" --seed 5)" "5   # flag"
is "the file can be named by the environment" \
    "$(SWITCHYARD_CONFIG=$SY_TMP/file setting temperature run | sed 's/ .*//')" 0.5
is "a number with a unit" "$(setting kv-bytes run --kv-bytes 2MiB)" "2097152   # flag"
is "--name=value" "$(setting seed run --seed=6)" "6   # flag"
is "a switch can be turned off" "$(setting resume run --resume --no-resume)" "false   # flag"
is "a file may have options of another command" "$(setting model score --config "$SY_TMP/file")" \
    '"/a path/with # and \"quotes\""   # config file'
echo 'seed = x' >"$SY_TMP/bad"
wrong "$SY_TMP/bad:1" run --config "$SY_TMP/bad"
echo 'sed = 1' >"$SY_TMP/bad"
wrong "did you mean --seed" run --config "$SY_TMP/bad"
SWITCHYARD_SEED=x switchyard run -m "$demo" -p a
is "wrong environment: exit code" "$rc" 64
has "wrong environment: message" "$(said)" "SWITCHYARD_SEED"
switchyard run --config "$SY_TMP/not-there" -m "$demo" -p a
is "no such file: exit code" "$rc" 74
has "no such file: message" "$(said)" "not-there"

SWITCHYARD_TREADS=1 SWITCHYARD_TOP_K=3 SWITCHYARD_ROOT=/opt switchyard_ranks 2 doctor
is "a misspelt variable of the environment is said once, and no other" "$(said | grep warning)" \
    "switchyard: warning: SWITCHYARD_TREADS in the environment is no option; did you mean SWITCHYARD_THREADS?"

# --print-config is a config file.
"$SY_BUILDDIR/switchyard" run --config "$SY_TMP/file" --stop "a
\"b\"$tab\\ # c" --kv-bytes 1000000 --resume --timeout 2.5 --compute f32 --print-config >"$SY_TMP/first"
"$SY_BUILDDIR/switchyard" run --config "$SY_TMP/first" --print-config >"$SY_TMP/second"
for round in first second; do
    sed 's/   # [a-z].*//' "$SY_TMP/$round" >"$SY_TMP/$round.values"
done
ok "--print-config can be read back" cmp "$SY_TMP/first.values" "$SY_TMP/second.values"
ok "with what was set" grep -q '^kv-bytes = 1000000$' "$SY_TMP/second.values"

# Rank 0's settings count for all ranks: here only rank 0 has a model, a prompt and a compute type.
# shellcheck disable=SC2086 # MPIRUN is a command with arguments
timeout -k 10 60 $MPIRUN -n 2 sh -c '
    [ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}" -eq 0 ] || exec "$0" run
    exec "$0" run -m "$1" -p "In the beginning God" --compute f32 --temperature 0 -n 5' \
    "$SY_BUILDDIR/switchyard" "$demo" </dev/null >"$SY_TMP/out" 2>"$SY_TMP/err"
is "settings of rank 0 alone: exit code" $? 0
is "settings of rank 0 alone: the text" "$(shown)" ", and the Lord Jesus"

# ---- standard input and output, log level, doctor ----

echo '{"prompt":"In the beginning God","max_tokens":5,"temperature":0}' >"$SY_TMP/in"
timeout 60 "$SY_BUILDDIR/switchyard" run -m "$demo" -i - -o - --compute f32 --log-level error <"$SY_TMP/in" \
    >"$SY_TMP/out" 2>"$SY_TMP/err"
is "from standard input to standard output" "$("$jsonl" get "$SY_TMP/out" custom_id response.body.choices.0.text)" \
    "\"1\"$tab\", and the Lord Jesus\""
is "--log-level error says nothing when all is well" "$(said)" ""

# ---- instruction sets: from lowest to highest, those up to the best that this machine has ----

best=$(sed -n 's/^ *this CPU takes *//p' "$SY_TMP/version")
available=yes
for isa in $(sed -n 's/^ *CPU kernels *//p' "$SY_TMP/version" | tr -d ,); do
    switchyard run -m "$demo" -p "In the beginning God" --compute f32 --temperature 0 -n 5 --isa "$isa"
    if [ $available = yes ]; then
        is "--isa $isa: the text" "$(shown)" ", and the Lord Jesus"
        has "--isa $isa: said" "$(said)" "instruction set $isa,"
    else
        is "--isa $isa: exit code" "$rc" 64
        has "--isa $isa: message" "$(said)" "--isa $isa: not available on this machine"
    fi
    [ "$isa" != "$best" ] || available=no
done
is "the best instruction set was one of them" "$available" no

# ---- devices ----

for device in gpu cuda: cuda:x cuda:-1 cuda:1.5; do
    switchyard run -m "$demo" -p "In the beginning God" -n 5 --device $device
    is "--device $device: exit code" "$rc" 64
    has "--device $device: message" "$(said)" "--device $device: expected auto, cpu, cuda or cuda:N"
done
CUDA_VISIBLE_DEVICES='' switchyard_ranks 2 run -m "$demo" -p "In the beginning God" -n 5 --device cuda
is "--device cuda without a GPU: exit code" "$rc" 64
has "--device cuda without a GPU: message" "$(said)" "--device cuda: no GPU can be used here: "
CUDA_VISIBLE_DEVICES='' switchyard_ranks 2 run -m "$demo" -p "In the beginning God" --temperature 0 -n 5 --device auto
is "--device auto without a GPU: the text" "$(shown)" ", and the Lord Jesus"

switchyard_ranks 2 doctor -m "$demo"
is "doctor: exit code" "$rc" 0
has "doctor: GPUs" "$(shown)" "GPU of rank 1: "
for word in "rank  node" "verdict: ready" "Qwen3MoeForCausalLM" "2 ranks on 1 node" "tokenizer: found"; do
    has "doctor: $word" "$(shown)" "$word"
done
switchyard_ranks 2 doctor -m "$SY_TMP"
is "doctor without a checkpoint there: exit code" "$rc" 74
has "doctor without a checkpoint there: verdict" "$(shown)" "verdict: not ready: "
done_testing

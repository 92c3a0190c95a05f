#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# bench.t - switchyard bench: each measurement in small, what its report holds, and what it refuses
#
# How fast anything is, is not looked at: only that figures are there and hang together.

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

jsonl=$SY_BUILDDIR/tests/launch/jsonl
json=$SY_TMP/bench.json
tiny="--shape small --layers 2 --vocab 512 --reps 2 --probe-bytes 2M"

value() { # PATH: whole numbers without a fraction
    "$jsonl" get "$json" "$1" | sed 's/\.0$//'
}

between() { # NAME PATH LOW HIGH
    between_found=$(value "$2")
    ok "$1: $2 is $between_found, between $3 and $4" awk -v x="$between_found" -v a="$3" -v b="$4" \
        'BEGIN { exit !(x != "-" && x >= a && x <= b) }'
}

cells() { # the names of the cells, in order
    for i in 0 1 2 3 4; do
        value "cells.$i.name" | grep -v '^-$' | tr -d '"'
    done | paste -s -d, -
}

# What every cell has. A share may pass 1 where weights stay in a cache, as those of a tiny model do.
check_cell() { # NUMBER TOKENS-IN-A-REPETITION PHASE...
    cell=cells.$1
    name=$(value "$cell.name")
    between "$name" "$cell.tokens_per_s.median" 0.001 1e9
    between "$name" "$cell.share.median" 0.000001 50
    between "$name" "$cell.read.min" 1e6 1e13
    between "$name" "$cell.foreign.median" 0 1
    is "$name: tokens of a repetition" "$(value "$cell.repetitions.1.tokens")" "$2"
    is "$name: no third repetition" "$(value "$cell.repetitions.2.tokens")" -
    shift 2
    for phase in "$@"; do
        between "$name" "$cell.phases.$phase.seconds" 0 1000
        between "$name" "$cell.phases.$phase.roof_s" 1e-12 1000
    done
}

# ---- ceilings ----

# shellcheck disable=SC2086 # options
switchyard bench ceilings --threads 2 --reps 2 --probe-bytes 2M --json "$json"
is "ceilings: exit code" "$rc" 0
has "ceilings: the table" "$(cat "$SY_TMP/out")" "ceilings of 1 rank x 2 threads"
for i in 0 1; do
    is "ceilings: threads" "$(value "ceilings.$i.threads")" $((i + 1))
    for kind in read FP32 BF16 INT8; do
        between "ceilings" "ceilings.$i.$kind.median" 1e6 1e15
    done
done
is "ceilings: the reference of 2 threads" "$(value ceilings.1.BF16.reference)" 958000000000

# ---- model ----

# shellcheck disable=SC2086 # options
switchyard bench model $tiny --threads 2 --prefill 40,2x16 --decode 1,3 --generate 4 --context 8 --json "$json"
is "model: exit code" "$rc" 0
is "model: rows of a chunk, which nobody gave" "$(value chunk_rows)" 64
is "model: cells" "$(cells)" "prefill 40,prefill 2x16,decode 1,decode 3"
all="attention router experts combine logits"
# shellcheck disable=SC2086 # phases
{
    check_cell 0 40 $all
    check_cell 1 32 $all
    check_cell 2 4 $all
    check_cell 3 12 $all
}
is "a decode's steps" "$(value cells.3.repetitions.0.steps)" 4
is "each step has the rows of its sequences" "$(value cells.3.repetitions.0.ranks.0.rows)" 12
is "and as many keys as its contexts, 9 to 12 tokens long" "$(value cells.3.repetitions.0.ranks.0.keys)" 126
is "each row goes to 4 experts of 2 layers" "$(value cells.3.repetitions.0.ranks.0.expert_rows)" 96
is "one token goes to 4 experts" "$(value cells.2.experts)" 4
between "three tokens share some" cells.3.experts 4 12
is "dense weights are needed once in a prefill" "$(value cells.0.repetitions.0.ranks.0.passes)" 1
is "and once in each step of a decode" "$(value cells.2.repetitions.0.ranks.0.passes)" 4
# gate, up and down of 1024 x 512 in BF16 for 4 experts, 2 layers and 4 steps
is "bytes of experts" "$(value cells.2.repetitions.0.ranks.0.roof.experts.bytes)" 100663296
is "operations of experts" "$(value cells.2.repetitions.0.ranks.0.roof.experts.ops)" 100663296
# q, k, v, o of 1024 x 1024 in BF16, 4 times in 2 layers; K and V of 1 to 8 + 4 positions read, 4 written
is "bytes of attention" "$(value cells.2.repetitions.0.ranks.0.roof.attention.bytes)" \
    $((4 * 2 * 4 * 1024 * 1024 * 2 + 2 * (9 + 10 + 11 + 12 + 4) * 2 * 1024 * 2))

# A prompt in chunks needs its experts once.
# shellcheck disable=SC2086 # options
switchyard bench model $tiny --prefill 64 --decode none --prefill-chunk 16 --json "$json"
is "in chunks: exit code" "$rc" 0
is "in chunks: steps" "$(value cells.0.repetitions.0.steps)" 4
is "in chunks: passes" "$(value cells.0.repetitions.0.ranks.0.passes)" 1
between "in chunks: experts" cells.0.experts 24 32

# ---- two ranks ----

# shellcheck disable=SC2086 # options
switchyard_ranks 2 bench model $tiny --threads 1 --prefill 2x32 --decode 6 --generate 3 --json "$json"
is "2 ranks: exit code" "$rc" 0
is "2 ranks: said once" "$(grep -c '^bench model: ' "$SY_TMP/out")" 1
is "2 ranks: cells" "$(cells)" "prefill 2x32,decode 6"
# shellcheck disable=SC2086 # phases
check_cell 0 64 $all
for r in 0 1; do
    is "2 ranks: a prompt for rank $r" "$(value "cells.0.repetitions.0.ranks.$r.rows")" 32
    is "2 ranks: half of the sequences for rank $r" "$(value "cells.1.repetitions.0.ranks.$r.rows")" 9
    is "2 ranks: dense weights for rank $r" "$(value "cells.1.repetitions.0.ranks.$r.passes")" 3
    between "2 ranks" "ceilings.0.read.ranks.$r" 1e6 1e13
done
is "2 ranks: together they have all rows of experts" \
    $(($(value cells.1.repetitions.0.ranks.0.expert_rows) + $(value cells.1.repetitions.0.ranks.1.expert_rows))) \
    $((6 * 3 * 4 * 2))

# ---- layer ----

# shellcheck disable=SC2086 # options
switchyard_ranks 2 bench layer --shape small --layers 2 --threads 1 --reps 2 --probe-bytes 2M --tokens 3,32 \
    --json "$json"
is "layer: exit code" "$rc" 0
is "layer: cells" "$(cells)" "layer 3,layer 32"
steps=$(value cells.0.repetitions.1.steps)
check_cell 0 $((3 * steps)) router experts combine
is "layer: rank 0 has the odd token" "$(value cells.0.repetitions.1.ranks.0.rows)" $((2 * steps))
is "layer: no attention" "$(value cells.0.phases.attention.seconds)" 0
for part in exchange_s compute_s layer_s in_turn_s; do
    between "layer: $part" "cells.1.overlap.$part" 1e-7 10
done
between "layer: efficiency of overlap" cells.1.overlap.efficiency -1000 2
has "layer: overlap" "$(cat "$SY_TMP/out")" "exchange alone"

# ---- tokenizer ----

demo=$SY_SRCDIR/tests/data/demo
switchyard bench tokenizer --model "$demo" --in "$demo/heldout.jsonl" --reps 2 --json "$json"
is "tokenizer: exit code" "$rc" 0
is "tokenizer: texts" "$(value tokenizer.texts)" "$(wc -l <"$demo/heldout.jsonl")"
is "tokenizer: tokens" "$(value tokenizer.tokens)" 111689
for way in first_pass each_text one_call; do
    between "tokenizer" "tokenizer.bytes_per_s.$way.min" 1e4 1e10
done
has "tokenizer: the table" "$(cat "$SY_TMP/out")" "all texts in one call"
# Plain text: the lines are the texts, and everything in one call has the same bytes.
printf 'In the beginning God\n\nlast line' >"$SY_TMP/plain"
switchyard bench tokenizer --model "$demo" --in "$SY_TMP/plain" --reps 1 --json "$json"
is "plain text: texts" "$(value tokenizer.texts)" 3
is "plain text: bytes" "$(value tokenizer.bytes)" 31
echo '{"prompt": "x"}' >"$SY_TMP/no-text.jsonl"
switchyard_ranks 2 bench tokenizer --model "$demo" --in "$SY_TMP/plain"
is "2 ranks: refused" "$rc" 64
has "2 ranks: message" "$(cat "$SY_TMP/err")" "start it without mpirun"

# ---- dispatch ----

for transport in shm mpi; do
    switchyard_ranks 3 bench dispatch --hidden 96 --experts 7 --active 3 --tokens 1,20 --reps 1 --chunk-rows 4 \
        --transport $transport --json "$json"
    is "dispatch, $transport: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    has "dispatch, $transport: the table" "$(cat "$SY_TMP/out")" "alltoallv us"
    has "dispatch, $transport: the transport" "$(value transports)" "$transport"
    is "dispatch, $transport: rows of a chunk" "$(value chunk_rows)" 4
    between "dispatch, $transport" link.bytes_per_s 1e4 1e13
    between "dispatch, $transport" mpi_link.half_trip_s 1e-8 1
    for cell in 0 1; do
        for way in ours alltoallv memcpy; do
            for direction in dispatch combine; do
                between "dispatch, $transport" cells.$cell.$direction.$way.p50_s 1e-9 10
            done
        done
    done
    is "dispatch, $transport: tokens" "$(value cells.1.tokens)" 20
    # No more than 20 rows to each of the 2 others, and no fewer than leave one of them out.
    between "dispatch, $transport" cells.1.dispatch.row_bytes_sent $((20 * 192)) $((40 * 192))
done
switchyard_ranks 3 bench dispatch --hidden 96 --experts 7 --active 2 --tokens 16 --reps 1 --compute f32 --routing one \
    --json "$json"
is "dispatch, one: the first rank has the experts of all" "$(value cells.0.combine.row_bytes_sent)" $((16 * 2 * 96 * 4))
is "dispatch, one: rows of a chunk, which nobody gave" "$(value chunk_rows)" 64
is "dispatch, one: a row each" "$(value cells.0.dispatch.row_bytes_sent)" $((16 * 96 * 4))
switchyard_ranks 2 bench dispatch --hidden 64 --experts 8 --active 2 --tokens 9 --reps 1 --routing zipf
is "dispatch, zipf: exit code" "$rc" 0
# Rank 1 sends 9.8 MB at once, which it writes past the caches; what comes back is compared with what went out.
switchyard_ranks 2 bench dispatch --hidden 8192 --experts 8 --active 2 --tokens 600 --reps 1 --routing one \
    --transport shm
is "dispatch, many rows: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
switchyard bench dispatch --hidden 64 --tokens 9 --reps 1
is "dispatch, one rank: exit code" "$rc" 0

# ---- what is refused ----

wrong() { # EXIT-CODE MESSAGE-PART ARGUMENT...
    wrong_code=$1
    wrong_part=$2
    shift 2
    switchyard bench "$@"
    is "bench $*: exit code" "$rc" "$wrong_code"
    has "bench $*: message" "$(cat "$SY_TMP/err")" "$wrong_part"
}

wrong 64 "say what to measure"
wrong 64 "bench model: --measure layer says something else" model --measure layer
wrong 64 "bench: unexpected argument \"layer\"" model layer
wrong 64 "ceilings|layer|model" speed
wrong 64 "did you mean olmoe" model --shape olmo
wrong 64 "--layers 9: shape small has 8" model --layers 9
wrong 64 "--vocab 40000: shape small has 32000" model --vocab 40000
wrong 64 "bench ceilings has no --shape" ceilings --shape small
wrong 64 "bench layer has no --decode" layer --decode 1
wrong 64 "--decode: expected" model --decode 1,,2
wrong 64 "--decode: expected" model --decode 1,
wrong 64 "--decode: expected" model --decode 2x3
wrong 64 "--prefill: expected" model --prefill 0
wrong 64 "nothing is left" model --prefill none --decode none
wrong 64 "--active 9 of --experts 8" dispatch --active 9 --experts 8
wrong 64 "--tokens: expected" dispatch --tokens 1x2
wrong 64 "bench dispatch has no --shape" dispatch --shape small
wrong 71 "take fewer --tokens" dispatch --tokens 1000000 --hidden 1048576
wrong 64 "--probe-bytes" ceilings --probe-bytes 1K
wrong 64 "bench model has no --model" model --model x
wrong 64 "unknown option --prompt" model --prompt x
wrong 64 "--model DIR and --in FILE are needed" tokenizer
for option in "--threads 2" "--bind none" "--device cpu" "--isa portable" "--cluster $SY_TMP/plain"; do
    # shellcheck disable=SC2086 # an option and its value
    wrong 64 "bench tokenizer has no ${option%% *}" tokenizer --model "$demo" --in "$SY_TMP/plain" $option
done
wrong 64 "there is no tokenizer.json" tokenizer --model "$SY_SRCDIR/src" --in "$SY_SRCDIR/README.md"
wrong 65 "a line has no text" tokenizer --model "$demo" --in "$SY_TMP/no-text.jsonl"
wrong 65 "has no text" tokenizer --model "$demo" --in /dev/null
wrong 74 "cannot open" tokenizer --model "$demo" --in "$SY_TMP/no-such-file"
wrong 65 "context is 4096" model --shape olmoe --layers 1 --vocab 64 --probe-bytes 2M --prefill 5000 --decode none
wrong 71 "are free; take a smaller shape" model --shape mixtral-8x22b --layers 1 --probe-bytes 100000G
wrong 74 "cannot open" model --json "$SY_TMP/no/such/file"
wrong 64 "--json: expected a file, found \"-\"" model --json -
done_testing

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# exact.sh - hashes of logits by exact_hash, for the tests that compare them; for sourcing

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

# Lines of exact_hash, added to FILE if all of it ran. What it said beside is in $SY_TMP/err.
hash_on() { # RANKS FILE [ARGUMENT]...
    exact_ranks=$1
    exact_file=$2
    shift 2
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    $MPIRUN -n "$exact_ranks" "$SY_BUILDDIR/tests/mpi/exact_hash" "$@" </dev/null >"$SY_TMP/one" 2>"$SY_TMP/err" &&
        cat "$SY_TMP/one" >>"$exact_file"
}

hashes() { # PATTERN FILE: the distinct hashes of matching lines
    sed -n "s/^$1 .*hash=//p" "$2" | sort -u
}

# One rank's hashes by shared memory, which those of a transport on any number of ranks have to be.
by_one_rank() {
    hash_on 1 "$SY_TMP/shm" tests/data/demo shm
    is "one rank" $? 0 || diag "$(cat "$SY_TMP/err")"
}

same_hash() { # TRANSPORT: what was added to $SY_TMP/TRANSPORT has by_one_rank's hashes
    for exact_compute in f32 bf16; do
        is "$exact_compute: through $1 the hash of one rank" "$(hashes "$exact_compute" "$SY_TMP/$1")" \
            "$(hashes "$exact_compute" "$SY_TMP/shm")"
    done
}

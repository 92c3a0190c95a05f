# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ucx.sh - conformance of the ucx transport, for the tests that name its lanes; for sourcing

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"

ucx_needed() { # or the whole test is a skip
    "$SY_BUILDDIR/switchyard" --version | grep -q '^ *UCX *[0-9]' || skip_all "built without UCX"
}

conformance() { # N
    # shellcheck disable=SC2086 # MPIRUN is a command with arguments
    timeout -k 10 100 $MPIRUN -n "$1" "$SY_BUILDDIR/tests/mpi/transport.np$1.t" "${SY_UCX_SEED:-$(date +%s)}" ucx \
        </dev/null >"$SY_TMP/tap" 2>&1 && ! grep -A 4 "^not ok" "$SY_TMP/tap" &&
        [ "$(grep -c "^ok" "$SY_TMP/tap")" -gt 100 ]
}

ucx_conforms() { # LANES RANKS...: "put" or "tcp, active messages" is what it would take by itself
    ucx_lanes=$1
    shift
    for ucx_n in "$@"; do
        ok "$ucx_n ranks: puts and active messages keep every promise" conformance "$ucx_n"
        is "$ucx_n ranks: UCX says nothing" "$(grep -c UCX "$SY_TMP/tap")" 0 || diag "$(grep UCX "$SY_TMP/tap")"
        [ "$ucx_n" -eq 1 ] || has "$ucx_n ranks: by itself it takes $ucx_lanes" \
            "$(grep 'fabric: .*--transport' "$SY_TMP/tap")" "$ucx_lanes) for $((ucx_n - 1)) peer"
    done
}

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# format.t - the parts of the house style that a script can measure

# shellcheck source=tests/sh-tap.sh
. "${SY_SRCDIR:-.}/tests/sh-tap.sh"
# shellcheck source=tests/style/files.sh
. "$SY_SRCDIR/tests/style/files.sh"

# The limit is for code; running text of a comment and rows of a test's table may stick out a little.
long_lines() {
    { c_files; make_files; shell_files; } | LC_ALL=C xargs awk '
        /^[ \t]*(\/?\*|#|dnl)/ { limit = 130 }
        !/^[ \t]*(\/?\*|#|dnl)/ { limit = FILENAME ~ /^tests/ && /^ *[{"]/ ? 140 : 120 }
        # Columns, not bytes: what goes on with a UTF-8 character does not count.
        { gsub(/[\200-\277]/, "") }
        length($0) > limit { print FILENAME ":" FNR ": " length($0) " columns" }'
}

blanks() {
    { c_files; shell_files; } | xargs awk '/[ \t]$/ { print FILENAME ":" FNR ": blank at the end of the line" }
        /\t/ { print FILENAME ":" FNR ": tab" }'
}

# A function's body is what stands between a brace in the first column and the next one that closes.
long_functions() {
    c_files | xargs awk '/^\{/ { begin = FNR } /^\}/ && begin { if (FNR - begin - 1 > 70)
        print FILENAME ":" begin ": function of " FNR - begin - 1 " lines"; begin = 0 }'
}

long_files() {
    c_files | while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 800 ] || echo "$file: $lines lines"
    done
}

unfinished() {
    marks=$(printf '%s|' TO"DO" FIX"ME" XX"X")
    { c_files; make_files; shell_files; } | xargs grep -n -w -E "${marks%|}"
}

check "lines of code over 120 columns" long_lines
check "tabs and blanks at the end of a line" blanks
check "functions over 70 lines" long_functions
check "files over 800 lines" long_files
check "marks of unfinished work" unfinished
done_testing

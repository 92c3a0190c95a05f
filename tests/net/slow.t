#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# slow.t - links that are late and lose frames change nothing but the time

# shellcheck source=tests/net/net.sh
. "${SY_SRCDIR:-.}/tests/net/net.sh"

demo=$SY_SRCDIR/tests/data/demo

run_prompt() { # N
    switchyard_ranks "$1" run -m "$demo" --prompt "In the beginning God" -n 12 --temperature 0 --compute f32 \
        --ignore-eos
}

net_up 4 switch || skip_all "$net_why"
net_place 1 1
run_prompt 1
is "one rank: exit code" "$rc" 0
cp "$SY_TMP/out" "$SY_TMP/text"

links() { # DELAY_US LOSS_PPM: of every pair of nodes; a frame passes two links
    for node in 0 1 2 3; do
        net_delay $node $(($1 / 2)) || return
        net_loss $node $(($2 / 2)) || return
    done
}

while read -r nodes per_node delay_us loss_ppm; do
    name="$nodes nodes with $per_node each, $delay_us us, $loss_ppm of a million frames lost"
    ok "$name: set" links "$delay_us" "$loss_ppm"
    net_place "$nodes" "$per_node"
    begin=$(date +%s%N)
    run_prompt $((nodes * per_node))
    is "$name: exit code" "$rc" 0 || diag "$(cat "$SY_TMP/err")"
    ok "$name: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"
    diag "took $((($(date +%s%N) - begin) / 1000000)) ms"
done <<END
2 2 0 0
2 2 2000 0
2 1 200 20000
4 1 500 5000
END

# A cut link that comes back before the deadline costs time only.
links 0 0
net_place 2 1
(
    sleep 0.5
    net_link 1 down
    sleep 1.5
    net_link 1 up
) &
run_prompt 2
wait $!
is "a link that is down for a while: exit code" "$rc" 0
ok "a link that is down for a while: the text of one rank" cmp "$SY_TMP/text" "$SY_TMP/out"

# The switch does as it is told.
retransmitted() {
    net_on 0 awk '$1 == "Tcp:" && $13 ~ /^[0-9]+$/ { print $13 }' /proc/net/snmp
}
ok "lost frames were sent again" test "$(retransmitted)" -gt 0
net_delay 1 10000
switchyard_ranks 2 doctor
barrier_us=$(sed -n 's/^a barrier of all ranks takes \([0-9]*\)\.[0-9]* us$/\1/p' "$SY_TMP/out")
ok "a barrier takes two delays of 10 ms ($barrier_us us)" test "$barrier_us" -ge 20000
net_loss 9 1
is "a port that there is not is refused" $? 1
net_down
done_testing

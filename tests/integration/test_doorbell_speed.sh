#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client --doorbell-speed: no ring is lost, whatever serves the doorbell. How fast it is depends
# on the machine, and is not looked at.
set -u

. "$(dirname "$0")/lib.sh"

speed() {
    timeout 120 "$VFU_CLIENT" --socket-path "$dir/device.sock" "$@" > "$dir/out" 2>&1
}

# rings NAME N PATTERN [OPTION]...: N rings in each of three ways, and what serves the doorbell.
rings() {
    local name=$1 n=$2 pattern=$3
    shift 3
    if speed --doorbell-speed "$@" && grep -qE "$pattern" "$dir/out" &&
        grep -qE "^vfu-client: $((3 * n)) rings, none lost; the eventfd is [0-9.]+ times as fast as a message\$" "$dir/out" &&
        [ "$(grep -cE "^ ?[234]  .* $n rings in [0-9.]+ s: [0-9]+ thousand a second\$" "$dir/out")" -eq 3 ] &&
        ! grep -qE 'Sanitizer|runtime error' "$dir/out"; then
        ok "$name"
    else
        not_ok "$name"
    fi
}

start_daemon
rings 'shadow memory' 2000 'BAR0 \+ 0x800 is an eventfd with shadow memory$' 2000
rings 'one ring' 1 'with shadow memory$' 1
rings 'N as =N' 300 'with shadow memory$' --doorbell-speed=300
rings 'with a twin socket' 300 'with shadow memory$' 300 --twin-socket
if speed --quiet --doorbell-speed 100 && [ "$(wc -l < "$dir/out")" -eq 1 ]; then
    ok 'quiet: one line'
else
    not_ok 'quiet: one line'
fi
stop_daemon 'shadow memory'

echo '{ "doorbell": "ioeventfd" }' > "$dir/ioeventfd.json"
start_daemon --config "$dir/ioeventfd.json"
rings 'a plain ioeventfd' 2000 'BAR0 \+ 0x800 is an eventfd$' 2000
stop_daemon 'a plain ioeventfd'

echo '{ "doorbell": "none" }' > "$dir/none.json"
start_daemon --config "$dir/none.json"
speed --doorbell-speed 100
[ $? -eq 1 ] && grep -q ': doorbell: GET_REGION_IO_FDS: expected an eventfd, got none' "$dir/out" &&
    ok 'none' || not_ok 'none'
timeout 30 "$VFU_CLIENT" --socket-path "$dir/control.sock" --doorbell-speed 100 > "$dir/out" 2>&1
[ $? -eq 1 ] && grep -q 'control.sock: .*: is this a control socket?$' "$dir/out" &&
    ok 'a control socket' || not_ok 'a control socket'
stop_daemon 'none'

speed --doorbell-speed 100
[ $? -eq 1 ] && grep -q 'device.sock: No such file' "$dir/out" && ok 'no server' || not_ok 'no server'

for options in '--doorbell-speed 0' '--doorbell-speed x' '--doorbell-speed 1x' \
    '--doorbell-speed=-1' '--doorbell-speed 10000001' '--doorbell-speed 1 2' \
    '--doorbell-speed --server x' '--doorbell-speed --deadline 2'; do
    # shellcheck disable=SC2086 # several words
    speed $options
    [ $? -eq 2 ] && ok "usage: $options" || not_ok "usage: $options"
done

finish

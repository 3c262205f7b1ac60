#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client walks through every command, against each of the example descriptions and the default
# device, twice against one daemon, and must be told of a device that is another.
set -u

. "$(dirname "$0")/lib.sh"

walk() {
    if timeout 30 "$VFU_CLIENT" --socket-path "$dir/device.sock" > "$dir/out" 2>&1 &&
        grep -qE '^vfu-client: [0-9]+ steps, all as expected$' "$dir/out"; then
        ok "$1"
    else
        not_ok "$1"
    fi
}

start_daemon
walk 'the default device'
walk 'the default device again'
stop_daemon 'the default device'
for description in "$top_srcdir"/contrib/devices/*.json; do
    start_daemon --config "$description"
    walk "$(basename "$description")"
    stop_daemon "$(basename "$description")"
done

# The walk can fail: nobody there, and a profile that answers success where EINVAL is right.
timeout 30 "$VFU_CLIENT" --socket-path "$dir/none.sock" > "$dir/out" 2>&1
[ $? -eq 1 ] && ok 'no server' || not_ok 'no server'
echo '{ "profile": "cloud-hypervisor" }' > "$dir/ch.json"
start_daemon --config "$dir/ch.json"
timeout 30 "$VFU_CLIENT" --socket-path "$dir/device.sock" > "$dir/out" 2>&1
if [ $? -eq 1 ] && grep -q 'expected EINVAL' "$dir/out"; then
    ok 'a surprise is told'
else
    not_ok 'a surprise is told'
fi
stop_daemon 'a surprise'

finish

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client without a single fd: the walk and a migration, of each of the example descriptions, with
# memory, BAR1 and interrupts by message.
set -u

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/play.sh"

# walk_without NAME: what it says must be so, and the daemon must have seen it so.
walk_without() {
    walk "$1" --no-fds
    if grep -qE 'with an fd|KiB, shared|by eventfd|eventfd assigned' "$dir/out" ||
        ! grep -qE ' [1-9][0-9]* interrupts came by message so far, no fd came$' "$dir/out"; then
        not_ok "$1: nothing by fd"
    else
        ok "$1: nothing by fd"
    fi
    "$VFUCTL" -S "$dir/control.sock" stats > "$dir/out" 2>&1
    grep -qE ' 0 B moved directly, [1-9][0-9.]* [KM]iB by message$' "$dir/out" &&
        ok "$1: DMA by message" || not_ok "$1: DMA by message"
}

start_daemon
walk_without 'the default device'
walk 'with fds, after one without'
stop_daemon 'the default device'
for description in "$top_srcdir"/contrib/devices/*.json; do
    start_daemon --config "$description"
    walk_without "$(basename "$description")"
    stop_daemon "$(basename "$description")"
done

server="'$VFIO_USERD' --log-level warning"
echo '{ "bar1": { "size": "4M", "mmap": [["0", "1M"], ["2M", "64K"]] } }' > "$dir/rounds.json"
plays 'migration of the default device' "$server" --no-fds
for description in "$top_srcdir"/contrib/devices/*.json; do
    plays "migration of $(basename "$description")" "$server --config \"$description\"" --no-fds
done
plays 'migration of 4 MiB' "$server --config $dir/rounds.json" --no-fds
plays 'migration with a deadline that passes on the way' "$server" --no-fds --late
collect

for options in '--no-fds --twin-socket' '--no-fds --doorbell-speed' '--no-fds=1'; do
    # shellcheck disable=SC2086 # several words
    timeout 60 "$VFU_CLIENT" --socket-path "$dir/device.sock" $options > "$dir/out" 2>&1
    [ $? -eq 2 ] && ok "usage: $options" || not_ok "usage: $options"
done

finish

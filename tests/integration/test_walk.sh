#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client walks through every command, against each of the example descriptions and the default
# device, twice against one daemon, and must be told of a device that is another.
set -u

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/play.sh"

# said NAME PATTERN: in the walk before.
said() {
    grep -q -- "$2" "$dir/out" && ok "$1" || not_ok "$1"
}

start_daemon
timeout 30 "$VFU_CLIENT" --socket-path "$dir/control.sock" > "$dir/out" 2>&1
[ $? -eq 1 ] && grep -q 'expected a reply, got .*: is this a control socket?$' "$dir/out" &&
    ok 'a control socket' || not_ok 'a control socket'
walk 'the default device'
said 'the doorbell by eventfd' '^29  doorbell  .* by an eventfd with shadow memory, 2 by message:$'
said 'interrupts by message' 'with one: the eventfd alone'
walk 'the default device again'
walk 'with a twin socket' --twin-socket
said 'the twin socket' "the server's commands come on a socket of their own"
stop_daemon 'the default device'
for description in "$top_srcdir"/contrib/devices/*.json; do
    start_daemon --config "$description"
    walk "$(basename "$description")"
    case $description in
    */msix.json) said 'MSI-X' ' vectors, table at BAR2 + 0x0, pending bits at 0x800' ;;
    */messages.json)
        said 'eventfd and message' 'with one: first the eventfd, then the message'
        said 'the doorbell by message' '^29  doorbell  *by message only'
        ;;
    esac
    walk "$(basename "$description") with a twin socket" --twin-socket
    stop_daemon "$(basename "$description")"
done
echo '{ "doorbell": "ioeventfd" }' > "$dir/ioeventfd.json"
start_daemon --config "$dir/ioeventfd.json"
walk 'a plain ioeventfd'
said 'the doorbell by a plain eventfd' '^29  doorbell  .* by an eventfd, 2 by message:$'
stop_daemon 'a plain ioeventfd'

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

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client walks through every command, against each of the example descriptions and the default
# device, twice against one daemon, and must be told of a device that is another.
set -u

dir=$(mktemp -d /tmp/vfio-userd-walk.XXXXXX)
daemon=
passed=0
failed=0

cleanup() {
    if [ -n "$daemon" ]; then
        kill "$daemon" 2>/dev/null
        wait "$daemon" 2>/dev/null
    fi
    rm -rf "$dir"
}
trap cleanup EXIT

ok() {
    passed=$((passed + 1))
    echo "ok: $1"
}

not_ok() {
    failed=$((failed + 1))
    echo "not ok: $1"
    sed 's/^/    /' "$dir/out" "$dir/log"
}

start() {
    local i
    "$VFIO_USERD" --socket-path "$dir/device.sock" --control-path "$dir/control.sock" "$@" \
        2> "$dir/log" < /dev/null &
    daemon=$!
    for ((i = 0; i < 500; i++)); do
        "$VFUCTL" -S "$dir/control.sock" -q status 2>/dev/null && return
        sleep 0.02
    done
    echo "not ok: the daemon did not start"
    exit 1
}

stop() {
    local status
    kill -TERM "$daemon"
    wait "$daemon"
    status=$?
    daemon=
    if [ "$status" -ne 0 ] || grep -qE 'Sanitizer|runtime error' "$dir/log"; then
        not_ok "$1: the daemon ended with $status"
    fi
}

walk() {
    if timeout 30 "$VFU_CLIENT" --socket-path "$dir/device.sock" > "$dir/out" 2>&1 &&
        grep -qE '^vfu-client: [0-9]+ steps, all as expected$' "$dir/out"; then
        ok "$1"
    else
        not_ok "$1"
    fi
}

start
walk 'the default device'
walk 'the default device again'
stop 'the default device'
for description in "$top_srcdir"/contrib/devices/*.json; do
    start --config "$description"
    walk "$(basename "$description")"
    stop "$(basename "$description")"
done

# The walk can fail: nobody there, and a profile that answers success where EINVAL is right.
timeout 30 "$VFU_CLIENT" --socket-path "$dir/none.sock" > "$dir/out" 2>&1
[ $? -eq 1 ] && ok 'no server' || not_ok 'no server'
echo '{ "profile": "cloud-hypervisor" }' > "$dir/ch.json"
start --config "$dir/ch.json"
timeout 30 "$VFU_CLIENT" --socket-path "$dir/device.sock" > "$dir/out" 2>&1
if [ $? -eq 1 ] && grep -q 'expected EINVAL' "$dir/out"; then
    ok 'a surprise is told'
else
    not_ok 'a surprise is told'
fi
stop 'a surprise'

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]

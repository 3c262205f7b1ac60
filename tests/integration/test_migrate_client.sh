#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfu-client migrates a device to a server that it starts: of each of the example descriptions, of one
# whose BAR1 is sent in rounds, with a deadline that passes on the way, and to what it must refuse.
set -u

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/play.sh"

client() {
    timeout 60 "$VFU_CLIENT" --socket-path "$dir/device.sock" "$@" > "$dir/out" 2>&1
}

# surprises NAME PATTERN OPTION...: exit status 1, and no server is left.
surprises() {
    local name=$1 pattern=$2
    shift 2
    client "$@"
    if [ $? -eq 1 ] && grep -qE "$pattern" "$dir/out" && [ ! -e "$dir/device.sock.destination" ]; then
        ok "$name"
    else
        not_ok "$name"
    fi
}

server="'$VFIO_USERD' --log-level warning"
echo '{ "bar1": { "size": "4M", "mmap": [["0", "1M"], ["2M", "64K"]] } }' > "$dir/rounds.json"

plays 'the default device' "$server"
for description in "$top_srcdir"/contrib/devices/*.json; do
    plays "$(basename "$description")" "$server --config \"$description\""
done
plays 'BAR1 of 4 MiB' "$server --config $dir/rounds.json"
plays 'BAR1 of 4 MiB without PRE_COPY' "$server --config $dir/rounds.json" --rounds 0
plays 'a deadline that passes on the way' "$server" --late
plays 'PRE_COPY thrown away' "$server" --drop-pre-copy
plays 'with a twin socket' "$server" --twin-socket
plays 'the socket in the middle' "$server --socket-path {} --log-level debug" --quiet
collect
[ "$(grep -c '^vfu-client: ' "$dir/$started.sock.out")" -eq 2 ] && ok 'quiet: two lines' ||
    not_ok 'quiet: two lines'

# A large BAR1's PRE_COPY is part of its state.
surprises 'what was thrown away is missed' 'the destination: .*EINVAL' \
    --start-source --server "$server --config $dir/rounds.json" --drop-pre-copy
rm -f "$dir/device.sock"
surprises 'a deadline that is too near' 'expected one ahead \(see --deadline\), got one [0-9]+ ms ago' \
    --start-source --server "$server" --deadline 0
rm -f "$dir/device.sock"

# The user's own server goes on.
start_daemon
if client --deadline 1.5 --server "$server" && grep -q 'was not started here' "$dir/out" &&
    "$VFUCTL" -S "$dir/control.sock" -q status; then
    ok 'a source that was there'
else
    not_ok 'a source that was there'
fi
surprises 'another device' 'the destination: size of a region: expected 0x4000' \
    --server "$server --config $dir/rounds.json"
surprises 'no such program' 'expected a server to listen there, got its end' \
    --server "$dir/no-such-program"
surprises 'a server that ends' 'expected a server to listen there, got its end' --server 'true {}'
: > "$dir/device.sock.destination"
client --server "$server"
[ $? -eq 1 ] && grep -q 'File exists' "$dir/out" && [ -f "$dir/device.sock.destination" ] &&
    ok 'something in the way' || not_ok 'something in the way'
rm -f "$dir/device.sock.destination"
stop_daemon 'the source'

for options in '--server' '--deadline 2' '--start-source' '--server x --deadline y' \
    '--server x --deadline -1' '--server x --rounds -1' '--server x --rounds 1001'; do
    # shellcheck disable=SC2086 # several words
    client $options
    [ $? -eq 2 ] && ok "usage: $options" || not_ok "usage: $options"
done
for command in '' ' ' $' \t\n' "''" "vfio-userd 'x"; do
    client --server "$command"
    if [ $? -eq 2 ] && grep -qF -- '--server takes a program' "$dir/out"; then
        ok "usage: --server [$command]"
    else
        not_ok "usage: --server [$command]"
    fi
done

finish

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfuctl capture against a running daemon: what is in the file, how it ends, and what a reader that
# does not read does to a client. tshark, where it is installed, takes every message apart.
set -u

. "$(dirname "$0")/lib.sh"

dissector=$top_srcdir/contrib/wireshark/vfio-user.lua
capture=

has_tshark() {
    command -v tshark > /dev/null
}

# dissect FILE [OPTION]...: tshark, without the user's own settings and its remarks on root.
dissect() {
    local file=$1
    shift
    HOME=$dir tshark -r "$file" -X "lua_script:$dissector" "$@" 2> "$dir/err"
}

# expect NAME COMMAND...
expect() {
    local name=$1
    shift
    if "$@"; then ok "$name"; else not_ok "$name"; fi
}

# wait_for COMMAND...: for ten seconds.
wait_for() {
    local i
    for ((i = 0; i < 500; i++)); do
        "$@" && return
        sleep 0.02
    done
    return 1
}

is_running() {
    "$VFUCTL" -S "$dir/control.sock" --json status 2>/dev/null | grep -q '"capturing":true'
}

is_over() {
    "$VFUCTL" -S "$dir/control.sock" --json status 2>/dev/null | grep -q '"capturing":false'
}

# start_capture [OPTION]...: in the background, and until the daemon says so.
start_capture() {
    "$VFUCTL" -S "$dir/control.sock" capture "$@" > "$dir/out" 2> "$dir/err" &
    capture=$!
    wait_for is_running || not_ok "the capture does not begin: $*"
}

# end_capture [SIGNAL]: sets $status.
end_capture() {
    [ $# -eq 0 ] || kill "-$1" "$capture"
    wait "$capture"
    status=$?
}

walk() {
    timeout 30 "$VFU_CLIENT" --socket-path "$dir/device.sock" "$@" > "$dir/walk" 2>&1
}

# blocks FILE: the type of each block; fails when the file does not end with one.
blocks() {
    od -An -v -tu4 -w4 "$1" | awk '
        { word[n++] = $1 + 0 }
        END {
            for (at = 0; at < n; at += len / 4) {
                len = word[at + 1]
                if (len < 12 || len % 4 != 0 || at + len / 4 > n || word[at + len / 4 - 1] != len)
                    exit 1
                print word[at]
            }
        }'
}

count_packets() {
    blocks "$1" | grep -c '^6$'
}

# The last block is statistics with an end time: blocks of that kind without are 16 bytes shorter.
is_complete() {
    blocks "$1" > "$dir/blocks" && [ "$(tail -n 1 "$dir/blocks")" = 5 ]
}

#
# A whole walk, from before the client until after it
#

start_daemon
start_capture "$dir/walk.pcapng"
expect 'a second capture is refused' \
    bash -c "! '$VFUCTL' -S '$dir/control.sock' capture '$dir/second.pcapng' 2> '$dir/second'"
expect 'and says why' grep -q 'Busy reason=' "$dir/second"
expect 'and leaves no file' [ ! -e "$dir/second.pcapng" ]
for _ in 1 2; do walk || not_ok "a walk while captured"; done
end_capture INT
expect 'ends on SIGINT' [ "$status" -eq 0 ]
expect 'the file is complete' is_complete "$dir/walk.pcapng"
packets=$(count_packets "$dir/walk.pcapng")
expect 'the summary' grep -qE "^vfuctl: $packets messages, [0-9.]+ [KM]?i?B, 0 dropped$" "$dir/err"
expect 'a file of the user alone' [ "$(stat -c %a "$dir/walk.pcapng")" = 600 ]
expect 'a file is not overwritten' \
    bash -c "! '$VFUCTL' -S '$dir/control.sock' capture '$dir/walk.pcapng' 2> '$dir/err'"
expect 'and it is said' grep -q 'File exists' "$dir/err"

if has_tshark; then
    command -v capinfos > /dev/null && capinfos -c -o -M "$dir/walk.pcapng" > "$dir/out" 2>&1
    expect 'capinfos counts the same' grep -qE "packets: +$packets$" "$dir/out"
    expect 'in the order of time' grep -qE 'order: +True$' "$dir/out"
    dissect "$dir/walk.pcapng" -Y '_ws.lua.error || vfio_user.cut || vfio_user.no_request ||
        !vfio_user.size' > "$dir/out"
    expect 'every message is understood' [ ! -s "$dir/out" ]
    # The walk sends messages that are not well formed: those that the server finds so too.
    dissect "$dir/walk.pcapng" -2 -Y 'vfio_user.malformed || vfio_user.excess' -T fields \
        -e vfio_user.reply_in > "$dir/reply_in"
    dissect "$dir/walk.pcapng" -Y 'vfio_user.flags.error == 1' -T fields -e frame.number \
        > "$dir/errors"
    awk 'NR == FNR { error[$1] = 1; next } !($1 in error) { print; bad = 1 } END { exit bad }' \
        "$dir/errors" "$dir/reply_in" > "$dir/out"
    expect 'what is malformed was refused' [ $? -eq 0 ]

    # Requests that want a reply have one, of their command and on their connection.
    dissect "$dir/walk.pcapng" -2 -T fields -E occurrence=f -E separator=, -e frame.number \
        -e vfio_user.connection -e vfio_user.direction -e vfio_user.command \
        -e vfio_user.flags.type -e vfio_user.flags.no_reply -e vfio_user.request_in \
        -e vfio_user.reply_in -e vfio_user.latency > "$dir/out"
    awk -F, '
        $5 == 0 { command[$1] = $2 "," $4; direction[$1] = $3; asked[$4]++ }
        $5 == 0 && ($6 == "1" || $6 == "True") { posted++; if ($8 != "") exit 2; next }
        $5 == 0 { if ($8 == "") exit 3; reply[$1] = $8 }
        $5 == 1 {
            if ($7 == "" || $9 == "" || $9 < 0 || $9 > 1) exit 4
            if (command[$7] != $2 "," $4 || direction[$7] == $3 || reply[$7] != $1) exit 5
        }
        END {
            if (posted < 1) exit 6
            split("1 2 3 4 5 6 7 8 9 10 11 12 13 15 16 17", all, " ")
            for (i in all) if (asked[all[i]] < 1) exit 7
        }' "$dir/out"
    expect "replies and requests pair" [ $? -eq 0 ]
    dissect "$dir/walk.pcapng" -Y 'vfio_user.command == 1 && vfio_user.flags.type == 1 &&
        vfio_user.flags.error == 0' -T fields -e frame.comment > "$dir/out"
    expect 'VERSION says what holds' \
        grep -qE '^connection [0-9]+, client pid [0-9]+.*, profile [a-z-]+, max_msg_fds 8, ' \
        "$dir/out"
    dissect "$dir/walk.pcapng" -Y 'vfio_user.command == 8 && vfio_user.fds == 1 &&
        vfio_user.set_irqs.data_eventfd == 1' > "$dir/out"
    expect 'fds are counted' [ -s "$dir/out" ]
    dissect "$dir/walk.pcapng" -T fields -e vfio_user.connection | sort -u > "$dir/out"
    # Each walk has the client, and one that is turned away.
    expect 'connections are told apart' [ "$(wc -l < "$dir/out")" -ge 4 ]
else
    echo 'skipped: what tshark says (it is not installed)'
fi

#
# The twin socket: all that the server asks, and its answers, and nothing else
#

start_capture "$dir/twin.pcapng"
expect 'a walk with a twin socket' walk --twin-socket
end_capture INT
if has_tshark; then
    dissect "$dir/twin.pcapng" -2 -T fields -E separator=, -e vfio_user.twin -e vfio_user.direction \
        -e vfio_user.flags.type -e vfio_user.command -e vfio_user.reply_in -e vfio_user.request_in \
        > "$dir/out"
    # Who asked: the sender of a command, the receiver of a reply.
    awk -F, '
        { server = ($2 == 2) == ($3 == 0); twin = $1 == "1" || $1 == "True" }
        server != twin { exit 2 }
        server && $5 == "" && $6 == "" { exit 3 }
        server { asked[$4]++ }
        END { if (asked[11] < 1 || asked[12] < 1 || asked[16384] < 1) exit 4 }' "$dir/out"
    expect 'the server asks on the twin socket alone' [ $? -eq 0 ]
fi

#
# Options
#

start_capture --snaplen 16 "$dir/short.pcapng"
walk
end_capture TERM
expect 'ends on SIGTERM' [ "$status" -eq 0 ]
if has_tshark; then
    dissect "$dir/short.pcapng" -T fields -e frame.cap_len | sort -u > "$dir/out"
    expect 'snaplen' [ "$(cat "$dir/out")" = 16 ]
    # VM_INTERRUPT is no command of a client's, and sent without a payload: not cut at 16.
    dissect "$dir/short.pcapng" -Y '_ws.lua.error || (vfio_user.malformed &&
        !(vfio_user.command == 0x4000 && vfio_user.direction == 1))' > "$dir/out"
    expect 'cut messages are not malformed' [ ! -s "$dir/out" ]
fi

start_capture --limit 8K "$dir/limit.pcapng"
walk
end_capture
expect 'ends at the limit' [ "$status" -eq 0 ]
expect 'and says so' grep -q '; the limit is reached$' "$dir/err"
expect 'with a complete file' is_complete "$dir/limit.pcapng"
expect 'that is not longer' [ "$(stat -c %s "$dir/limit.pcapng")" -le 8192 ]
expect 'and not much shorter' [ "$(stat -c %s "$dir/limit.pcapng")" -gt 7000 ]

start_capture --duration 0.5 "$dir/duration.pcapng"
end_capture
expect 'ends after the duration' [ "$status" -eq 0 ]
expect 'with a complete file without a message' is_complete "$dir/duration.pcapng"

# Standard output, and JSON.
"$VFUCTL" -S "$dir/control.sock" -q capture --duration 0.3 - > "$dir/stdout.pcapng" 2> "$dir/err"
expect 'standard output' is_complete "$dir/stdout.pcapng"
expect 'and nothing else with -q' [ ! -s "$dir/err" ]
start_capture --json --duration 1 "$dir/json.pcapng"
walk
end_capture
packets=$(count_packets "$dir/json.pcapng")
bytes=$(stat -c %s "$dir/json.pcapng")
expect 'JSON' grep -qxF "{\"file\":\"$dir/json.pcapng\",\"packets\":$packets,\"bytes\":$bytes,\
\"dropped\":0,\"ended\":\"duration\"}" "$dir/out"
mkfifo "$dir/fifo"
head -c 1000 < "$dir/fifo" > /dev/null &
start_capture "$dir/fifo"
walk
walk
end_capture
expect 'a reader that goes' [ "$status" -eq 0 ]
expect 'ends the capture' grep -q '; nobody reads any more$' "$dir/err"

for bad in '--snaplen 15' '--snaplen x' '--duration 0' '--duration x' '--limit 1K' '--limit 1X'; do
    # Word splitting is meant.
    # shellcheck disable=SC2086
    "$VFUCTL" -S "$dir/control.sock" capture $bad "$dir/bad.pcapng" > "$dir/out" 2> "$dir/err"
    expect "usage: $bad" [ $? -eq 2 ]
done

#
# A reader that never reads
#

mkfifo "$dir/stuck"
tail -f /dev/null < "$dir/stuck" &
sleeper=$!
start_capture "$dir/stuck"
for _ in $(seq 20); do walk || not_ok 'a walk beside a stuck reader'; done
dropped() {
    kill -KILL "$capture" 2>/dev/null
    wait "$capture" 2>/dev/null
    wait_for is_over && grep -qE 'capture: ended: .* [1-9][0-9]* dropped' "$dir/log"
}
expect 'messages are dropped, and the client goes on' dropped
kill "$sleeper"

#
# The daemon ends
#

start_capture "$dir/stop.pcapng"
walk
stop_daemon 'with a capture'
end_capture
expect 'ends with the daemon' [ "$status" -eq 0 ]
expect 'with a complete file' is_complete "$dir/stop.pcapng"
expect 'and says so' grep -q '; the daemon has ended it$' "$dir/err"

start_daemon
start_capture "$dir/killed.pcapng"
walk
sleep 0.3
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null
daemon=
end_capture
expect 'a daemon that is killed' [ "$status" -eq 3 ]
expect 'leaves whole blocks' blocks "$dir/killed.pcapng" > "$dir/blocks"
rm -f "$dir/device.sock" "$dir/control.sock"

finish

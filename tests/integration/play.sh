# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# For the tests of vfu-client, behind lib.sh: a walk through a daemon that runs, and migrations
# between servers that vfu-client starts. Needs VFU_CLIENT.

started=0
migrated='^vfu-client: migrated: [0-9]+ bytes before the stop in [0-9]+ rounds, [0-9]+ after it, blackout [0-9.]+ ms$'

# walk NAME [OPTION]...: all as expected. Its output is in $dir/out.
walk() {
    local name=$1
    shift
    if timeout 60 "$VFU_CLIENT" --socket-path "$dir/device.sock" "$@" > "$dir/out" 2>&1 &&
        grep -qE '^vfu-client: [0-9]+ steps, all as expected$' "$dir/out" &&
        ! grep -qE 'Sanitizer|runtime error' "$dir/out"; then
        ok "$name"
    else
        not_ok "$name"
    fi
}

# play NAME SOCKET SERVER [OPTION]...: both servers are started, and end with 0.
play() {
    local name=$1 socket=$2
    shift 2
    if timeout 60 "$VFU_CLIENT" --socket-path "$socket" --start-source --server "$@" \
        > "$socket.out" 2>&1 && grep -qE "$migrated" "$socket.out" &&
        grep -q 'as expected$' "$socket.out" &&
        ! grep -qE 'Sanitizer|runtime error' "$socket.out" &&
        [ ! -e "$socket" ] && [ ! -e "$socket.destination" ]; then
        echo "ok: $name" > "$socket.result"
    else
        { echo "not ok: $name" && sed 's/^/    /' "$socket.out"; } > "$socket.result"
    fi
}

# plays NAME SERVER [OPTION]...: a few at a time, since most of it is waiting for a deadline.
plays() {
    local name=$1
    shift
    started=$((started + 1))
    play "$name" "$dir/$started.sock" "$@" &
    [ $((started % 4)) -ne 0 ] || collect
}

# collect: what those that were started have to say.
collect() {
    local result
    wait
    for result in "$dir"/*.result; do
        [ -e "$result" ] || continue
        cat "$result"
        if grep -q '^ok: ' "$result"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
        rm "$result"
    done
}

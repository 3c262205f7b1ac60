# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What the shell tests share: a directory $dir, a daemon that is gone at the end, and the count of
# what passed. Needs VFIO_USERD and VFUCTL.

dir=$(mktemp -d /tmp/vfio-userd-test.XXXXXX)
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

# not_ok NAME: with the output of what was run last, and the daemon's log.
not_ok() {
    failed=$((failed + 1))
    echo "not ok: $1"
    cat "$dir/out" "$dir/err" "$dir/log" 2>/dev/null | sed 's/^/    /'
}

# start_daemon [OPTION]...: with its sockets in $dir, until it answers.
start_daemon() {
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

# stop_daemon NAME: it must honour SIGTERM, end with 0, and no sanitizer may have spoken.
stop_daemon() {
    local status
    kill -TERM "$daemon"
    wait "$daemon"
    status=$?
    daemon=
    if [ "$status" -ne 0 ] || grep -qE 'Sanitizer|runtime error' "$dir/log"; then
        not_ok "$1: the daemon ended with $status"
    fi
}

# The last line, and the exit status.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}

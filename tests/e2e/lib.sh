# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What all end-to-end tests share; a test sources it first. It gives the test a temporary folder
# ($work), the daemon ($daemon_pid, $device_socket, $control_socket), and sees to it that nothing is
# left behind: no process, no mount, no file.
#
#   VFIO_USERD, VFUCTL      the programs; default: those in $top_builddir, or in the tree
#   VFIO_USERD_TEST_CACHE   see prepare.sh
#   VFIO_USERD_TEST_LOGS    a folder to which every log is copied at the end
#   VFIO_USERD_STOP_LIMIT   seconds that the daemon has to end after SIGTERM; default 1, and 10 for
#                           a build with sanitizers
#
# Exit status of a test: 0 passed, 77 skipped, anything else failed.
set -euo pipefail

e2e_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
test_name=$(basename -- "$0" .test)
cache=${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}
work=
daemon_pid=
other_pid=
exit_hooks=()

fail() {
    echo "FAIL: $*" >&2
    exit 1
}

skip() {
    echo "SKIP: $*" >&2
    exit 77
}

# note TEXT: a figure to be shown by run.sh although the test passes.
note() {
    echo "note: $*"
}

# without PATTERN...: copies what no pattern matches.
without() {
    if [ $# = 0 ]; then
        cat
    else
        grep -vE -f <(printf '%s\n' "$@") || true
    fi
}

# complain_about TEXT MESSAGE: fails with MESSAGE unless the text is empty.
complain_about() {
    [ -z "$1" ] && return
    head -n 20 <<<"$1" >&2
    fail "$2"
}

# on_exit COMMAND...: to be run at the end, the latest first, whatever happens.
on_exit() {
    exit_hooks+=("$(printf '%q ' "$@")")
}

run_exit_hooks() {
    local status=$? i

    trap - EXIT
    trap '' HUP INT TERM
    set +e
    save_logs
    [ "$status" = 0 ] || [ "$status" = 77 ] || show_logs >&2
    for ((i = ${#exit_hooks[@]} - 1; i >= 0; i--)); do
        eval "${exit_hooks[i]}"
    done
    exit "$status"
}
trap run_exit_hooks EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'echo "FAIL: out of time, or told to stop" >&2; exit 143' TERM

# For a library that has logs elsewhere than in $work.
save_logs() {
    :
}

# Of a kernel's log, what is a warning or worse.
show_logs() {
    local log

    [ -n "$work" ] || return 0
    for log in "$work"/*.log; do
        [ -s "$log" ] || continue
        echo "=== ${log##*/}, the last 80 lines"
        case $log in
        *-dmesg.log) grep -E '^<[0-4]>' "$log" ;;
        *) cat -- "$log" ;;
        esac | tail -n 80 | tr -d '\r'
    done
}

keep_logs() {
    local folder=${VFIO_USERD_TEST_LOGS-}

    [ -n "$folder" ] || return 0
    mkdir -p "$folder/$test_name"
    cp -- "$work"/*.log "$folder/$test_name/"
}

require_root() {
    [ "$(id -u)" = 0 ] || skip "needs root"
}

# The cache must not be rebuilt while it is in use; a test started by hand builds it when need be.
require_cache() {
    "$e2e_dir/prepare.sh"
    exec {cache_lock}<"$cache/lock"
    flock -s "$cache_lock"
}

find_program() {
    local name=$1 folder variable

    for folder in "${top_builddir:-}" "$e2e_dir/../../build" "$e2e_dir/../.."; do
        if [ -n "$folder" ] && [ -x "$folder/$name" ]; then
            realpath -- "$folder/$name"
            return
        fi
    done
    variable=${name##*/}
    variable=${variable^^}
    fail "no $name in top_builddir or the tree: build first, or set ${variable//-/_}"
}

# Sets the programs under test and makes the temporary folder.
set_up() {
    require_root
    VFIO_USERD=${VFIO_USERD:-$(find_program vfio-userd)}
    VFUCTL=${VFUCTL:-$(find_program vfuctl)}
    require_cache
    work=$(mktemp -d "${TMPDIR:-/tmp}/vfut.XXXXXX")
    on_exit rm -rf -- "$work"
    on_exit keep_logs
    device_socket=$work/device.sock
    control_socket=$work/control.sock
}

# is_running PID: a zombie is not, nor is another process which got a finished one's number.
is_running() {
    [ -n "$1" ] && awk -v parent=$$ '
        $1 == "State:" { zombie = $2 == "Z" }
        $1 == "PPid:" { ours = $2 == parent }
        END { exit !(ours && !zombie) }' "/proc/$1/status" 2>/dev/null
}

# wait_until SECONDS COMMAND...: false if COMMAND never succeeds in that time.
wait_until() {
    local limit=$((SECONDS + $1 + 1))

    shift
    until "$@"; do
        [ "$SECONDS" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# start COMMAND...: in the background, with its process id in $started_pid. It is killed when this
# shell goes, even when it goes without a word.
start() {
    setpriv --pdeathsig KILL -- "$@" &
    started_pid=$!
    on_exit kill_started "$started_pid"
}

kill_started() {
    if is_running "$1"; then
        kill -KILL "$1"
    fi
    wait "$1" 2>/dev/null
}

# Both sockets listen: 00010000 is the kernel's flag for that. Connecting to find out would make us
# the device's client.
daemon_is_ready() {
    local socket

    for socket in "$device_socket" "$control_socket"; do
        grep -q " 00010000 .* $socket\$" /proc/net/unix || return 1
    done
}

ready_or_gone() {
    daemon_is_ready || ! is_running "$daemon_pid"
}

# start_daemon [ARGUMENT...]: starts the daemon on its two sockets and waits until it is ready.
start_daemon() {
    [ -z "$daemon_pid" ] || fail "a daemon is running already"
    start "$VFIO_USERD" --socket-path "$device_socket" --control-path "$control_socket" "$@" \
        >>"$work/daemon.log" 2>&1
    daemon_pid=$started_pid
    wait_until 20 ready_or_gone || fail "the daemon does not get ready within 20 s"
    is_running "$daemon_pid" || fail "the daemon ended instead of getting ready"
}

other_is_ready() {
    "$VFUCTL" -S "$other_control" -q status 2>/dev/null
}

# start_other_daemon [ARGUMENT...]: a second one, $other_pid, for the device to move to.
start_other_daemon() {
    other_control=$work/other-control.sock
    start "$VFIO_USERD" --socket-path "$work/other-device.sock" --control-path "$other_control" \
        "$@" >>"$work/other-daemon.log" 2>&1
    other_pid=$started_pid
    wait_until 20 other_is_ready || fail "the other daemon does not get ready"
}

# migrate FROM TO: control sockets; as an operator does it. The one that is left stays as an empty
# device.
migrate() {
    "$VFUCTL" -S "$1" migrate --to "$2" --keep >>"$work/migrate.log" 2>&1 ||
        fail "vfuctl migrate ended with status $?"
}

is_sanitized() {
    grep -qE '__(a|t|ub)san_' "$VFIO_USERD"
}

stop_limit() {
    if [ -n "${VFIO_USERD_STOP_LIMIT-}" ]; then
        echo "$VFIO_USERD_STOP_LIMIT"
    elif is_sanitized; then
        echo 10
    else
        echo 1
    fi
}

stop_other_daemon() {
    daemon_pid=$other_pid
    stop_daemon
}

# Ends the daemon and fails the test when it does not end well.
stop_daemon() {
    local pid=$daemon_pid limit status=0 began

    limit=$(stop_limit)
    is_running "$pid" || fail "the daemon is gone before its time"
    began=$EPOCHREALTIME
    kill -TERM "$pid"
    wait_until "$limit" has_ended "$pid" || fail "the daemon ignores SIGTERM for $limit s"
    awk -v began="$began" -v ended="$EPOCHREALTIME" -v limit="$limit" \
        'BEGIN { exit ended - began > limit + 0.2 }' || fail "the daemon took over $limit s to end"
    daemon_pid=
    wait "$pid" || status=$?
    [ "$status" = 0 ] || fail "the daemon ended with status $status"
    check_daemon_log
}

has_ended() {
    ! is_running "$1"
}

check_daemon_log() {
    if grep -E '(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|: runtime error: ' \
        "$work"/*daemon.log; then
        fail "a sanitizer speaks in the daemon's log"
    fi
}

vfuctl() {
    "$VFUCTL" -S "$control_socket" "$@"
}

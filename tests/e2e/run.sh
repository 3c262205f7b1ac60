#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# run.sh [TEST...]: runs the end-to-end tests, one after the other (they want both cores), and shows
# the log of each that fails. Ends with a line "N passed, N failed[, N skipped]"; its exit status
# is 1 when something failed. Variables: see lib.sh.
set -euo pipefail

e2e_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}
time_limit=120     # seconds a test
long_time_limit=300 # of those in which a daemon dies hundreds of times
passed=0
failed=0
skipped=0

work=$(mktemp -d "${TMPDIR:-/tmp}/vfut.XXXXXX")
trap 'rm -rf -- "$work"' EXIT

# $SECONDS has whole seconds only.
since() {
    awk -v began="$1" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", now - began }'
}

# What all tests run on, made once: as root only, the tests themselves skip without.
prepare() {
    local began=$EPOCHREALTIME

    [ "$(id -u)" = 0 ] || return 0
    "$e2e_dir/prepare.sh" >"$work/log" 2>&1 &&
        "$e2e_dir/guest/make-initramfs.sh" "$cache/kernel" "$work/initramfs" >>"$work/log" 2>&1 ||
        return 1
    export VFIO_USERD_TEST_INITRAMFS=$work/initramfs
    echo "prepared ($(since "$began"))"
}

run_test() {
    local name=$1 began=$EPOCHREALTIME status=0 limit=$time_limit

    [[ $name != *-keep.test ]] || limit=$long_time_limit

    # In the foreground, so that the test alone is told to stop and can tidy up; if it does not, all
    # that it started goes with it. It is told so too when this script is killed.
    setpriv --pdeathsig TERM -- timeout --foreground --kill-after=10 "$limit" \
        bash "$e2e_dir/$name" >"$work/log" 2>&1 || status=$?
    case $status in
    0)
        passed=$((passed + 1))
        echo "PASS $name ($(since "$began"))"
        sed -n 's/^note: /    /p' "$work/log"
        ;;
    77)
        skipped=$((skipped + 1))
        echo "SKIP $name: $(sed -n 's/^SKIP: //p' "$work/log")"
        ;;
    *)
        failed=$((failed + 1))
        echo "FAIL $name ($(since "$began"), status $status)"
        sed 's/^/    /' "$work/log"
        ;;
    esac
}

tests=("$@")
[ $# -gt 0 ] || tests=(
    guest-basic.test guest-unshared.test guest-reboot.test guest-described.test
    guest-msix.test guest-capture.test guest-handover.test guest-keep.test
    service-start.test service-config.test service-life.test service-sandbox.test
    service-journal.test service-guest.test service-handover.test service-varlink.test
    service-keep.test
)

if prepare; then
    for name in "${tests[@]}"; do
        run_test "$(basename -- "$name")"
    done
else
    echo "FAIL preparing: none of the tests can run"
    sed 's/^/    /' "$work/log"
    failed=${#tests[@]}
fi

summary="$passed passed, $failed failed"
[ "$skipped" = 0 ] || summary+=", $skipped skipped"
echo "$summary"
[ "$failed" = 0 ]

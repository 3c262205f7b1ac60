#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# doorbell-vmm, whose vCPU rings the doorbell through KVM_IOEVENTFD and by message: no ring is lost.
# Where no virtual machine can be run, it says so, and so does this.
set -u

. "$(dirname "$0")/lib.sh"

vmm=$top_builddir/doorbell-vmm
[ -x "$vmm" ] || {
    echo 'doorbell-vmm is not built for this processor'
    exit 77
}

# vmm STATUS ARGUMENT...: whether it ends with that, its output in $dir/out.
vmm() {
    local expected=$1 status
    shift
    timeout 100 "$vmm" "$@" > "$dir/out" 2>&1
    status=$?
    [ "$status" -eq "$expected" ]
}

# says NAME STATUS TEXT ARGUMENT...
says() {
    local name=$1 expected=$2 text=$3
    shift 3
    if vmm "$expected" "$@" && grep -qF -- "$text" "$dir/out"; then
        ok "$name"
    else
        not_ok "$name"
    fi
}

# counted WAY: the device counted as many rings as there were.
counted() {
    grep -qE "^doorbell-vmm: $1: 2000 rings in .*; the device counted 2000\$" "$dir/out"
}

says 'help' 0 'Usage: doorbell-vmm SOCKET [RINGS]' --help
says 'no arguments' 2 "expected the server's socket"
says 'no number' 2 'expected a number of rings from 1 to 10000000' "$dir/device.sock" 5x
says 'too large a number' 2 'expected a number of rings' "$dir/device.sock" 4294967297
says 'no server' 1 'No such file or directory' "$dir/none.sock"

for doorbell in shadow none; do
    echo "{ \"doorbell\": \"$doorbell\" }" > "$dir/$doorbell.json"
    start_daemon --config "$dir/$doorbell.json"
    says "no plain ioeventfd: $doorbell" 1 'describe the device with "doorbell": "ioeventfd"' \
        "$dir/device.sock"
    says "a control socket: $doorbell" 1 'control.sock: the connection was closed without a reply: is' \
        "$dir/control.sock"
    stop_daemon "$doorbell"
done

echo '{ "doorbell": "ioeventfd" }' > "$dir/ioeventfd.json"
start_daemon --config "$dir/ioeventfd.json"
without_kvm='mount --bind /dev/null /dev/kvm && exec "$@"'
if [ -e /dev/kvm ] && unshare -rm sh -c "$without_kvm" - true 2> "$dir/err"; then
    unshare -rm sh -c "$without_kvm" - "$vmm" "$dir/device.sock" > "$dir/out" 2>&1
    if [ $? -eq 77 ] && grep -q 'skipped: no virtual machine can be run here: ' "$dir/out"; then
        ok 'a /dev/kvm that is none'
    else
        not_ok 'a /dev/kvm that is none'
    fi
fi
if vmm 77 "$dir/device.sock" 2000; then
    cat "$dir/out"
    stop_daemon 'ioeventfd'
    finish && exit 77
    exit 1
fi
for round in 1 2; do
    if vmm 0 "$dir/device.sock" 2000 && counted KVM_IOEVENTFD && counted REGION_WRITE &&
        grep -qE '^doorbell-vmm: ratio [0-9.]+, no ring lost$' "$dir/out"; then
        ok "ioeventfd and messages, round $round"
    else
        not_ok "ioeventfd and messages, round $round"
    fi
done
stop_daemon 'ioeventfd'

finish

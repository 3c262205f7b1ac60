#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What lspci says of a running device is what the guest has made of it: command bits, interrupt
# status, power state. Needs VFIO_USERD, VFUCTL and ATTACH.
set -u

. "$(dirname "$0")/lib.sh"

# tell LINE ANSWER: has the client do something.
tell() {
    local answer
    echo "$1" >&"${CLIENT[1]}"
    read -r -t 10 -u "${CLIENT[0]}" answer
    [[ $answer == "$2" ]] || not_ok "the client answers '$answer' to '$1'"
}

# shows PATTERN...: lines of lspci's.
shows() {
    local pattern
    "$VFUCTL" -S "$dir/control.sock" dump-config | lspci -vv -F /dev/stdin > "$dir/out" 2> "$dir/err"
    for pattern; do
        if grep -qE -- "$pattern" "$dir/out"; then
            ok "lspci: $pattern"
        else
            not_ok "lspci: no $pattern"
        fi
    done
}

start_daemon
coproc CLIENT { exec "$ATTACH" "$dir/device.sock"; }
read -r -t 10 -u "${CLIENT[0]}" _
shows 'Control: .* Mem- BusMaster- .* DisINTx-' 'Status: Cap\+ .* INTx-' 'Status: D0 '
tell 'config 4=6' written
shows 'Control: .* Mem\+ BusMaster\+ .* DisINTx-'
tell 'config 10=0xfebfc000' written
tell 'config 12=0xfebf' written
shows 'Region 0: Memory at febfc000'
"$VFUCTL" -S "$dir/control.sock" -q trigger-irq
shows 'Status: Cap\+ .* INTx\+'
tell 'config 4=0x406' written
shows 'Control: .* BusMaster\+ .* DisINTx\+' 'Status: Cap\+ .* INTx\+'
tell 'config 44=3' written
shows 'Status: D3 '
tell 'config 44=0' written
shows 'Status: D0 '
exec {CLIENT[1]}>&-
stop_daemon 'lspci'
finish

#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# The command lines: options and their errors, descriptions, lspci's reading of configuration space,
# and vfuctl against a daemon. Needs VFIO_USERD, VFUCTL, VFU_CLIENT and top_srcdir.
set -u

. "$(dirname "$0")/lib.sh"

# expect STATUS PATTERN NAME COMMAND...: exit status, and an extended regular expression that a line
# of standard output or standard error must match.
expect() {
    local want=$1 pattern=$2 name=$3 got
    shift 3
    "$@" > "$dir/out" 2> "$dir/err" < /dev/null
    got=$?
    if [ "$got" -ne "$want" ]; then
        not_ok "$name: exit status $got, not $want"
    elif ! cat "$dir/out" "$dir/err" | grep -aqE -- "$pattern"; then
        not_ok "$name: nothing like: $pattern"
    elif grep -aqE 'Sanitizer|runtime error' "$dir/err"; then
        not_ok "$name: a sanitizer spoke"
    else
        ok "$name"
    fi
}

description() {
    printf '%s\n' "$2" > "$dir/$1.json"
}

# vfio-userd: options
expect 0 '^Usage: vfio-userd' 'help' "$VFIO_USERD" --help
expect 0 '^vfio-userd [0-9]' 'version' "$VFIO_USERD" --version
expect 0 '"features"' 'capabilities' "$VFIO_USERD" --print-capabilities
expect 2 'one of --instance, --socket-path and --fd is needed' 'no socket' "$VFIO_USERD"
expect 2 'exclude each other' 'two sockets' "$VFIO_USERD" --socket-path "$dir/s" --fd 0
expect 2 'not -1' 'fd -1' "$VFIO_USERD" --fd -1
expect 2 'no open socket' 'fd that is none' "$VFIO_USERD" --fd 77
expect 2 'not loud' 'log level' "$VFIO_USERD" --log-level loud
expect 2 'unrecognized option' 'unknown option' "$VFIO_USERD" --sockte-path x
expect 2 'options only, not dev0' 'argument' "$VFIO_USERD" --check-config dev0
expect 1 'No such file or directory' 'directory that is none' "$VFIO_USERD" \
    --socket-path "$dir/none/device.sock"
touch "$dir/file"
expect 1 'or it is no socket' 'path that is a file' "$VFIO_USERD" --socket-path "$dir/file"
expect 1 'File name too long' 'path that is too long' "$VFIO_USERD" \
    --socket-path "$dir/$(printf 'x%.0s' {1..120})"

# Descriptions
description good '{ "pci": { "vendor": "0x1234" }, "bar1": { "size": "64K", "mmap": [["0", "64K"]] } }'
description unknown '{ "pci": { "vendro": 1 } }'
description overlap '{ "pci": { "capabilities": [ {"kind": "pm", "offset": "0x40"},
    {"kind": "vendor", "offset": "0x44", "data": "00"} ] } }'
description syntax '{ "pci": { '
description area '{ "bar1": { "size": "8K", "mmap": [["4K", "8K"]] } }'
description odd '{ "bar1": { "size": "12K" } }'
expect 0 'good.json: valid' 'good description' "$VFIO_USERD" --check-config --config "$dir/good.json"
expect 0 '^00: 34 12 ef be' 'dump of it' "$VFIO_USERD" --dump-config --config "$dir/good.json"
expect 78 'unknown.json: pci.vendro: unknown key' 'unknown key' "$VFIO_USERD" --check-config \
    --config "$dir/unknown.json"
expect 78 'overlap.json: pci.capabilities\[1\].offset: overlaps' 'overlap' "$VFIO_USERD" \
    --check-config --config "$dir/overlap.json"
expect 78 'syntax.json: line 2, column ' 'syntax' "$VFIO_USERD" --check-config \
    --config "$dir/syntax.json"
expect 78 'area.json: bar1.mmap\[0\]: ends beyond' 'area' "$VFIO_USERD" --check-config \
    --config "$dir/area.json"
expect 0 'not a power of two: QEMU refuses' 'odd size' "$VFIO_USERD" --check-config \
    --config "$dir/odd.json"
expect 78 'none.json: No such file' 'no description' "$VFIO_USERD" --check-config \
    --config "$dir/none.json"
export VFIO_USERD_CONFIG_DIR=$dir VFIO_USERD_RUN_DIR=$dir/run
expect 0 'good.json: valid' 'an instance: its description' "$VFIO_USERD" --check-config --instance good
expect 0 '^00: 34 12 ef be' 'an instance: its dump' "$VFIO_USERD" --dump-config --instance good
expect 78 'unknown.json: pci.vendro' 'an instance: a bad one' "$VFIO_USERD" --instance unknown
expect 0 "there is no $dir/nobody.json: the default device" 'an instance without a description' \
    "$VFIO_USERD" --check-config --instance nobody
ln -s nowhere "$dir/lost.json"
expect 78 'lost.json: it is a link to what is not there' 'an instance with a link to nowhere' \
    "$VFIO_USERD" --instance lost
mkfifo "$dir/fifo.json"
expect 78 'fifo.json: it is no regular file' 'an instance with a FIFO' "$VFIO_USERD" --instance fifo
expect 2 'at most 63 letters' 'an instance with no name' "$VFIO_USERD" --instance a/b
unset VFIO_USERD_CONFIG_DIR VFIO_USERD_RUN_DIR
expect 78 'unknown key' 'nothing starts' "$VFIO_USERD" --socket-path "$dir/s" \
    --config "$dir/unknown.json"

# lspci decodes what we dump
lspci_of() {
    "$VFIO_USERD" --dump-config --config "$1" | lspci -vv -F /dev/stdin
}
lspci_json=$top_srcdir/contrib/devices/lspci.json
for line in 'Capabilities: \[40\] Power Management' 'NoSoftRst\+' \
    'Capabilities: \[48\] Vendor Specific' 'Capabilities: \[58\] Express' \
    'Capabilities: \[100.*\] Device Serial Number ca-fe-ba-be-de-ad-be-ef' \
    'Capabilities: \[10c.*\] Vendor Specific' 'Capabilities: \[400.*\] Vendor Specific'; do
    expect 0 "$line" "lspci: $line" lspci_of "$lspci_json"
done

# vfuctl
start_daemon
expect 0 'dead:beef' 'status' "$VFUCTL" -S "$dir/control.sock" status
expect 0 '"vendor":57005' 'status as JSON' "$VFUCTL" -S "$dir/control.sock" --json status
expect 0 'pending: no client has set an eventfd' 'trigger-irq' "$VFUCTL" -S "$dir/control.sock" \
    trigger-irq
expect 0 'asserted, status 0x2' 'its effect' "$VFUCTL" -S "$dir/control.sock" status
expect 0 '"delivered":"pending"' 'trigger-irq as JSON' "$VFUCTL" -S "$dir/control.sock" --json \
    trigger-irq --index req
expect 1 'NoSuchIrq index=msi vector=3' 'no such vector' "$VFUCTL" -S "$dir/control.sock" \
    trigger-irq --index msi --vector 3
expect 2 'not nmi' 'index' "$VFUCTL" -S "$dir/control.sock" trigger-irq --index nmi
expect 2 'takes a number from 0 to 65535, not x' 'vector' "$VFUCTL" -S "$dir/control.sock" trigger-irq --vector x
expect 0 '^addeefbe' 'dump-config hex' "$VFUCTL" -S "$dir/control.sock" dump-config --format hex
expect 0 '"config":"addeefbe' 'dump-config json' "$VFUCTL" -S "$dir/control.sock" dump-config \
    --format json
expect 2 'not xml' 'dump-config format' "$VFUCTL" -S "$dir/control.sock" dump-config --format xml
live_lspci() {
    "$VFUCTL" -S "$dir/control.sock" dump-config | lspci -vv -F /dev/stdin
}
expect 0 'INTx\+$' 'lspci of the live device: the interrupt is pending' live_lspci
"$VFUCTL" -S "$dir/control.sock" dump-config --format raw > "$dir/raw"
expect 0 '^256$' 'dump-config raw' stat -c %s "$dir/raw"
expect 2 'unknown command: stauts' 'unknown command' "$VFUCTL" -S "$dir/control.sock" stauts
expect 2 'a command is needed' 'no command' "$VFUCTL" -S "$dir/control.sock"
expect 2 'exclude each other' 'both -d and -S' "$VFUCTL" -d a -S b status
expect 0 'Usage: vfuctl .*trigger-irq \[--index' 'help of a command' "$VFUCTL" trigger-irq --help
expect 0 'dump-config +print the configuration' 'help' "$VFUCTL" --help
expect 3 'there is no such socket' 'no socket' "$VFUCTL" -S "$dir/none.sock" status
expect 0 'reload +read the device' 'reload in the help' "$VFUCTL" --help
expect 0 'Usage: vfuctl .*reload$' 'help of reload' "$VFUCTL" reload --help
expect 2 'reload: takes no argument, not now' 'reload with an argument' \
    "$VFUCTL" -S "$dir/control.sock" reload now

# Whoever may not connect is told who may. Root is refused nothing, so it calls as someone else;
# others refuse themselves: an owner has the owner's rights, not the group's.
group=$(stat -c %G "$dir/control.sock")
[ "$group" != UNKNOWN ] || group=$(stat -c %g "$dir/control.sock")
mkdir "$dir/closed"
ln "$dir/control.sock" "$dir/closed/control.sock"
cp "$VFUCTL" "$dir/vfuctl"
as_stranger() {
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
    else
        "$@"
    fi
}
chmod 755 "$dir" "$dir/vfuctl"
chmod 060 "$dir/control.sock"
chmod 000 "$dir/closed"
expect 3 "/control.sock: permission denied: only root and members of group $group may connect$" \
    'permission denied' as_stranger "$dir/vfuctl" -S "$dir/control.sock" status
expect 3 '/closed/control.sock: permission denied$' 'a directory that is closed' \
    as_stranger "$dir/vfuctl" -S "$dir/closed/control.sock" status
chmod 000 "$dir/control.sock"
expect 3 '/control.sock: permission denied$' 'a group that may not either' \
    as_stranger "$dir/vfuctl" -S "$dir/control.sock" status
if [ "$(id -u)" -eq 0 ]; then
    chgrp 54321 "$dir/control.sock"
    chmod 060 "$dir/control.sock"
    expect 3 'members of group 54321 may connect' 'a group without a name' \
        as_stranger "$dir/vfuctl" -S "$dir/control.sock" status
fi
chmod 660 "$dir/control.sock"
chmod 700 "$dir/closed" "$dir"

# Instances
mkdir "$dir/run" "$dir/run/dev0" "$dir/run/dev1"
export VFIO_USERD_RUN_DIR=$dir/run
expect 2 'no instance runs' 'no instance' "$VFUCTL" status
ln "$dir/control.sock" "$dir/run/dev0/control.sock"
expect 0 'dead:beef' 'the only instance' "$VFUCTL" status
expect 0 'dead:beef' 'instance by name' "$VFUCTL" -d dev0 status
expect 3 'dev1/control.sock: there is no such socket' 'instance that does not run' "$VFUCTL" \
    -d dev1 status
ln "$dir/control.sock" "$dir/run/dev1/control.sock"
expect 2 '2 instances run: .* dev' 'two instances' "$VFUCTL" status

# A second daemon at the same path, and one after a crash
expect 1 'another process serves this socket' 'path in use' "$VFIO_USERD" \
    --socket-path "$dir/device.sock"
kill -KILL "$daemon"
wait "$daemon" 2>/dev/null
expect 3 'nobody serves this socket' 'dead daemon' "$VFUCTL" -d dev0 status
start_daemon
ok 'a socket left by a crash is replaced'
stop_daemon 'SIGTERM'
if [ ! -e "$dir/device.sock" ] && [ ! -e "$dir/control.sock" ]; then
    ok 'its sockets are removed'
else
    not_ok 'a socket is left'
fi

# A description that changes
description live '{ "limits": { "max_dma_maps": 9 } }'
start_daemon --config "$dir/live.json"
reload=("$VFUCTL" -S "$dir/control.sock")
expect 0 '^nothing has changed$' 'reload of the same' "${reload[@]}" reload
expect 0 '^\{"changed":\[\]\}$' 'reload as JSON' "${reload[@]}" --json reload
timeout 30 "$VFU_CLIENT" --quiet --socket-path "$dir/device.sock" --doorbell-speed 1 > /dev/null
description live '{ "log_level": "err" }'
expect 0 '^changed: limits.max_dma_maps, log_level$' 'reload' "${reload[@]}" reload
timeout 30 "$VFU_CLIENT" --quiet --socket-path "$dir/device.sock" --doorbell-speed 1 > /dev/null
expect 0 '^1$' 'the log level holds' grep -c ' attached:' "$dir/log"
description live '{ "log_level": "info", "dma_on_irq": true }'
expect 1 'ReloadRefused reason=.*/live.json: dma_on_irq: changes only with a stop and a start' \
    'reload refused' "${reload[@]}" reload
description live '{ "log_level": "info" }'
expect 0 '^changed: log_level$' 'reload after a refusal' "${reload[@]}" reload
timeout 30 "$VFU_CLIENT" --quiet --socket-path "$dir/device.sock" --doorbell-speed 1 > /dev/null
expect 0 '^2$' 'the log level holds again' grep -c ' attached:' "$dir/log"
stop_daemon 'reload'

finish

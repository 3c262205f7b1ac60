#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Each command of vfuctl against a daemon with a client attached: as text and as JSON, compared in
# full with times and process ids replaced. Needs VFIO_USERD, VFUCTL, VFU_CLIENT and ATTACH.
set -u

. "$(dirname "$0")/lib.sh"

export TZ=UTC
uid=$(id -u)
version=$("$VFUCTL" --version | cut -d ' ' -f 2)
attached=
monitors=()

stop_clients() {
    exec 9>&-
    # shellcheck disable=SC2086
    kill $attached "${monitors[@]}" 2> /dev/null
    wait
    cleanup
}
trap stop_clients EXIT

ctl() {
    "$VFUCTL" -S "$dir/control.sock" "$@"
}

# attach: a client, whose answers go to $dir/answers.
attach() {
    rm -f "$dir/commands"
    mkfifo "$dir/commands"
    "$ATTACH" "$dir/device.sock" < "$dir/commands" > "$dir/answers" &
    attached=$!
    exec 9> "$dir/commands"
    wait_for attached "$dir/answers"
}

# wait_for TEXT FILE: until a line of the file begins with that, at most five seconds.
wait_for() {
    local i

    for ((i = 0; i < 500; i++)); do
        grep -q "^$1" "$2" && return
        sleep 0.01
    done
    not_ok "no $1"
    cat "$2"
}

# tell COMMAND ANSWER: the client does it.
tell() {
    echo "$1" >&9
    wait_for "$2" "$dir/answers"
}

# Times, ids and what latencies are is not for us to say.
replace() {
    sed -E \
        -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}\.[0-9]{3}/TIME/g' \
        -e 's/"(since|time)":[0-9]{19}/"\1":TIME/g' \
        -e 's/up [0-9]{2}:[0-9]{2}:[0-9]{2}/up UPTIME/' -e 's/"uptime":[0-9]+/"uptime":UPTIME/' \
        -e "s/pid $daemon,/pid DAEMON,/" -e "s/\"pid\":$daemon,/\"pid\":DAEMON,/" \
        -e "s/pid $attached\b/pid CLIENT/" -e "s/\"pid\":$attached\b/\"pid\":CLIENT/" \
        -e 's/"latency_sum":[1-9][0-9]*/"latency_sum":NS/' \
        -e 's/^([A-Z_]+ +[0-9]+ +[0-9]+) .*[um]?s$/\1 LATENCY/'
}

# says STATUS NAME OPTION...: exit status, and that standard output is what the standard input has.
says() {
    local want=$1 name=$2 got

    shift 2
    cat > "$dir/want"
    ctl "$@" > "$dir/raw" 2> "$dir/err"
    got=$?
    replace < "$dir/raw" > "$dir/have"
    if [ "$got" -ne "$want" ]; then
        not_ok "$name: exit status $got, not $want"
    elif ! diff "$dir/want" "$dir/have" > "$dir/out"; then
        not_ok "$name: not as wanted (<)"
    else
        ok "$name"
    fi
    rm -f "$dir/out" "$dir/err"
}

# complains STATUS TEXT NAME OPTION...: exit status, and standard error is that text.
complains() {
    local want=$1 text=$2 name=$3 got

    shift 3
    ctl "$@" > "$dir/out" 2> "$dir/err"
    got=$?
    if [ "$got" -eq "$want" ] && [ "$(cat "$dir/err")" = "$text" ]; then
        ok "$name"
    else
        not_ok "$name: exit status $got, not $want, or not: $text"
    fi
}

start_daemon
name=$(basename "$dir")
ctl monitor > "$dir/events" 2> "$dir/events.err" &
monitors+=($!)
ctl monitor --json > "$dir/events.json" 2> /dev/null &
monitors+=($!)
wait_for . "$dir/events"
wait_for . "$dir/events.json"
attach

#
# status, trigger-irq
#
says 0 'status' status << EOT
instance     $name: vfio-userd $version, pid DAEMON, up UPTIME
device       dead:beef (subsystem cafe:babe), model timer, BAR1 16 KiB
power        D0, Bus Master off
client       pid CLIENT, uid $uid, since TIME
             protocol 0.1, profile strict, at most 1 MiB a transfer
             0 requests, 0 errors
timer        not armed
interrupts   0 raised; intx, line not asserted, status 0x0, enable 0xffffffff
DMA          0 maps
             0 B moved directly, 0 B by message
log level    info
EOT
says 0 'trigger-irq, pending' trigger-irq <<< 'pending: no client has set an eventfd for it'
tell irq set
says 0 'trigger-irq, again' trigger-irq << 'EOT'
pending: the line is asserted already and the guest has not acknowledged it
EOT
says 0 'trigger-irq, as JSON' trigger-irq --json --index err << 'EOT'
{"delivered":"pending","reason":"no client has set an eventfd for it"}
EOT
complains 1 'vfuctl: NoSuchIrq index=msi vector=9' 'trigger-irq, none such' trigger-irq --index msi \
    --vector 9
tell 'map 64' mapped
tell err refused
tell 'post 3' posted
tell collect collected
# Not for a pipe: what fails behind one fails in a shell of its own, and is not counted.
status_json() {
    printf '{"name":"%s","version":"%s","pid":DAEMON,"uptime":UPTIME,' "$name" "$version"
    printf '"identity":{"model":"timer","vendor":57005,"device":48879,'
    printf '"subsystem_vendor":51966,"subsystem_device":47806},"power":"D0","bus_master":false,'
    printf '"bar1_size":16384,"log_level":"%s","capturing":false,' "$1"
    printf '"client":{"pid":CLIENT,"uid":%s,"since":TIME,"profile":"strict","protocol":"0.1",' "$uid"
    printf '"max_data_xfer_size":1048576,"twin_socket":"none","vm_interrupt":false,"requests":%s,"errors":1},' "$2"
    printf '"timer":{"deadline":null,"fired":0},'
    printf '"interrupts":{"mode":"intx","level":%s,"enable":4294967295,"count":%s},' "$3" "$4"
    printf '"dma":{"maps":1,"shared":1,"files":1,"bytes_direct":0,"bytes_message":0},'
    printf '"migration":{"state":"running","moved_to":null},'
    printf '"recovery":{"state":"off","reason":null,"after":"start",'
    printf '"descriptors":0,"max_descriptors":0}}\n'
}
says 0 'status --json' status --json < <(status_json info 6 'true,"status":2' 1)

#
# stats
#
says 0 'stats' stats << 'EOT'
since        TIME
clients      1 attached, 0 refused
interrupts   2 raised
resets       0
DMA          1 map, 1 of them shared through 1 file
             0 B moved directly, 0 B by message
control      10 connections, 9 calls, 1 error

command          requests  errors     mean  50 % within  99 % within  all within
VERSION                 1       0 LATENCY
DMA_MAP                 1       0 LATENCY
DEVICE_SET_IRQS         1       0 LATENCY
REGION_READ             4       1 LATENCY
EOT
ctl stats --json > "$dir/raw"
ctl stats --format openmetrics > "$dir/openmetrics"
for want in '"clients":1,"refused":0,"interrupts":2,"resets":0,' \
    '"latency_bounds":[256,512,1024,2048,4096,8192,16384,' ',536870912,1073741824],"commands":[' \
    '{"command":"VERSION","requests":1,"errors":0,"latency_sum":' \
    '{"command":"REGION_READ","requests":4,"errors":1,"latency_sum":'; do
    if grep -qF "$want" "$dir/raw"; then ok "stats --json: $want"; else not_ok "no $want"; fi
done
for want in 'client_attached{instance="NAME"} 1' 'interrupts_total{instance="NAME"} 2' \
    'requests_total{instance="NAME",command="REGION_READ"} 4' \
    'request_errors_total{instance="NAME",command="REGION_READ"} 1' \
    'request_duration_seconds_bucket{instance="NAME",command="REGION_READ",le="+Inf"} 4' \
    'request_duration_seconds_count{instance="NAME",command="VERSION"} 1'; do
    want=vfio_userd_${want/NAME/$name}
    if grep -qxF "$want" "$dir/openmetrics"; then ok "openmetrics: $want"; else not_ok "no $want"; fi
done
promtool=$(command -v promtool || echo "${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}/promtool")
if [ ! -x "$promtool" ]; then
    echo 'skipped: promtool is not there: see tests/run.sh packages'
elif "$promtool" check metrics < "$dir/openmetrics" > "$dir/out" 2>&1; then
    ok 'promtool check metrics'
else
    not_ok 'promtool check metrics'
fi
rm -f "$dir/out"

#
# dump-config: its forms have the same bytes
#
ctl dump-config --format hex > "$dir/hex"
ctl dump-config --format raw | od -An -v -tx1 | tr -d ' \n' > "$dir/raw.hex"
ctl dump-config | sed -n 's/^[0-9a-f]*: //p' | tr -d ' \n' > "$dir/lspci.hex"
ctl dump-config --json | sed 's/{"config":"//; s/"}//' > "$dir/json.hex"
for form in raw lspci json; do
    if [ "$(cat "$dir/hex")" = "$(cat "$dir/$form.hex")" ]; then
        ok "dump-config: $form is the same as hex"
    else
        not_ok "dump-config: $form is not the same as hex"
    fi
done
if [ "$(wc -c < "$dir/hex")" -eq 513 ] && grep -q '^addeefbe' "$dir/hex"; then
    ok 'dump-config: 256 bytes, from the vendor on'
else
    not_ok 'dump-config'
fi

#
# log-level, reload, reset
#
says 0 'log-level' log-level debug <<< 'changed; it was info'
says 0 'log-level --json' --json log-level warning <<< '{"previous":"debug"}'
says 0 'the log level is another' status --json < <(status_json warning 6 'true,"status":2' 1)
says 0 'reset' reset <<< 'the device is reset'
says 0 'reset --json' --json reset <<< '{}'
tell reset reset
says 0 'the device is reset' status --json < <(status_json warning 7 'false,"status":0' 0)
says 0 'trigger-irq after the reset' trigger-irq <<< 'delivered by eventfd'
says 0 'reload' reload <<< 'nothing has changed'
says 0 'reload --json' reload --json <<< '{"changed":[]}'
says 0 'which sets the log level back' status --json < <(status_json info 7 'true,"status":2' 1)

#
# monitor: what has happened until now, and what happens now
#
"$ATTACH" "$dir/device.sock" < /dev/null > "$dir/second" &
second=$!
wait "$second"
tell 'unmap 64' unmapped
exec 9>&-
wait "$attached"
wait_for '.*client-detached' "$dir/events"
wait_for '.*client-detached' "$dir/events.json"

# Whatever a client asks for, no command is in the statistics twice.
"$VFU_CLIENT" --quiet --socket-path "$dir/device.sock" > /dev/null
ctl stats --format openmetrics > "$dir/openmetrics"
if grep -q 'command="UNKNOWN"' "$dir/openmetrics" &&
    ! sed '/^#/d; s/ [^ ]*$//' "$dir/openmetrics" | sort | uniq -d | grep . > "$dir/out"; then
    ok 'each series is there once'
else
    not_ok 'a series is there twice'
fi
rm -f "$dir/out"

#
# quit: the monitors end too
#
complains 3 "vfuctl: $dir/device.sock: the connection was closed without a reply: is this a control \
socket?" 'the other socket' -S "$dir/device.sock" status
says 0 'quit' quit <<< 'the daemon ends'
wait "$daemon"
got=$?
if [ "$got" -eq 0 ] && [ ! -e "$dir/control.sock" ] && ! grep -qE 'Sanitizer|runtime error' "$dir/log"
then
    ok 'the daemon has ended'
else
    not_ok "the daemon has ended with $got"
fi
for monitor in "${monitors[@]}"; do
    wait "$monitor"
    got=$?
    if [ "$got" -eq 3 ]; then ok 'and the monitor'; else not_ok "monitor: $got"; fi
done
if [ "$(cat "$dir/events.err")" = "vfuctl: $dir/control.sock: the daemon has closed the connection" ]
then
    ok 'which says why'
else
    not_ok 'which does not say why'
fi
daemon=
no_eventfd='no client has set an eventfd for it'
cat > "$dir/want" << EOT
TIME  monitoring       no client is attached
TIME  client-attached  pid CLIENT, uid $uid, protocol 0.1, profile strict
TIME  interrupt        intx pending: $no_eventfd
TIME  interrupt        intx delivered by eventfd
TIME  interrupt        err 0 pending: $no_eventfd
TIME  dma-map          0x100000, 64 KiB, shared
TIME  reset            by the operator
TIME  reset            by the operator
TIME  reset            by the client
TIME  interrupt        intx delivered by eventfd
TIME  client-refused   pid $second: another client is attached
TIME  dma-unmap        0x100000, 64 KiB
TIME  client-detached  pid CLIENT: it closed the connection; 8 requests, 1 error
EOT
# What vfu-client has done is behind it.
replace < "$dir/events" | head -n "$(wc -l < "$dir/want")" > "$dir/have"
if diff "$dir/want" "$dir/have" > "$dir/out"; then ok 'monitor'; else not_ok 'monitor'; fi

# The same as JSON: a field that is null may be left out.
sed -E 's/.*"kind":"([a-z-]+)".*/\1/' "$dir/events.json" |
    head -n "$(wc -l < "$dir/want")" > "$dir/have"
sed -E 's/^TIME  ([a-z-]+) .*/\1/' -i "$dir/want"
if diff "$dir/want" "$dir/have" > "$dir/out"; then ok 'monitor --json'; else not_ok 'monitor --json'; fi
if replace < "$dir/events.json" | sed 's/,"[a-z]*":null//g' |
    grep -qxF '{"event":{"time":TIME,"kind":"dma-map","iova":1048576,"size":65536,"shared":true}}'
then
    ok 'monitor --json: an event'
else
    rm -f "$dir/out"
    cp "$dir/events.json" "$dir/out"
    not_ok 'monitor --json: an event'
fi

# Who may look and not act. Root may do all, so it calls as somebody else, and only root can.
if [ "$(id -u)" -eq 0 ]; then
    echo '{ "control": { "group_may_write": false } }' > "$dir/quiet.json"
    start_daemon --config "$dir/quiet.json"
    chmod 755 "$dir"
    chmod 666 "$dir/control.sock"
    cp "$VFUCTL" "$dir/vfuctl"
    as_stranger() {
        setpriv --reuid 65534 --regid 65534 --clear-groups "$dir/vfuctl" -S "$dir/control.sock" "$@"
    }
    for command in 'trigger-irq' 'reset' 'reload' 'log-level debug' 'quit'; do
        # shellcheck disable=SC2086
        as_stranger $command > "$dir/out" 2>&1
        got=$?
        if [ "$got" -eq 1 ] && [ "$(cat "$dir/out")" = "vfuctl: permission denied: ${command%% *} is \
for root and vfio-userd's own user (control.group_may_write is false)" ]; then
            ok "refused: $command"
        else
            not_ok "refused: $command: exit status $got"
        fi
    done
    for command in status stats dump-config; do
        if as_stranger "$command" > "$dir/out" 2>&1; then
            ok "not refused: $command"
        else
            not_ok "refused: $command"
        fi
    done
    stop_daemon 'rights'
else
    echo 'skipped: who may act: only root can call as somebody else'
fi

finish

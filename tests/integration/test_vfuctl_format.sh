#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# What vfuctl sends, and what it makes of each reply, to the byte: against a server that answers
# what this script says. Needs VFUCTL and FAKE_VARLINK.
set -u

. "$(dirname "$0")/lib.sh"

export TZ=UTC
unset NO_COLOR
run_dir=$dir/run
socket=$run_dir/dev0/control.sock
fake=
mkdir -p "$run_dir/dev0"
export VFIO_USERD_RUN_DIR=$run_dir

stop_fake() {
    if [ -n "$fake" ]; then
        kill "$fake"
        wait "$fake" 2> /dev/null
    fi
    fake=
}
trap 'stop_fake; cleanup' EXIT

# answers: the server answers as the standard input says from now on; see fake_varlink.c.
answers() {
    local i

    stop_fake
    cat > "$dir/script"
    rm -f "$socket"
    "$FAKE_VARLINK" "$socket" "$dir/script" > "$dir/calls" 2> "$dir/log" &
    fake=$!
    for ((i = 0; i < 500; i++)); do
        [ -S "$socket" ] && grep -q "$socket" /proc/net/unix && return
        sleep 0.02
    done
    echo "not ok: the fake server did not start"
    exit 1
}

# says STATUS NAME COMMAND...: exit status, and that standard output is what the standard input has.
says() {
    local want=$1 name=$2 got

    shift 2
    cat > "$dir/want"
    "$VFUCTL" "$@" > "$dir/have" 2> "$dir/err"
    got=$?
    if [ "$got" -ne "$want" ]; then
        not_ok "$name: exit status $got, not $want"
    elif ! diff "$dir/want" "$dir/have" > "$dir/out"; then
        not_ok "$name: not as wanted (<)"
    else
        ok "$name"
    fi
    rm -f "$dir/out"
}

# complains STATUS TEXT NAME COMMAND...: exit status, standard error is that text, and nothing is
# printed to standard output.
complains() {
    local want=$1 text=$2 name=$3 got

    shift 3
    "$VFUCTL" "$@" > "$dir/out" 2> "$dir/err"
    got=$?
    if [ "$got" -ne "$want" ]; then
        not_ok "$name: exit status $got, not $want"
    elif [ "$(cat "$dir/err")" != "$text" ] || [ -s "$dir/out" ]; then
        not_ok "$name: not: $text"
    else
        ok "$name"
    fi
}

# sent JSON: that is what the last call was.
sent() {
    if [ "$(tail -n 1 "$dir/calls")" = "$1" ]; then
        ok "sent: $1"
    else
        not_ok "sent: $(tail -n 1 "$dir/calls"), not $1"
    fi
}

call() {
    printf '{"method":"io.vfiouserd.Device.%s"%s}' "$1" "${2:-}"
}

client='{"pid":1234,"uid":1000,"since":1732291387250000000,"profile":"qemu","protocol":"0.1",
"max_data_xfer_size":1048576,"twin_socket":"none","vm_interrupt":false,"requests":69481,"errors":1}'
client=$(tr -d '\n' <<< "$client")
identity='{"model":"timer","vendor":57005,"device":48879,"subsystem_vendor":51966,"subsystem_device":47806}'

#
# status
#
status_of() {
    printf '{"name":"dev0","version":"0.1.0","pid":99,"uptime":%s,"identity":%s,"power":"D0",' \
        "$1" "$identity"
    printf '"bus_master":true,"bar1_size":16384,"log_level":"info","capturing":%s,' "$2"
    printf '"client":%s,"timer":{"deadline":%s,"fired":%s},' "$3" "$4" "$5"
    printf '"interrupts":{"mode":"intx","level":true,"status":1,"enable":4294967295,"count":17},'
    printf '"dma":{"maps":%s,"shared":%s,"files":%s,"bytes_direct":%s,"bytes_message":%s}}' \
        "${@:6}"
}

reply=$(status_of 183 false "$client" null 1732291400007000000 6 5 1 123457 4096)
answers <<< "GetStatus {\"parameters\":$reply}"
says 0 'status' status << 'EOT'
instance     dev0: vfio-userd 0.1.0, pid 99, up 00:03:03
device       dead:beef (subsystem cafe:babe), model timer, BAR1 16 KiB
power        D0, Bus Master on
client       pid 1234, uid 1000, since 2024-11-22 16:03:07.250
             protocol 0.1, profile qemu, at most 1 MiB a transfer
             69481 requests, 1 error
timer        not armed; fired last at 2024-11-22 16:03:20.007
interrupts   17 raised; intx, line asserted, status 0x1, enable 0xffffffff
DMA          6 maps, 5 of them shared through 1 file
             120.6 KiB moved directly, 4 KiB by message
log level    info
EOT
sent "$(call GetStatus)"
says 0 'status --json' --json status <<< "$reply"
says 0 'status, then --json' status --json <<< "$reply"
says 0 'status -q' -q status < /dev/null
says 0 'status, then -q' status -q --json < /dev/null

for ways in 'open,false:twin socket' 'none,true:interrupts by message' \
    'open,true:twin socket, interrupts by message' \
    'closed,true:twin socket closed: no DMA and interrupts by message' \
    'closed,false:twin socket closed: no DMA and interrupts by message'; do
    with=${ways%%:*}
    with="\"twin_socket\":\"${with%,*}\",\"vm_interrupt\":${with#*,}"
    other=${client/\"twin_socket\":\"none\",\"vm_interrupt\":false/$with}
    answers <<< "GetStatus {\"parameters\":$(status_of 183 false "$other" null 0 6 5 1 1 1)}"
    if "$VFUCTL" status | grep -qx "             ${ways#*:}"; then
        ok "status: ${ways#*:}"
    else
        not_ok "status: no row: ${ways#*:}"
    fi
done

answers <<< "GetStatus {\"parameters\":$(status_of 266163 true null 1732291400007000000 0 1 0 0 0 0)}"
says 0 'status without a client' status << 'EOT'
instance     dev0: vfio-userd 0.1.0, pid 99, up 3 d 01:56:03
device       dead:beef (subsystem cafe:babe), model timer, BAR1 16 KiB
power        D0, Bus Master on
client       none
timer        armed for 2024-11-22 16:03:20.007
interrupts   17 raised; intx, line asserted, status 0x1, enable 0xffffffff
DMA          1 map
             0 B moved directly, 0 B by message
log level    info
capture      a capture of the traffic is under way
EOT

answers <<< "GetStatus {\"parameters\":$(status_of 0 false "${client/1000/null}" null 0 2 1 1 0 0)}"
says 0 'status of a client without a uid, timer that never fired' status << 'EOT'
instance     dev0: vfio-userd 0.1.0, pid 99, up 00:00:00
device       dead:beef (subsystem cafe:babe), model timer, BAR1 16 KiB
power        D0, Bus Master on
client       pid 1234, uid unknown, since 2024-11-22 16:03:07.250
             protocol 0.1, profile qemu, at most 1 MiB a transfer
             69481 requests, 1 error
timer        not armed
interrupts   17 raised; intx, line asserted, status 0x1, enable 0xffffffff
DMA          2 maps, 1 of them shared through 1 file
             0 B moved directly, 0 B by message
log level    info
EOT

# migrating TYPE ROW: with that Migration, status has that row.
migrating() {
    local row

    answers <<< "GetStatus {\"parameters\":${reply%\}},\"migration\":$1}}"
    row=$("$VFUCTL" status | grep '^migration')
    if [ "$row" = "$2" ]; then
        ok "status of migration $1"
    else
        not_ok "status of migration $1: $row"
    fi
}
migrating '{"state":"running","moved_to":null}' ''
migrating '{"state":"stop-copy","moved_to":null}' 'migration    stop-copy'
migrating '{"state":"running","moved_to":"dev1"}' 'migration    migrated to dev1'

#
# Commands that are one call
#
answers << 'EOT'
TriggerIrq {"parameters":{"delivered":"eventfd"}}
Reset {"parameters":{}}
Reload {"parameters":{"changed":["limits.max_dma_maps","log_level"]}}
SetLogLevel {"parameters":{"previous":"info"}}
DumpConfig {"parameters":{"config":"addeefbe060010000100800800000000"}}
Quit {"parameters":{}}
Quit close
EOT
says 0 'trigger-irq' trigger-irq <<< 'delivered by eventfd'
sent "$(call TriggerIrq ',"parameters":{}')"
says 0 'trigger-irq with options, as JSON' trigger-irq --json --index msi --vector 3 \
    <<< '{"delivered":"eventfd"}'
sent "$(call TriggerIrq ',"parameters":{"index":"msi","vector":3}')"
says 0 'reset' reset <<< 'the device is reset'
sent "$(call Reset)"
says 0 'reset --json' reset --json <<< '{}'
says 0 'reload' reload <<< 'changed: limits.max_dma_maps, log_level'
says 0 'reload --json' reload --json <<< '{"changed":["limits.max_dma_maps","log_level"]}'
says 0 'log-level' log-level debug <<< 'changed; it was info'
sent "$(call SetLogLevel ',"parameters":{"level":"debug"}')"
says 0 'log-level --json' --json log-level debug <<< '{"previous":"info"}'
says 0 'quit' quit <<< 'the daemon ends'
sent "$(call Quit)"
says 0 'quit --json' quit --json <<< '{}'
says 0 'dump-config' dump-config << 'EOT'
00:00.0 vfio-userd
00: ad de ef be 06 00 10 00 01 00 80 08 00 00 00 00

EOT
says 0 'dump-config --format hex' dump-config --format hex <<< 'addeefbe060010000100800800000000'
says 0 'dump-config --format=json' dump-config --format=json \
    <<< '{"config":"addeefbe060010000100800800000000"}'
says 0 'dump-config --json' dump-config --json <<< '{"config":"addeefbe060010000100800800000000"}'
printf '\xad\xde\xef\xbe\x06\x00\x10\x00\x01\x00\x80\x08\x00\x00\x00\x00' |
    says 0 'dump-config -f raw' dump-config -f raw
says 0 'dump-config -q' dump-config -q < /dev/null

#
# stats
#
bounds='[256,512,1024,2048,1073741824]'
stats=$(tr -d '\n' << EOT
{"since":1732291387250000000,"clients":3,"refused":1,"interrupts":17,"resets":2,
"dma":{"maps":6,"shared":5,"files":2,"bytes_direct":5368709120,"bytes_message":0},
"control":{"connections":4,"calls":12,"errors":1},"latency_bounds":$bounds,"commands":[
{"command":"REGION_READ","requests":200,"errors":0,"latency_sum":61000,"latency":[50,147,2,0,0,1]},
{"command":"REGION_WRITE","requests":70000,"errors":0,"latency_sum":0,"latency":[0,0,0,0,0,0]},
{"command":"DMA_MAP","requests":2,"errors":1,"latency_sum":3000,"latency":[0,0,1,1,0,0]}]}
EOT
)
answers << EOT
GetStats {"parameters":$stats}
GetStatus {"parameters":$(status_of 183 false "$client" null 0 6 5 2 0 0)}
EOT
says 0 'stats' stats << 'EOT'
since        2024-11-22 16:03:07.250
clients      3 attached, 1 refused
interrupts   17 raised
resets       2
DMA          6 maps, 5 of them shared through 2 files
             5 GiB moved directly, 0 B by message
control      4 connections, 12 calls, 1 error

command       requests  errors     mean  50 % within  99 % within  all within
REGION_READ        200       0   305 ns       512 ns      1.02 us    > 1.07 s
REGION_WRITE     70000       0        -            -            -           -
DMA_MAP              2       1  1.50 us      1.02 us      2.05 us     2.05 us
EOT
says 0 'stats --json' stats --json <<< "$stats"
says 0 'stats --format json' stats --format json <<< "$stats"
says 0 'stats --json --format table' stats --json -q --format table < /dev/null
says 0 'stats --format openmetrics' stats --format openmetrics << 'EOT'
# TYPE vfio_userd_info gauge
# HELP vfio_userd_info The daemon; always 1.
vfio_userd_info{instance="dev0",version="0.1.0"} 1
# TYPE vfio_userd_start_time_seconds gauge
# UNIT vfio_userd_start_time_seconds seconds
# HELP vfio_userd_start_time_seconds When the daemon was started, since the Epoch.
vfio_userd_start_time_seconds{instance="dev0"} 1732291387.250
# TYPE vfio_userd_client_attached gauge
# HELP vfio_userd_client_attached Whether a client is attached.
vfio_userd_client_attached{instance="dev0"} 1
# TYPE vfio_userd_clients_total counter
# HELP vfio_userd_clients_total Clients that have attached.
vfio_userd_clients_total{instance="dev0"} 3
# TYPE vfio_userd_clients_refused_total counter
# HELP vfio_userd_clients_refused_total Clients that were turned away.
vfio_userd_clients_refused_total{instance="dev0"} 1
# TYPE vfio_userd_interrupts_total counter
# HELP vfio_userd_interrupts_total Interrupts raised.
vfio_userd_interrupts_total{instance="dev0"} 17
# TYPE vfio_userd_resets_total counter
# HELP vfio_userd_resets_total Resets of the device.
vfio_userd_resets_total{instance="dev0"} 2
# TYPE vfio_userd_dma_maps gauge
# HELP vfio_userd_dma_maps Regions of guest memory that the client told of.
vfio_userd_dma_maps{instance="dev0"} 6
# TYPE vfio_userd_dma_maps_shared gauge
# HELP vfio_userd_dma_maps_shared Those of them that are shared with the daemon.
vfio_userd_dma_maps_shared{instance="dev0"} 5
# TYPE vfio_userd_dma_files gauge
# HELP vfio_userd_dma_files Files that these are in.
vfio_userd_dma_files{instance="dev0"} 2
# TYPE vfio_userd_dma_bytes_total counter
# HELP vfio_userd_dma_bytes_total Bytes of DMA: direct, or by message.
vfio_userd_dma_bytes_total{instance="dev0",path="direct"} 5368709120
vfio_userd_dma_bytes_total{instance="dev0",path="message"} 0
# TYPE vfio_userd_control_connections_total counter
# HELP vfio_userd_control_connections_total Connections to the control socket.
vfio_userd_control_connections_total{instance="dev0"} 4
# TYPE vfio_userd_control_calls_total counter
# HELP vfio_userd_control_calls_total Calls to the control socket.
vfio_userd_control_calls_total{instance="dev0"} 12
# TYPE vfio_userd_control_errors_total counter
# HELP vfio_userd_control_errors_total Calls that failed.
vfio_userd_control_errors_total{instance="dev0"} 1
# TYPE vfio_userd_requests_total counter
# HELP vfio_userd_requests_total Requests of vfio-user clients.
vfio_userd_requests_total{instance="dev0",command="REGION_READ"} 200
vfio_userd_requests_total{instance="dev0",command="REGION_WRITE"} 70000
vfio_userd_requests_total{instance="dev0",command="DMA_MAP"} 2
# TYPE vfio_userd_request_errors_total counter
# HELP vfio_userd_request_errors_total Requests that failed.
vfio_userd_request_errors_total{instance="dev0",command="REGION_READ"} 0
vfio_userd_request_errors_total{instance="dev0",command="REGION_WRITE"} 0
vfio_userd_request_errors_total{instance="dev0",command="DMA_MAP"} 1
# TYPE vfio_userd_request_duration_seconds histogram
# UNIT vfio_userd_request_duration_seconds seconds
# HELP vfio_userd_request_duration_seconds From a request to its reply, of those that want one.
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="2.56e-07"} 50
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="5.12e-07"} 197
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="1.024e-06"} 199
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="2.048e-06"} 199
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="1.073741824"} 199
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_READ",le="+Inf"} 200
vfio_userd_request_duration_seconds_sum{instance="dev0",command="REGION_READ"} 0.000061000
vfio_userd_request_duration_seconds_count{instance="dev0",command="REGION_READ"} 200
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="2.56e-07"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="5.12e-07"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="1.024e-06"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="2.048e-06"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="1.073741824"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="REGION_WRITE",le="+Inf"} 0
vfio_userd_request_duration_seconds_sum{instance="dev0",command="REGION_WRITE"} 0.000000000
vfio_userd_request_duration_seconds_count{instance="dev0",command="REGION_WRITE"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="2.56e-07"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="5.12e-07"} 0
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="1.024e-06"} 1
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="2.048e-06"} 2
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="1.073741824"} 2
vfio_userd_request_duration_seconds_bucket{instance="dev0",command="DMA_MAP",le="+Inf"} 2
vfio_userd_request_duration_seconds_sum{instance="dev0",command="DMA_MAP"} 0.000003000
vfio_userd_request_duration_seconds_count{instance="dev0",command="DMA_MAP"} 2
# EOF
EOT

# promtool reads Prometheus's own format; as OpenMetrics too, but then it wants times.
promtool=$(command -v promtool || echo "${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}/promtool")
if [ ! -x "$promtool" ]; then
    echo 'skipped: promtool is not there: see tests/run.sh packages'
else
    if "$VFUCTL" stats --format openmetrics | "$promtool" check metrics > "$dir/out" 2>&1; then
        ok 'promtool check metrics'
    else
        not_ok 'promtool check metrics'
    fi
    "$VFUCTL" stats --format openmetrics | sed '/^#/!s/$/ 1732291387/' > "$dir/openmetrics"
    if "$promtool" tsdb create-blocks-from openmetrics "$dir/openmetrics" "$dir/blocks" \
        > "$dir/out" 2>&1; then
        ok 'promtool reads it as OpenMetrics'
    else
        not_ok 'promtool does not read it as OpenMetrics'
    fi
fi

# Colour: for a terminal that has it, and not with NO_COLOR. script(1) is the terminal.
coloured() {
    local want=$1 name=$2

    shift 2
    env "$@" script -qec "'$VFUCTL' stats" /dev/null < /dev/null > "$dir/out" 2>&1
    if [ "$(grep -c $'\033' "$dir/out")" -gt 0 ]; then
        [ "$want" = yes ] && ok "$name" || not_ok "$name"
    else
        [ "$want" = no ] && ok "$name" || not_ok "$name"
    fi
}
coloured yes 'colour on a terminal' TERM=xterm
coloured yes 'an empty NO_COLOR does not count' TERM=xterm NO_COLOR=
coloured no 'NO_COLOR' TERM=xterm NO_COLOR=1
coloured no 'TERM=dumb' TERM=dumb
coloured no 'no TERM' -u TERM
env TERM=xterm script -qec "'$VFUCTL' stats" /dev/null < /dev/null |
    sed 's/\x1b\[[0-9;]*m//g' | tr -d '\r' > "$dir/have"
"$VFUCTL" stats > "$dir/want"
if grep -q '[^ ] ' "$dir/want" && diff "$dir/want" "$dir/have" > "$dir/out"; then
    ok 'colour changes no column'
else
    not_ok 'colour changes columns'
fi

answers <<< 'GetStats {"parameters":{"since":0,"commands":[],"latency_bounds":[]}}'
"$VFUCTL" stats | tail -n 1 > "$dir/out"
if [ "$(cat "$dir/out")" = 'no requests of a client yet' ]; then
    ok 'stats of nothing'
else
    not_ok 'stats of nothing'
fi

#
# monitor
#
time='"time":1732291387250000000'
event() {
    printf 'Monitor {"parameters":{"event":{%s,"kind":"%s"%s}},"continues":true}\n' "$time" "$1" \
        "${2:-}"
}
{
    event monitoring ",\"client\":null"
    event monitoring ",\"client\":$client"
    event client-attached ",\"client\":${client/1000/null}"
    event client-detached ",\"client\":$client,\"reason\":\"it closed the connection\""
    event client-refused ',"pid":77,"reason":"another client is attached"'
    event interrupt ',"index":"intx","vector":0,"delivered":"eventfd"'
    event interrupt ',"index":"msi","vector":3,"delivered":"pending","reason":"it is masked"'
    event reset ',"by":"operator"'
    event dma-map ',"iova":4294967296,"size":2147483648,"shared":true'
    event dma-map ',"iova":0,"size":655360,"shared":false'
    event dma-unmap ',"iova":4294967296,"size":2147483648'
    event dma-unmap
    event migration ',"phase":"stop-copy"'
    event lost ',"count":1'
    event lost ',"count":20'
    event tomorrow
    echo 'Monitor close'
} > "$dir/events"
answers < "$dir/events"
at='2024-11-22 16:03:07.250'
says 3 'monitor, until the daemon goes' monitor << EOT
$at  monitoring       no client is attached
$at  monitoring       attached: pid 1234, uid 1000, protocol 0.1, profile qemu
$at  client-attached  pid 1234, uid unknown, protocol 0.1, profile qemu
$at  client-detached  pid 1234: it closed the connection; 69481 requests, 1 error
$at  client-refused   pid 77: another client is attached
$at  interrupt        intx delivered by eventfd
$at  interrupt        msi 3 pending: it is masked
$at  reset            by the operator
$at  dma-map          0x100000000, 2 GiB, shared
$at  dma-map          0x0, 640 KiB, by message
$at  dma-unmap        0x100000000, 2 GiB
$at  dma-unmap        all
$at  migration        stop-copy
$at  lost             1 event: this reader was too slow
$at  lost             20 events: this reader was too slow
$at  tomorrow
EOT
sent "$(call Monitor ',"more":true')"
if [ "$(cat "$dir/err")" = "vfuctl: $socket: the daemon has closed the connection" ]; then
    ok 'and says so'
else
    not_ok 'and does not say so'
fi
sed -nE 's/^Monitor \{"parameters":(.*),"continues":true\}$/\1/p' "$dir/events" |
    says 3 'monitor --json' monitor --json
says 3 'monitor -q' monitor -q < /dev/null

# wait_lines N: until $dir/out has so many, at most five seconds.
wait_lines() {
    local i

    for ((i = 0; i < 500; i++)); do
        [ "$(wc -l < "$dir/out")" -ge "$1" ] && return
        sleep 0.01
    done
    not_ok "only $(wc -l < "$dir/out") lines came, not $1"
}

# Each line comes at once, and a signal is no failure. A script's background jobs ignore SIGINT.
event monitoring > "$dir/events"
answers < "$dir/events"
for signal in INT TERM; do
    : > "$dir/out"
    env --default-signal=INT "$VFUCTL" monitor > "$dir/out" 2> "$dir/err" &
    monitor=$!
    wait_lines 1
    kill -"$signal" "$monitor"
    wait "$monitor"
    got=$?
    if [ "$got" -eq 0 ] && [ ! -s "$dir/err" ]; then
        ok "monitor: SIG$signal"
    else
        not_ok "monitor: exit status $got after SIG$signal"
    fi
done
if [ "$(timeout 10 "$VFUCTL" monitor | head -n 1 | wc -l)" = 1 ]; then
    ok 'monitor into a pipe that closes'
else
    not_ok 'monitor into a pipe that closes'
fi
if timeout 10 "$VFUCTL" monitor > /dev/full 2> "$dir/err"; then
    not_ok 'monitor into a full file'
elif grep -q '^vfuctl: standard output: No space left on device$' "$dir/err"; then
    ok 'monitor into a full file'
else
    not_ok 'monitor into a full file'
fi

#
# Errors
#
answers << 'EOT'
Reset {"error":"org.varlink.service.PermissionDenied","parameters":{}}
SetLogLevel {"error":"org.varlink.service.PermissionDenied"}
TriggerIrq {"error":"io.vfiouserd.Device.NoSuchIrq","parameters":{"index":"msi","vector":7}}
Reload {"error":"io.vfiouserd.Device.ReloadRefused","parameters":{"reason":"x.json: bad"}}
Quit {"error":"org.varlink.service.MethodNotFound","parameters":{"method":"Quit"}}
DumpConfig {"parameters":{"config":"xyz"}}
Monitor {"error":"org.varlink.service.PermissionDenied","parameters":{}}
GetStats close
GetStatus bytes HTTP/1.1 400 Bad Request
EOT
complains 1 "vfuctl: permission denied: reset is for root and vfio-userd's own user \
(control.group_may_write is false)" 'PermissionDenied' reset
complains 1 "vfuctl: permission denied: log-level is for root and vfio-userd's own user \
(control.group_may_write is false)" 'PermissionDenied without parameters' log-level err
complains 1 "vfuctl: permission denied: monitor is for root and vfio-userd's own user \
(control.group_may_write is false)" 'PermissionDenied to a monitor' monitor
complains 1 'vfuctl: NoSuchIrq index=msi vector=7' 'NoSuchIrq' trigger-irq --json --index msi
complains 1 'vfuctl: ReloadRefused reason=x.json: bad' 'ReloadRefused' reload
complains 1 'vfuctl: MethodNotFound method=Quit: is the daemon older than vfuctl?' \
    'MethodNotFound' quit
complains 1 "vfuctl: the daemon's reply is not a configuration space" 'no configuration space' \
    dump-config
complains 3 "vfuctl: $socket: the daemon closed the connection without a reply: did it start? \
see: systemctl status vfio-userd@dev0" 'closed without a reply' stats
complains 3 "vfuctl: $socket: the answer is not Varlink: is this a control socket?" 'no Varlink' \
    status
ln "$socket" "$dir/other.sock"
complains 3 "vfuctl: $dir/other.sock: the connection was closed without a reply: is this a control \
socket?" 'closed, at another place' -S "$dir/other.sock" stats
answers <<< 'accept close'
complains 3 "vfuctl: $socket: the daemon closed the connection without a reply: did it start? \
see: systemctl status vfio-userd@dev0" 'closed at once' -d dev0 stats
answers <<< 'GetStatus bytes {"parameters":'
complains 3 "vfuctl: $socket: the answer is not Varlink: is this a control socket?" \
    'half a message' status
answers < /dev/null
complains 3 "vfuctl: $socket: the daemon does not reply: did it start? \
see: systemctl status vfio-userd@dev0" 'no reply' status

#
# Instances
#
mkdir "$run_dir/dev10" "$run_dir/dev2" "$run_dir/none"
"$FAKE_VARLINK" "$run_dir/dev2/control.sock" "$dir/script" &
other=$!
until [ -S "$run_dir/dev2/control.sock" ]; do sleep 0.01; done
ln "$run_dir/dev2/control.sock" "$run_dir/dev10/control.sock"
complains 2 'vfuctl: 2 instances run: say which with -d NAME: dev0 dev2' 'those that run, sorted' \
    status
kill "$other"
wait "$other" 2> /dev/null
answers <<< 'Reset {"parameters":{}}'
says 0 'the only one that runs, of three' reset <<< 'the device is reset'
stop_fake
complains 2 'vfuctl: 3 instances run: say which with -d NAME: dev0 dev2 dev10' \
    'where it cannot be told, all' status
complains 3 "vfuctl: $run_dir/dev2/control.sock: nobody serves this socket: does the daemon run?" \
    'one that does not run' -d dev2 status
complains 3 "vfuctl: $run_dir/none/control.sock: there is no such socket: does the daemon run?" \
    'one that is none' -d none status
complains 3 "vfuctl: $dir/script: this is no socket" 'a file' -S "$dir/script" status
long=$(printf 'x%.0s' {1..5000})
complains 3 "vfuctl: ${long:0:40}...: File name too long" 'a long name' -d "$long" status
VFIO_USERD_RUN_DIR=$dir/nowhere
complains 2 "vfuctl: no instance runs under $dir/nowhere: say which with -d NAME or -S PATH" \
    'no run directory' status
VFIO_USERD_RUN_DIR=$dir/script
complains 3 "vfuctl: $dir/script: Not a directory: say which instance with -d NAME or -S PATH" \
    'a run directory that is none' status

finish

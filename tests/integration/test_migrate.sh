#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# vfuctl migrate between instances: what it prints, for people, on a terminal and as JSON, and its
# exit status. Needs VFIO_USERD and VFUCTL.
set -u

. "$(dirname "$0")/lib.sh"

export VFIO_USERD_RUN_DIR=$dir/run VFIO_USERD_CONFIG_DIR=$dir/etc
daemons=()
mkdir "$dir/run" "$dir/etc"
echo '{"bar1": {"size": "12K"}}' > "$dir/etc/other.json"

stop_all() {
    # shellcheck disable=SC2086
    kill "${daemons[@]}" 2> /dev/null
    wait
    cleanup
}
trap stop_all EXIT

# start NAME: an instance, until it answers. Its pid is the last of daemons.
start() {
    local i

    "$VFIO_USERD" --instance "$1" 2>> "$dir/log" < /dev/null &
    daemons+=($!)
    for ((i = 0; i < 500; i++)); do
        "$VFUCTL" -d "$1" -q status 2> /dev/null && return
        sleep 0.02
    done
    echo "not ok: $1 did not start"
    exit 1
}

# replace: what differs from one run to another.
replace() {
    sed -E 's/[0-9.]+ (B|KiB)/SIZE/g; s/blackout [0-9]+ us/blackout TIME/; s/[0-9]+ fds?/FDS/
        s/"(bytes|remaining|blackout|fds)":[0-9]+/"\1":N/g'
}

# says STATUS NAME COMMAND...: exit status, and standard output and error, which standard input has.
says() {
    local want=$1 name=$2 got

    shift 2
    cat > "$dir/want"
    "$@" > "$dir/have" 2>&1
    got=$?
    if [ "$got" -ne "$want" ]; then
        not_ok "$name: exit status $got, not $want: $(cat "$dir/have")"
    elif ! diff "$dir/want" <(replace < "$dir/have") > "$dir/out"; then
        not_ok "$name: not as wanted (<)"
    else
        ok "$name"
    fi
    rm -f "$dir/out"
}

start dev0
start dev1
start other

says 0 'lines' "$VFUCTL" -d dev0 migrate --to dev1 --keep << 'EOT'
offer    SIZE sent
freeze   SIZE sent
state    SIZE sent, SIZE to go
ready    SIZE sent
commit   SIZE sent
migrated to dev1: FDS, SIZE of state, blackout TIME
EOT
says 0 'JSON' "$VFUCTL" -d dev1 --json migrate --to "$dir/run/dev0/control.sock" --keep << 'EOT'
{"phase":"offer","bytes":N,"remaining":N}
{"phase":"freeze","bytes":N,"remaining":N}
{"phase":"state","bytes":N,"remaining":N}
{"phase":"ready","bytes":N,"remaining":N}
{"phase":"commit","bytes":N,"remaining":N}
{"phase":"running","bytes":N,"remaining":N,"fds":N,"blackout":N}
EOT
says 0 'nothing' "$VFUCTL" -d dev0 -q migrate --to dev1 --keep --timeout 2.5 < /dev/null

# On a terminal each line overwrites the one before, and the last one stays.
if command -v script > /dev/null; then
    script -qec "$VFUCTL -d dev1 migrate --to dev0 --keep" "$dir/typed" > /dev/null < /dev/null
    if [ "$(tr -d '\r' < "$dir/typed" | grep -c 'sent')" -eq 1 ] &&
        grep -q $'\033\\[Kmigrated to dev0: ' "$dir/typed"; then
        ok 'one line on a terminal'
    else
        not_ok "a terminal: $(cat -v "$dir/typed")"
    fi
else
    "$VFUCTL" -d dev1 -q migrate --to dev0 --keep
    echo 'skipped: there is no script(1)'
fi

says 1 'another device' "$VFUCTL" -d dev0 -q migrate --to other << 'EOT'
vfuctl: Incompatible field=bar1.size ours=16384 theirs=12288
EOT
says 1 'to itself' "$VFUCTL" -d dev0 -q migrate --to dev0 << 'EOT'
vfuctl: Busy reason=the destination: it moves its own device, or is the source itself
EOT
says 3 'to nobody' "$VFUCTL" -d dev0 migrate --to dev7 << EOT
vfuctl: $dir/run/dev7/control.sock: there is no such socket: does the daemon run?
EOT
says 2 'without a destination' "$VFUCTL" -d dev0 migrate << 'EOT'
vfuctl: migrate: --to is needed: the destination
Try 'vfuctl migrate --help'.
EOT
for timeout in 0 -1 x 1s 3601 ''; do
    says 2 "--timeout '$timeout'" "$VFUCTL" -d dev0 migrate --to dev1 --timeout "$timeout" << EOT
vfuctl: migrate: --timeout takes seconds, 0.001 to 3600, not $timeout
Try 'vfuctl migrate --help'.
EOT
done

# The source's end, and what it says of itself when it stays.
"$VFUCTL" -d dev0 status | grep -q '^migration' && not_ok 'dev0 has a row of migration'
"$VFUCTL" -d dev0 -q migrate --to dev1 --keep
if "$VFUCTL" -d dev0 status | grep -q '^migration    migrated to dev1$'; then
    ok 'status of one that has stayed'
else
    not_ok "status: $("$VFUCTL" -d dev0 status)"
fi
"$VFUCTL" -d dev1 -q migrate --to dev0
wait "${daemons[1]}"
status=$?
if [ "$status" -eq 0 ] && grep -q 'daemon: stopping: migrated to dev0' "$dir/log"; then
    ok 'the source ends with 0'
else
    not_ok "the source ended with $status"
fi
finish

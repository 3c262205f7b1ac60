# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of lib.sh and container.sh, and for the tests
# Deaths of the daemon, after container.sh: the client that keeps the device busy meanwhile, and who
# kills. Its standard error is in load.log.

daemon_now= # process id, as this machine has it
procs_file= # of the instance's cgroup
load_said=  # what the load said last
load_median_us=

# For pauses in this very process: nobody ever writes there.
exec {never}<> <(:)

# pause MILLISECONDS
pause() {
    local nothing seconds

    printf -v seconds '0.%03d' "$1"
    read -r -t "$seconds" -u "$never" nothing || true
}

install_load() {
    local program

    for program in keep-load vfio-userd-fault; do
        install -m 755 "$(find_program "tests/e2e/$program")" "$(container_path /opt/vfut)"
    done
}

# keep_drop_in NAME [LINE...]: an instance that may die as often as it likes, and more lines of its
# section [Service].
keep_drop_in() {
    local instance=$1

    shift
    printf '%s\n' '[Unit]' StartLimitIntervalSec=0 '[Service]' "$@" |
        drop_in "vfio-userd@$instance.service"
}

# What makes an instance's daemon vfio-userd-fault.
fault_lines=(ExecStart= "ExecStart=/opt/vfut/vfio-userd-fault --instance %i" ExecPaths=/opt/vfut)

# The cgroup is gone for a moment while the service has no process, and what is in it first is the
# service manager's, which makes the sandbox.
other_daemon() {
    local pid name

    { read -r pid <"$procs_file" && read -r name <"/proc/$pid/comm"; } 2>/dev/null || return 1
    [ "$pid" != "$daemon_now" ] && [[ $name == vfio-userd* ]] && daemon_now=$pid
}

# find_daemon: sets daemon_now to the process that follows the one that it was.
find_daemon() {
    local limit=$((SECONDS + 20))

    until other_daemon; do
        [ "$SECONDS" -lt "$limit" ] || fail "no process follows $daemon_now within 20 s"
        pause 2
    done
}

# watch_instance NAME: the one that all this is for; it runs, and daemon_now is its process.
watch_instance() {
    procs_file=$(find "${cgroups[@]}" -path "*/vfio-userd@$1.service/cgroup.procs" | head -n 1)
    [ -n "$procs_file" ] || fail "instance $1 has no cgroup"
    daemon_now=
    find_daemon
}

# kill_daemons COUNT SIGNAL MIN_MS MAX_MS: at random instants, so long after the program has begun.
kill_daemons() {
    local count=$1 signal=$2 min=$3 max=$4 i

    for ((i = 0; i < count; i++)); do
        pause $((min + RANDOM % (max - min)))
        kill -"$signal" "$daemon_now" || fail "process $daemon_now is gone by itself"
        find_daemon
    done
}

# restart_instance NAME COUNT
restart_instance() {
    # shellcheck disable=SC2016 # for the inner shell
    inside sh -ec 'for i in $(seq "$2"); do
            systemctl restart "vfio-userd@$1"; systemctl try-restart "vfio-userd@$1"; done' \
        sh "$1" $(($2 / 2)) || fail "systemctl restart"
}

# begin_load NAME [OPTION...]: see load/main.c.
begin_load() {
    local out in socket=/run/vfio-userd/$1/device.sock

    shift
    coproc LOAD { as member /opt/vfut/keep-load "$socket" "$@" 2>>"$work/load.log"; }
    load_pid=$!
    out=${LOAD[0]} in=${LOAD[1]}
    exec {from_load}<&"$out" {to_load}>&"$in" {out}<&- {in}>&-
    hear_load 20
    expect "the load" attached "$load_said"
}

hear_load() {
    load_said=
    read -r -t "$1" -u "$from_load" load_said || fail "the load says nothing, see load.log"
}

# end_load WHAT MISTAKES: tells the load to end and looks at what it found: no errors, and of
# operations that were lost or repeated that many at most.
end_load() {
    exec {to_load}>&-
    judge_load "$1" "$2" 30
}

# judge_load WHAT MISTAKES SECONDS: the same of a load that ends by itself.
judge_load() {
    local lost repeated errors

    hear_load "$3"
    wait "$load_pid" || fail "the load ends with status $?: $load_said"
    exec {from_load}<&-
    note "$1: $load_said"
    load_median_us=$(sed -n 's/.* median \([0-9]*\) us,.*/\1/p' <<<"$load_said")
    read -r lost repeated errors < <(sed -n \
        's/.* \([0-9]*\) lost, \([0-9]*\) repeated, \([0-9]*\) errors;.*/\1 \2 \3/p' \
        <<<"$load_said")
    if [ "$errors" != 0 ] || [ $((lost + repeated)) -gt "$2" ]; then
        fail "$1: $load_said"
    fi
}

# expect_restarts NAME COUNT: since it was started, or restarted by hand.
expect_restarts() {
    wait_property 10 "vfio-userd@$1" ActiveState active
    expect "restarts of $1" "$2" "$(property "vfio-userd@$1" NRestarts)"
}

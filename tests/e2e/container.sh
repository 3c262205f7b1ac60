# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of lib.sh
# A machine with a real systemd, after lib.sh: a container without a network, into which the product
# is installed as "make install" does. Its journal is in journal.log.
#
# Two users: "member" is in the group vfio-userd, "outsider" is not. /opt/vfut has vfu-client and the
# tests' own programs.

container_pid=     # of its systemd
cgroups=()
bin_dir=           # of the product
config_dir=
client_line=       # what the attached client said last

# The cgroups of a container that is started from here: one in the version 2 hierarchy, and one in
# systemd's of version 1 where there is that.
container_cgroups() {
    local controllers path top

    while IFS=: read -r _ controllers path; do
        case $controllers in
        '') top=/sys/fs/cgroup/unified ;;
        name=systemd) top=/sys/fs/cgroup/systemd ;;
        *) continue ;;
        esac
        [ -d "$top" ] || top=/sys/fs/cgroup
        echo "$top${path%/}/${work##*/}"
    done </proc/self/cgroup
}

# They are empty, and can go, when the last process has gone.
cgroups_are_gone() {
    find "$@" -depth -type d -exec rmdir {} + 2>/dev/null
    [ -z "$(find "$@" -maxdepth 0 2>/dev/null)" ]
}

remove_cgroups() {
    wait_until 10 cgroups_are_gone "$@" || echo "the container does not end" >&2
}

children() {
    tr ' ' '\n' <"/proc/$1/task/$1/children"
}

# The only process that is number 1 of its namespace and whose parent is systemd-nspawn, which is
# number 1 of the namespace around.
find_container() {
    local unshare=$1 nspawn child

    nspawn=$(children "$unshare")
    for child in $(children "$nspawn"); do
        if grep -q '^NSpid:.*[[:space:]]1$' "/proc/$child/status" &&
            [ "$(cat "/proc/$child/comm")" = systemd ]; then
            container_pid=$child
            return
        fi
    done
    return 1
}

container_is_up() {
    is_running "$nspawn_pid" || fail "the container ended instead of getting up"
    [ -n "$container_pid" ] || find_container "$nspawn_pid" 2>/dev/null || return 1
    [ "$(inside systemctl is-system-running 2>/dev/null)" = running ]
}

save_logs() {
    [ -n "$container_pid" ] || return
    inside timeout 5 journalctl --sync
    inside timeout 5 journalctl -o short-precise >"$work/journal.log"
}

# boot_container: set_up, a container that is up, and the product in it.
boot_container() {
    set_up
    ! is_sanitized || skip "the sandbox has no room for sanitizers"
    require_commands make nsenter systemd-nspawn
    mapfile -t cgroups < <(container_cgroups)
    mkdir -p "$work/container" "${cgroups[@]}"
    on_exit remove_cgroups "${cgroups[@]}"
    start unshare --mount --pid --fork --kill-child --mount-proc -- \
        "$e2e_dir/boot-root.sh" "$cache/root" "$work" "$cache/kernel" "${cgroups[@]}" \
        </dev/null >"$work/container.log" 2>&1
    nspawn_pid=$started_pid
    wait_until 30 container_is_up || fail "the container is not up within 30 s"
    install_product
}

require_commands() {
    local command

    for command in "$@"; do
        command -v "$command" >/dev/null || fail "there is no $command: see tests/run.sh packages"
    done
}

# inside COMMAND...: as root in the container.
inside() {
    nsenter -t "$container_pid" -a -- env -i LC_ALL=C.UTF-8 HOME=/root SYSTEMD_COLORS=0 \
        SYSTEMD_PAGER= PATH="$bin_dir:/usr/sbin:/usr/bin" "$@"
}

# as USER COMMAND...: as that user in the container.
as() {
    local user=$1

    shift
    inside setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"
}

# container_path PATH: how this machine reaches a path of the container.
container_path() {
    echo "/proc/$container_pid/root$1"
}

# As a package would do it.
install_product() {
    local builddir program

    builddir=$(dirname -- "$(realpath -- "$VFIO_USERD")")
    bin_dir=$(sed -n 's|^ExecStart=\(.*\)/vfio-userd .*|\1|p' \
        "$builddir/units/vfio-userd@.service")
    config_dir=$(sed -n 's|^d \([^ ]*\) .*|\1|p' \
        "$builddir/units/tmpfiles.d/vfio-userd.conf" | tail -n 1)
    env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$builddir" install \
        DESTDIR="$(container_path /)" >"$work/install.log" 2>&1 || fail "make install"
    inside systemctl cat vfio-userd@.service >/dev/null ||
        fail "this build installs no units: see configure --help"
    inside systemd-sysusers vfio-userd.conf 2>>"$work/install.log"
    inside systemd-tmpfiles --create vfio-userd.conf
    inside journalctl -q --update-catalog
    inside systemctl daemon-reload
    inside useradd --groups vfio-userd member
    inside useradd outsider
    mkdir "$(container_path /opt/vfut)"
    for program in vfu-client tests/e2e/attach; do
        install -m 755 "$(find_program "$program")" "$(container_path /opt/vfut)"
    done
}

# describe NAME: the description of that instance is what stands on the standard input. Like an editor
# it replaces the file.
describe() {
    local file

    file=$(container_path "$config_dir/$1.json")
    cat >"$file.new"
    mv -- "$file.new" "$file"
}

# drop_in UNIT: adds what stands on the standard input to it.
drop_in() {
    local folder

    folder=$(container_path "/etc/systemd/system/$1.d")
    mkdir -p "$folder"
    cat >"$folder/vfut.conf"
    inside systemctl daemon-reload
}

# start_instances NAME...
start_instances() {
    inside systemctl start "${@/#/vfio-userd@}" || fail "systemctl start: $*"
}

# property UNIT NAME: a property of a unit.
property() {
    inside systemctl show -P "$2" "$1"
}

property_is() {
    [ "$(property "$1" "$2")" = "$3" ]
}

# wait_property SECONDS UNIT NAME VALUE
wait_property() {
    wait_until "$1" property_is "$2" "$3" "$4" ||
        fail "$2: $3 is not '$4' within $1 s, but '$(property "$2" "$3")'"
}

# main_pid UNIT: the process id as the container has it.
main_pid() {
    property "$1" MainPID
}

# signal NAME PID: to a process of the container, by its id there.
signal() {
    # shellcheck disable=SC2016 # for the inner shell
    inside sh -c 'kill -"$1" "$2"' sh "$@"
}

# pid_here UNIT: the process id as this machine has it, of a service of one process.
pid_here() {
    find "${cgroups[@]}" -path "*/$1/cgroup.procs" -exec cat {} + | sort -u
}

# status_of NAME [OPTION...]: what vfuctl says of an instance.
status_of() {
    inside vfuctl -d "$@" status
}

# attach NAME [USER]: a client that is the instance's and does what tell says; see attach.c.
attach() {
    local out in

    coproc CLIENT { as "${2:-member}" /opt/vfut/attach "/run/vfio-userd/$1/device.sock" 2>&1; }
    client_pid=$!
    # Bash closes a coprocess's own when that ends, which may be before all is read.
    out=${CLIENT[0]} in=${CLIENT[1]}
    exec {from_client}<&"$out" {to_client}>&"$in" {out}<&- {in}>&-
    hear 'attached *'
}

# hear PATTERN: what the client says next.
hear() {
    client_line=
    read -r -t 10 -u "$from_client" client_line || fail "the client does not say '$1'"
    # shellcheck disable=SC2053 # a pattern it is
    [[ $client_line == $1 ]] || fail "the client says '$client_line', not '$1'"
}

# tell LINE PATTERN: has the client do something and hears what it says.
tell() {
    echo "$1" >&"$to_client"
    hear "$2"
}

detach() {
    exec {from_client}<&- {to_client}>&-
    wait "$client_pid" || fail "the client does not end well"
}

# journal ARGUMENT...: messages only, each on its line.
journal() {
    inside journalctl --quiet --sync
    inside journalctl --quiet -o cat "$@"
}

# expect WHAT EXPECTED GOT
expect() {
    [ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

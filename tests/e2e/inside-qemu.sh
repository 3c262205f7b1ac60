# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # variables of lib.sh, and for qemu.sh
# After qemu.sh and container.sh: QEMU as a member of the group, in the same system as the service
# that serves instance dev0.

qemu_socket=/run/vfio-userd/dev0/device.sock

start_qemu() {
    local log

    # It may write to its own files of ours, and to no others.
    chmod 711 "$work"
    for log in guest guest-dmesg; do
        inside install -o member -m 600 /dev/null "/mnt/$log.log"
    done
    start nsenter -t "$container_pid" -a -- setpriv --reuid=member --regid=member --init-groups -- \
        qemu-system-x86_64 "$@"
    qemu_pid=$started_pid
}

vfuctl() {
    as member vfuctl -d dev0 "$@"
}

# check_bar1 SIZE: as check_bar1_mapped, through nsenter and the container: both processes as this
# machine has them.
check_bar1() {
    local nsenter_pid=$qemu_pid

    daemon_pid=$(pid_here vfio-userd@dev0.service)
    qemu_pid=$(children "$nsenter_pid")
    check_bar1_mapped "$1"
    qemu_pid=$nsenter_pid
}

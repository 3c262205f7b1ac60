# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# shellcheck disable=SC2154 # variables of lib.sh
# The QEMU guest of the tests, after lib.sh: a virtual machine whose only devices of interest are
# the daemon's and two serial ports. The first is the console with the checks ($guest.log), the
# second takes the kernel's whole log ($guest-dmesg.log).

qemu_pid=

# Where QEMU finds the daemon.
qemu_socket=/mnt/device.sock

# Lines that QEMU may print. Each needs a reason here.
qemu_tolerated=()

# Kernel messages that may stand in the guest's log although they look like ours. As above.
dmesg_tolerated=()

# An initramfs that run.sh made for all tests, or one of our own.
guest_initramfs() {
    if [ -n "${VFIO_USERD_TEST_INITRAMFS-}" ]; then
        cp -- "$VFIO_USERD_TEST_INITRAMFS" "$work/initramfs"
    else
        "$e2e_dir/guest/make-initramfs.sh" "$cache/kernel" "$work/initramfs"
    fi
}

# start_qemu ARGUMENT...: where it finds $work as /mnt and the kernel in /srv.
start_qemu() {
    start unshare --mount -- "$e2e_dir/enter-root.sh" "$cache/root" "$work" "$cache/kernel" \
        qemu-system-x86_64 "$@"
    qemu_pid=$started_pid
}

# start_guest NAME shared|unshared [--reboots] [--iommu] [vfut.ARGUMENT=VALUE...]: the arguments go
# to the guest's test program. Memory that is not shared can be reached by the device through
# messages only. With --reboots a reboot of the guest is one; else QEMU ends then. With --iommu
# the machine has one, which the guest uses: what its VFIO needs.
start_guest() {
    local guest=$1 memory=$2 reboots=(-no-reboot) iommu=() words='' machine
    local device='{"driver":"vfio-user-pci","addr":"04.0",
        "socket":{"path":"'"$qemu_socket"'","type":"unix"}}'

    shift 2
    if [ "${1-}" = --reboots ]; then
        reboots=()
        shift
    fi
    # It must know of maps before the device does (caching-mode), and stand before the device.
    if [ "${1-}" = --iommu ]; then
        iommu=(-device "intel-iommu,intremap=on,caching-mode=on")
        words=intel_iommu=on
        shift
    fi
    case $memory in
    shared)
        machine=(-object "memory-backend-memfd,id=mem,size=256M,share=on"
            -machine "q35,memory-backend=mem")
        ;;
    unshared) machine=(-machine q35) ;;
    *) fail "start_guest: $memory" ;;
    esac
    [ -e "$work/initramfs" ] || guest_initramfs
    # Never KVM: nested, it hangs on many machines of the kind that CI has. no_timer_check: on a
    # busy host the kernel may find the emulated PIT too slow, and complain or give up.
    start_qemu \
        -accel tcg -cpu max -m 256 "${machine[@]}" "${reboots[@]}" \
        -nodefaults -display none -net none \
        -serial "file:/mnt/$guest.log" -serial "file:/mnt/$guest-dmesg.log" \
        -kernel /srv/vmlinuz -initrd /mnt/initramfs \
        -append "console=ttyS0 panic=-1 quiet no_timer_check $words $*" \
        "${iommu[@]}" -device "$device" \
        >"$work/$guest-qemu.log" 2>&1
}

guest_says() {
    grep -q -- "$2" "$work/$1.log" 2>/dev/null
}

guest_says_or_gone() {
    guest_says "$1" "$2" || ! is_running "$qemu_pid"
}

# Limits here only name what is late before run.sh's own strikes: a machine may be busy.
#
# wait_guest_says NAME SECONDS PATTERN: until the pattern stands on the guest's console.
wait_guest_says() {
    wait_until "$2" guest_says_or_gone "$1" "$3" || fail "$1 does not say '$3' within $2 s"
    guest_says "$1" "$3" || fail "$1 ended without saying '$3'"
}

guest_is_over() {
    local times

    if guest_says "$1" "Kernel panic"; then
        fail "$1: the guest's kernel panicked"
    fi
    times=$(grep -c "^guest: rebooting" "$work/$1.log" 2>/dev/null || true)
    [ "${times:-0}" -le 1 ] || fail "$1 reboots again and again"
    has_ended "$qemu_pid"
}

# wait_guest NAME SECONDS: until the guest has switched itself off.
wait_guest() {
    local status=0

    wait_until "$2" guest_is_over "$1" || fail "$1 is not over within $2 s"
    wait "$qemu_pid" || status=$?
    qemu_pid=
    [ "$status" = 0 ] || fail "QEMU ended with status $status"
}

# check_guest NAME CHECK...: these checks, and no others, passed once each in the guest, and the
# totals agree; neither QEMU nor the guest's kernel has anything to say of the device.
check_guest() {
    local guest=$1 console

    shift
    console=$(tr -d '\r' <"$work/$guest.log")
    complain_about "$(grep '^not ok ' <<<"$console")" "$guest: checks failed"
    diff -u --label expected --label passed <(printf '%s\n' "$@" | sort) \
        <(sed -n 's/^ok \([a-z0-9-]*\): .*/\1/p' <<<"$console" | sort) ||
        fail "$guest: other checks passed than expected"
    awk -v want=$# '/^guest-test: / { checks += $2; ok += $4; bad += $6 }
        END { exit !(checks == want && ok == want && bad == 0) }' <<<"$console" ||
        fail "$guest: the totals are not $# checks, $# ok: $(grep '^guest-test: ' <<<"$console")"
    check_qemu_log "$guest"
    check_dmesg "$guest"
}

check_qemu_log() {
    complain_about "$(without "${qemu_tolerated[@]}" <"$work/$1-qemu.log")" \
        "$1: QEMU said what is not in the list of tolerated messages"
}

# Levels 0 to 4 are emergency to warning.
check_dmesg() {
    local log=$work/$1-dmesg.log warnings
    local ours='[Vv][Ff][Ii][Oo]|0000:00:04\.0|uio|nobody cared|IRQ #|Call Trace|BUG:'

    grep -q 'Linux version' "$log" || fail "$1: the kernel's log is not there"
    warnings=$(without "${dmesg_tolerated[@]}" <"$log" | grep -E '^<[0-4]>' || true)
    complain_about "$(grep -E "$ours" <<<"$warnings")" "$1: the guest's kernel complains"
}

# check_bar1_mapped SIZE: the running QEMU has the daemon's BAR1 mapped, the very file; it is the
# one memfd of that size.
check_bar1_mapped() {
    local size=$1 fd

    for fd in "/proc/$daemon_pid/fd/"*; do
        if [[ $(readlink "$fd") == /memfd:* ]] && [ "$(stat -L -c %s "$fd")" = "$size" ] &&
            grep -q " $(stat -L -c %i "$fd") */memfd:" "/proc/$qemu_pid/maps"; then
            return
        fi
    done
    fail "QEMU has no mapping of a BAR1 of $size bytes"
}

# keep_status: asks the daemon for its status, while the guest is there, for check_status later.
keep_status() {
    vfuctl --json status >"$work/status.log" || fail "vfuctl --json status"
}

# status_number NAME: the first number of that name in the status that was kept.
status_number() {
    grep -oE "\"$1\": ?[0-9]+" "$work/status.log" | head -n 1 | grep -oE '[0-9]+$' ||
        fail "no number $1 in the daemon's status"
}

# check_status shared|unshared: which way the device reached the guest's memory, by the daemon's log
# and by the status that was kept, and that it refused nothing that QEMU asked for.
check_status() {
    local words='guest memory is not shared' warnings direct message errors

    warnings=$(grep -c "$words" "$work/daemon.log" || true)
    direct=$(status_number bytes_direct)
    message=$(status_number bytes_message)
    errors=$(status_number errors)
    [ "$errors" = 0 ] || fail "the daemon refused $errors requests of QEMU"
    case $1 in
    shared)
        [ "$warnings" = 0 ] || fail "the daemon says of shared memory: $words"
        [ "$direct" -gt 0 ] || fail "no DMA went directly to shared memory"
        [ "$message" = 0 ] || fail "$message bytes went by message to shared memory"
        ;;
    unshared)
        [ "$warnings" = 1 ] || fail "the daemon says $warnings times, not once: $words"
        [ "$direct" = 0 ] || fail "$direct bytes went directly to memory that is not shared"
        [ "$message" -gt 0 ] || fail "no DMA went by message"
        ;;
    esac
}

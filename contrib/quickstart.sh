#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# From a clone to a device that works, in about a minute, on Debian 12 or a later one:
#
#   contrib/quickstart.sh
#
# Installs what the build needs (with apt, only what is missing), builds in build-quickstart/, starts
# the daemon, drives its device with vfu-client, looks at it with lspci and vfuctl, and stops it.
# Nothing is installed but Debian's packages, and no process is left behind. To install it for use,
# configure with --prefix=/usr: see "Building" and "As a service" in README.md.
set -euo pipefail

packages=(build-essential autoconf automake pkg-config libuv1-dev libjson-c-dev zlib1g-dev
    libdeflate-dev libsystemd-dev libbsd-dev linux-libc-dev pciutils)
source_dir=$(cd "$(dirname "$0")/.." && pwd)
build_dir=$source_dir/build-quickstart
build_log=$build_dir/quickstart.log
work_dir=
daemon=

say() {
    printf '\n==> %s\n' "$*"
}

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

clean_up() {
    local status=$?

    trap - EXIT
    if [ -n "$daemon" ] && kill -0 "$daemon" 2>/dev/null; then
        kill -KILL "$daemon" || true
        wait "$daemon" 2>/dev/null || true
    fi
    if [ -n "$work_dir" ]; then
        if [ "$status" -ne 0 ] && [ -s "$work_dir/daemon.log" ]; then
            printf '\nThe daemon said:\n' >&2
            cat "$work_dir/daemon.log" >&2
        fi
        rm -rf "$work_dir"
    fi
    if [ "$status" -ne 0 ]; then
        printf '\nquickstart: FAILED\n' >&2
    fi
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

is_installed() {
    [[ $(dpkg -s "$1" 2>/dev/null) == *'Status: install ok installed'* ]]
}

install_packages() {
    local missing=() as_root=() package

    say "Packages that the build needs"
    if ! command -v dpkg >/dev/null; then
        echo "This is no Debian: the equivalents of these must be there: ${packages[*]}"
        return
    fi
    for package in "${packages[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "All are installed: ${packages[*]}"
        return
    fi
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null ||
            fail "not root and without sudo: as root, run: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    echo "Installing with apt: ${missing[*]}"
    "${as_root[@]}" apt-get -qq update || fail "apt-get update failed"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${missing[@]}" >"$work_dir/apt.log" 2>&1 ||
        { tail -n 40 "$work_dir/apt.log" >&2; fail "apt-get install failed"; }
}

# autogen.sh writes into the source tree, what git ignores; make repeats it when that gets too old.
configure_and_make() {
    cd "$source_dir"
    [ -x configure ] || ./autogen.sh
    cd "$build_dir"
    [ -f config.status ] || "$source_dir/configure"
    make -j"$(nproc)"
}

build() {
    say "Building in ${build_dir#"$PWD/"}/ (the log is quickstart.log there)"
    mkdir -p "$build_dir"
    # A process of its own: in a condition, bash would go on after a command that failed.
    export -f configure_and_make
    export source_dir build_dir
    if ! bash -e -c configure_and_make >"$build_log" 2>&1; then
        tail -n 60 "$build_log" >&2
        fail "the build failed; all of its output is in $build_log"
    fi
    echo "Built:"
    "$build_dir/vfio-userd" --version
}

start_daemon() {
    local i

    say "Starting vfio-userd with the default device, in $work_dir"
    "$build_dir/vfio-userd" --socket-path "$work_dir/vfio-user.sock" \
        --control-path "$work_dir/control.sock" 2>"$work_dir/daemon.log" &
    daemon=$!
    for ((i = 0; i < 100; i++)); do
        if [ -S "$work_dir/vfio-user.sock" ] && [ -S "$work_dir/control.sock" ]; then
            echo "Process $daemon listens: vfio-user.sock for a virtual machine, control.sock for vfuctl."
            return
        fi
        kill -0 "$daemon" 2>/dev/null || fail "the daemon ended at once"
        sleep 0.05
    done
    fail "the daemon made no sockets within 5 s"
}

drive() {
    say "vfu-client walks through the device, as a virtual machine's monitor would use it"
    "$build_dir/vfu-client" --socket-path "$work_dir/vfio-user.sock" ||
        fail "vfu-client saw something unexpected"
}

ctl() {
    "$build_dir/vfuctl" --socket "$work_dir/control.sock" "$@"
}

# Where the running kernel's modules are not there, in a container for one, lspci says that it
# cannot name the driver: there is none to name.
look() {
    local status=0

    say "The configuration space, decoded: vfuctl dump-config | lspci -vv -F /dev/stdin"
    ctl dump-config | PATH=$PATH:/usr/sbin:/sbin lspci -vv -F /dev/stdin 2>"$work_dir/lspci.err" ||
        status=$?
    grep -v 'libkmod resources' "$work_dir/lspci.err" >&2 || true
    [ "$status" -eq 0 ] || fail "dump-config or lspci failed"
}

interrupt() {
    say "An interrupt, raised by hand: vfuctl trigger-irq"
    echo "No virtual machine is attached, so it stays pending until one is:"
    ctl trigger-irq || fail "vfuctl trigger-irq failed"
    say "What the daemon knows: vfuctl status"
    ctl status || fail "vfuctl status failed"
}

stop_daemon() {
    local status=0 i

    say "Stopping the daemon with SIGTERM"
    kill -TERM "$daemon" || fail "the daemon is gone already"
    for ((i = 0; i < 100; i++)); do
        kill -0 "$daemon" 2>/dev/null || break
        sleep 0.05
    done
    ! kill -0 "$daemon" 2>/dev/null || fail "the daemon did not end within 5 s"
    wait "$daemon" || status=$?
    daemon=
    [ "$status" -eq 0 ] || fail "the daemon ended with status $status, not 0"
    [ ! -e "$work_dir/vfio-user.sock" ] || fail "the daemon left its socket behind"
    echo "It ended with status 0 and removed its sockets. Its log:"
    cat "$work_dir/daemon.log"
}

work_dir=$(mktemp -d)
install_packages
build
start_daemon
drive
look
interrupt
stop_daemon
say "Done in $SECONDS s. The programs are in $build_dir: vfio-userd, vfuctl and vfu-client."
echo "To install them, with the systemd units: there, ../configure --prefix=/usr && make install"

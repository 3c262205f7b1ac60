#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Builds what the end-to-end tests run on and keeps it in a cache folder outside the tree, default
# /var/cache/vfio-userd-tests (VFIO_USERD_TEST_CACHE):
#
#   root/    Debian 13 with QEMU from its backports, whose vfio-user-pci the tests need, and with
#            systemd and the libraries of our programs
#   kernel/  the guest's kernel and its uio and vfio modules, from this machine's own distribution
#
# Each is made under another name and renamed when complete. Its file "recipe" is the text of the
# function that made it: with the function changed, it is made anew. Needs root and, when there is
# something to make, the network.
set -euo pipefail

cache=${VFIO_USERD_TEST_CACHE:-/var/cache/vfio-userd-tests}
recipe_file=etc/vfio-userd-tests.recipe

export DEBIAN_FRONTEND=noninteractive LC_ALL=C

# The backports come from wherever debootstrap found the rest.
make_root() {
    local root=$1 mirror

    debootstrap --variant=minbase trixie "$root"
    mirror=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
    echo "deb $mirror trixie-backports main" >"$root/etc/apt/sources.list.d/backports.list"
    mount -t proc proc "$root/proc"
    chroot "$root" apt-get -q update
    chroot "$root" apt-get -q -y -o Dpkg::Use-Pty=0 install \
        -t trixie-backports --no-install-recommends qemu-system-x86 \
        systemd systemd-sysv dbus libuv1t64 libjson-c5 zlib1g libdeflate0
    chroot "$root" apt-get -q clean
    umount "$root/proc"
}

# The cloud kernel is the small one; its meta package names the package of the day. Old lists name
# one that the mirrors no longer have. If they cannot be renewed and it matters, the download fails.
make_kernel() {
    local kernel=$1 package module found

    apt-get -q update || true
    package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
    [ -n "$package" ] || { echo "apt knows no linux-image-cloud-amd64" >&2; return 1; }
    mkdir -p "$kernel/unpacked"
    (cd "$kernel" && apt-get -q -o APT::Sandbox::User=root download "$package")
    dpkg -x "$kernel"/linux-image-*.deb "$kernel/unpacked"
    cp "$kernel"/unpacked/boot/vmlinuz-* "$kernel/vmlinuz"
    for module in uio uio_pci_generic \
        irqbypass vfio vfio_virqfd vfio_iommu_type1 vfio-pci-core vfio-pci; do
        found=$(find "$kernel/unpacked" -name "$module.ko*" -print -quit)
        case $found in
        *.ko) cp "$found" "$kernel/$module.ko" ;;
        *.ko.xz) xz -dc "$found" >"$kernel/$module.ko" ;;
        *) echo "no module $module in $package" >&2; return 1 ;;
        esac
    done
    rm -r "$kernel/unpacked" "$kernel"/linux-image-*.deb
}

# prepare NAME: makes cache/NAME with make_NAME, unless it is there as that would make it.
prepare() {
    local name=$1 place=$cache/$1 recipe

    recipe=$(declare -f "make_$name")
    if [ "$recipe" = "$(cat "$place/$recipe_file" 2>/dev/null)" ]; then
        return
    fi
    echo "preparing $place"
    rm -rf "$place.new" "$place.old"
    "make_$name" "$place.new"
    mkdir -p "$place.new/etc"
    printf '%s\n' "$recipe" >"$place.new/$recipe_file"
    [ ! -e "$place" ] || mv "$place" "$place.old"
    mv "$place.new" "$place"
    rm -rf "$place.old"
}

require_commands() {
    local command missing=()

    for command in "$@"; do
        command -v "$command" >/dev/null || missing+=("$command")
    done
    [ ${#missing[@]} = 0 ] || { echo "missing commands: ${missing[*]}" >&2; exit 1; }
}

# In namespaces of our own nothing stays mounted and no process stays behind, however this ends: a
# later "rm -rf" of the unfinished root must not find this machine's /proc or /dev in it.
enter_namespace() {
    local child

    [ "$(id -u)" = 0 ] || { echo "needs root" >&2; exit 77; }
    require_commands apt-cache apt-get debootstrap dpkg flock setpriv unshare
    setpriv --pdeathsig KILL -- unshare --mount --pid --fork --kill-child --mount-proc -- \
        bash "${BASH_SOURCE[0]}" --in-namespace &
    child=$!
    trap 'kill -KILL "$child"; exit 143' HUP INT TERM
    wait "$child"
    exit
}

[ "${1-}" = --in-namespace ] || enter_namespace

mkdir -p "$cache"
# One build at a time, and none under the feet of running tests, which hold this lock shared.
exec 9>"$cache/lock"
flock 9
prepare root
prepare kernel

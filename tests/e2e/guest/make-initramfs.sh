#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# make-initramfs.sh KERNEL_DIR OUTPUT: packs the guest: busybox, lspci with its libraries, the
# kernel's modules, init and the test program, which is compiled here. Flags of the build under test
# (sanitizers, say) are of no use in the guest, so none are taken over.
set -euo pipefail

guest_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
kernel_dir=$1
output=$2
tree=$output.tree
read -ra compiler <<<"${CC:-cc}"

install_program() {
    local program=$1 library

    install -D -m 755 "$program" "$tree/bin/${program##*/}"
    # "libpci.so.3 => /lib/.../libpci.so.3 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)"
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$tree$library" ] || install -D -m 755 "$library" "$tree$library"
    done
}

rm -rf "$tree"
mkdir -p "$tree"/{bin,dev,modules,proc,sys}
install -m 755 "$(command -v busybox)" "$tree/bin/busybox"
for applet in sh cat dmesg echo insmod mount poweroff reboot; do
    ln -s busybox "$tree/bin/$applet"
done
install_program "$(command -v lspci)"
install -m 644 "$kernel_dir"/*.ko "$tree/modules/"
install -m 755 "$guest_dir/init" "$tree/init"
"${compiler[@]}" -std=c11 -D_GNU_SOURCE -O2 -static -Wall -Wextra -Werror \
    -o "$tree/bin/guest-test" "$guest_dir"/*.c
(cd "$tree" && find . | cpio -o -H newc --quiet | gzip -1) >"$output.new"
mv "$output.new" "$output"
rm -rf "$tree"

#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# enter-root.sh ROOT WORK KERNEL COMMAND...: becomes COMMAND inside ROOT, where it finds /dev,
# /proc, WORK as /mnt and KERNEL as /srv. To be run under "unshare --mount": the mounts go with the
# process, and since each step is an exec, its process id is COMMAND's.
set -euo pipefail

root=$1
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$2" "$root/mnt"
mount --bind "$3" "$root/srv"
shift 3
exec chroot "$root" "$@"

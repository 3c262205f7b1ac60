#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# boot-root.sh ROOT WORK KERNEL CGROUP...: becomes systemd-nspawn, which boots what looks like ROOT:
# whatever is written to it is in memory and gone afterwards. It finds WORK as /mnt and KERNEL as
# /srv. To be run in mount and process id namespaces of its own, so that mounts and processes go
# with it. It joins the cgroups first, because systemd-nspawn makes others below its own.
set -euo pipefail

root=$1
work=$2
kernel=$3
place=$work/container
shift 3
for cgroup in "$@"; do
    echo 0 >"$cgroup/cgroup.procs"
done
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place"/{upper,work,root}
mount -t overlay -o "lowerdir=$root,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
# This machine's /run is none of systemd-nspawn's business.
mount -t tmpfs -o mode=755 tmpfs /run
# Its own filter of system calls would hide what ours does not deny.
export SYSTEMD_SECCOMP=0
exec systemd-nspawn --quiet --directory="$place/root" --machine=vfut --settings=no --boot \
    --register=no --keep-unit --private-network --link-journal=no --resolv-conf=off \
    --timezone=off --console=pipe --bind="$work:/mnt:norbind" --bind-ro="$kernel:/srv"

/* SPDX-License-Identifier: BSD-3-Clause */
#include "attempts.h"

#include <stddef.h>

/* Exec comes late: where it may not fork, the process itself is replaced. */
const struct attempt attempts[] = {
    { "may-socket-unix", try_socket, "unix" },
    { "may-memfd", try_memfd, NULL },
    { "may-read-libraries", try_read, "/usr/lib/os-release" },
    { "may-read-descriptions", try_read, "/etc/vfio-userd" },
    { "may-connect-own", try_connect_own, "control.sock" },

    { "socket-inet", try_socket, "inet" },
    { "socket-inet6", try_socket, "inet6" },
    { "socket-netlink", try_socket, "netlink" },
    { "socket-packet", try_socket, "packet" },

    { "write-root", try_write, "/" },
    { "write-etc", try_write, "/etc" },
    { "write-descriptions", try_write, "/etc/vfio-userd" },
    { "write-usr", try_write, "/usr" },
    { "write-var", try_write, "/var" },
    { "write-var-tmp", try_write, "/var/tmp" },
    { "write-tmp", try_write, "/tmp" },
    { "write-dev", try_write, "/dev" },
    { "write-dev-shm", try_write, "/dev/shm" },
    { "write-run", try_write, "/run" },
    { "write-sockets", try_write, "/run/vfio-userd" },
    { "write-home", try_write, "/home" },
    { "read-home", try_read, "/home/vfut-secret" },
    { "read-root-home", try_read, "/root" },
    { "read-tmp", try_read, "/tmp/vfut-secret" },
    { "read-journal", try_read, "/run/log/journal" },

    { "device-mem", try_open_device, "/dev/mem" },
    { "device-kmsg", try_open_device, "/dev/kmsg" },
    { "device-kvm", try_open_device, "/dev/kvm" },

    { "connect-other-control", try_connect_other, "control.sock" },
    { "connect-other-device", try_connect_other, "device.sock" },
    { "connect-dbus", try_connect, "/run/dbus/system_bus_socket" },
    { "connect-systemd", try_connect, "/run/systemd/private" },

    { "see-processes", try_see, NULL },
    { "ptrace", try_ptrace, NULL },
    { "kill", try_kill, NULL },
    { "pidfd", try_pidfd, NULL },
    { "read-memory", try_read_memory, NULL },
    { "fork", try_fork, NULL },
    { "thread", try_thread, NULL },

    { "map-writable-code", try_map_writable_code, NULL },
    { "make-code", try_make_code, NULL },
    { "suid-bit", try_suid_bit, NULL },
    { "lock-memory", try_lock_memory, NULL },
    { "bpf", try_bpf, NULL },
    { "perf", try_perf, NULL },
    { "keyctl", try_keyctl, NULL },
    { "personality", try_personality, NULL },
    { "io-uring", try_io_uring, NULL },
    { "userfaultfd", try_userfaultfd, NULL },
    { "host-name", try_host_name, NULL },
    { "nice", try_nice, NULL },
    { "mount", try_mount, NULL },
    { "exec-shell", try_exec, "/bin/sh" },
    { "chroot", try_chroot, NULL },
    { "unshare-mount", try_unshare, "mount" },
    { "unshare-net", try_unshare, "net" },
    { "set-groups", try_set_groups, NULL },
    { "set-user", try_set_user, NULL },
    { "unshare-user", try_unshare, "user" },
    { NULL, NULL, NULL },
};

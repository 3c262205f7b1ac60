/* SPDX-License-Identifier: BSD-3-Clause */
/* What the probe tries, in an order in which one that succeeds does not spoil those after it. */
#ifndef VFUT_ATTEMPTS_H
#define VFUT_ATTEMPTS_H

struct probe {
    const char *instance;
    const char *other;
    int pid;
};

struct attempt {
    const char *name;
    int (*run)(const struct probe *p, const char *argument); /* 0 or -errno */
    const char *argument;
};

/* Ends with a NULL name. */
extern const struct attempt attempts[];

/* files.c */
int try_write(const struct probe *p, const char *folder);
int try_read(const struct probe *p, const char *path);
int try_open_device(const struct probe *p, const char *path);
int try_connect(const struct probe *p, const char *path);
int try_connect_own(const struct probe *p, const char *name);
int try_connect_other(const struct probe *p, const char *name);
int try_mount(const struct probe *p, const char *argument);
int try_chroot(const struct probe *p, const char *argument);

/* calls.c */
int try_socket(const struct probe *p, const char *family);
int try_unshare(const struct probe *p, const char *kind);
int try_map_writable_code(const struct probe *p, const char *argument);
int try_make_code(const struct probe *p, const char *argument);
int try_memfd(const struct probe *p, const char *argument);
int try_suid_bit(const struct probe *p, const char *argument);
int try_lock_memory(const struct probe *p, const char *argument);
int try_bpf(const struct probe *p, const char *argument);
int try_perf(const struct probe *p, const char *argument);
int try_keyctl(const struct probe *p, const char *argument);
int try_personality(const struct probe *p, const char *argument);
int try_io_uring(const struct probe *p, const char *argument);
int try_userfaultfd(const struct probe *p, const char *argument);
int try_host_name(const struct probe *p, const char *argument);
int try_nice(const struct probe *p, const char *argument);
int try_set_groups(const struct probe *p, const char *argument);
int try_set_user(const struct probe *p, const char *argument);

/* processes.c */
int try_see(const struct probe *p, const char *argument);
int try_ptrace(const struct probe *p, const char *argument);
int try_kill(const struct probe *p, const char *argument);
int try_pidfd(const struct probe *p, const char *argument);
int try_read_memory(const struct probe *p, const char *argument);
int try_fork(const struct probe *p, const char *argument);
int try_thread(const struct probe *p, const char *argument);
int try_exec(const struct probe *p, const char *argument);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Attempts by system call, at what is the machine's or the process's own. */
#include <errno.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "attempts.h"

#define SOME_USER 12345

static int fd_result(int fd)
{
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int result(long rc)
{
    return rc >= 0 ? 0 : -errno;
}

int try_socket(const struct probe *p, const char *family)
{
    (void)p;
    if (strcmp(family, "unix") == 0)
        return fd_result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (strcmp(family, "inet") == 0)
        return fd_result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (strcmp(family, "inet6") == 0)
        return fd_result(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (strcmp(family, "netlink") == 0)
        return fd_result(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
    return fd_result(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

int try_unshare(const struct probe *p, const char *kind)
{
    (void)p;
    if (strcmp(kind, "mount") == 0)
        return result(unshare(CLONE_NEWNS));
    if (strcmp(kind, "net") == 0)
        return result(unshare(CLONE_NEWNET));
    return result(unshare(CLONE_NEWUSER));
}

static int map(int protection, void **out)
{
    *out = mmap(NULL, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return *out == MAP_FAILED ? -errno : 0;
}

int try_map_writable_code(const struct probe *p, const char *argument)
{
    void *at;
    int err = map(PROT_READ | PROT_WRITE | PROT_EXEC, &at);

    (void)p;
    (void)argument;
    if (err == 0)
        munmap(at, 4096);
    return err;
}

int try_make_code(const struct probe *p, const char *argument)
{
    void *at;
    int err = map(PROT_READ | PROT_WRITE, &at);

    (void)p;
    (void)argument;
    if (err != 0)
        return err;
    err = result(mprotect(at, 4096, PROT_READ | PROT_EXEC));
    munmap(at, 4096);
    return err;
}

int try_memfd(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return fd_result(memfd_create("probe", MFD_CLOEXEC));
}

int try_suid_bit(const struct probe *p, const char *argument)
{
    int fd = memfd_create("probe", MFD_CLOEXEC);
    int err;

    (void)p;
    (void)argument;
    if (fd < 0)
        return -errno;
    err = result(fchmod(fd, 04755));
    close(fd);
    return err;
}

int try_lock_memory(const struct probe *p, const char *argument)
{
    void *at;
    int err = map(PROT_READ | PROT_WRITE, &at);

    (void)p;
    (void)argument;
    if (err != 0)
        return err;
    err = result(mlock(at, 4096));
    munmap(at, 4096);
    return err;
}

int try_bpf(const struct probe *p, const char *argument)
{
    union bpf_attr attr = {
        .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1
    };

    (void)p;
    (void)argument;
    return fd_result((int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)));
}

int try_perf(const struct probe *p, const char *argument)
{
    struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
                                    .size = sizeof(attr),
                                    .config = PERF_COUNT_SW_CPU_CLOCK };

    (void)p;
    (void)argument;
    return fd_result((int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

int try_keyctl(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return result(syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1));
}

int try_personality(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return result(personality(ADDR_NO_RANDOMIZE));
}

int try_io_uring(const struct probe *p, const char *argument)
{
    struct io_uring_params params = { 0 };

    (void)p;
    (void)argument;
    return fd_result((int)syscall(SYS_io_uring_setup, 1, &params));
}

int try_userfaultfd(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return fd_result((int)syscall(SYS_userfaultfd, 0));
}

/* To what it is. */
int try_host_name(const struct probe *p, const char *argument)
{
    struct utsname name;

    (void)p;
    (void)argument;
    if (uname(&name) != 0)
        return -errno;
    return result(sethostname(name.nodename, strlen(name.nodename)));
}

int try_nice(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return result(setpriority(PRIO_PROCESS, 0, -1));
}

int try_set_groups(const struct probe *p, const char *argument)
{
    const gid_t group = SOME_USER;

    (void)p;
    (void)argument;
    return result(setgroups(1, &group));
}

int try_set_user(const struct probe *p, const char *argument)
{
    (void)p;
    (void)argument;
    return result(setresuid(SOME_USER, SOME_USER, SOME_USER));
}

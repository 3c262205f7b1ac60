/* SPDX-License-Identifier: BSD-3-Clause */
/* Attempts at other processes, and at making some. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attempts.h"

/* Any process but this one. */
int try_see(const struct probe *p, const char *argument)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    int err = -ESRCH;

    (void)p;
    (void)argument;
    if (proc == NULL)
        return -errno;
    while (err != 0 && (entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid())
            err = 0;
    }
    closedir(proc);
    return err;
}

int try_ptrace(const struct probe *p, const char *argument)
{
    (void)argument;
    if (ptrace(PTRACE_SEIZE, p->pid, NULL, NULL) != 0)
        return -errno;
    /* It has to be stopped for PTRACE_DETACH; with our end it is let go anyway. */
    return 0;
}

/* A signal that is ignored unless somebody cares. */
int try_kill(const struct probe *p, const char *argument)
{
    (void)argument;
    return kill(p->pid, SIGURG) == 0 ? 0 : -errno;
}

int try_pidfd(const struct probe *p, const char *argument)
{
    int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);

    (void)argument;
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* An address that nothing is mapped at: the permission is what is asked for. */
int try_read_memory(const struct probe *p, const char *argument)
{
    char byte;
    struct iovec here = { &byte, 1 };
    struct iovec there = { NULL, 1 };

    (void)argument;
    if (process_vm_readv(p->pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
        return 0;
    return -errno;
}

static int wait_for(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
    }
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
}

int try_fork(const struct probe *p, const char *argument)
{
    pid_t child = fork();

    (void)p;
    (void)argument;
    if (child < 0)
        return -errno;
    if (child == 0)
        _exit(0);
    return wait_for(child);
}

static int thread(void *opaque)
{
    (void)opaque;
    return 0;
}

/* What threads are made of; it shares all but the stack, and is waited for as a child. */
int try_thread(const struct probe *p, const char *argument)
{
    static char stack[65536];
    pid_t child =
        clone(thread, stack + sizeof(stack), CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD, NULL);

    (void)p;
    (void)argument;
    return child < 0 ? -errno : wait_for(child);
}

/* The shell says itself that it runs, when it runs in our place. */
int try_exec(const struct probe *p, const char *argument)
{
    char *const there[] = { "sh", "-c", "exit 0", NULL };
    char *const here[] = { "sh", "-c", "echo ALLOWED exec-shell", NULL };
    pid_t child = fork();

    (void)p;
    if (child > 0)
        return wait_for(child);
    execv(argument, child == 0 ? there : here);
    if (child == 0)
        _exit(errno);
    return -errno;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RAM_SIZE  4096u
#define RAM_BASE  0x1000u
#define SIGNALS   8u /* bytes of a signal set as the kernel has it */
#define MODE_TSS  0xfffbd000u
#define MODE_PAGE 0xfffbc000u

struct machine {
    int kvm;
    int vm;
    int vcpu;
    uint8_t *ram;
    struct kvm_run *run;
    size_t run_size;
    timer_t timer; /* sends SIGUSR1, which is open only in KVM_RUN and ends that */
    bool has_timer;
};

static int make_memory(struct machine *m)
{
    struct kvm_userspace_memory_region region = { .guest_phys_addr = RAM_BASE,
                                                  .memory_size = RAM_SIZE };

    m->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->ram == MAP_FAILED) {
        m->ram = NULL;
        return -errno;
    }
    region.userspace_addr = (uintptr_t)m->ram;
    return ioctl(m->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

static int make_vm(struct machine *m, const char **step)
{
    uint64_t page = MODE_PAGE;

    *step = "opening /dev/kvm";
    m->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (m->kvm < 0)
        return -errno;
    *step = "KVM_CHECK_EXTENSION";
    if (ioctl(m->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION ||
        ioctl(m->kvm, KVM_CHECK_EXTENSION, KVM_CAP_IOEVENTFD) <= 0)
        return -ENOTSUP;
    *step = "KVM_CREATE_VM";
    m->vm = ioctl(m->kvm, KVM_CREATE_VM, 0);
    if (m->vm < 0)
        return -errno;
    /* Real mode on processors that have none for guests; others do not care. */
    (void)ioctl(m->vm, KVM_SET_TSS_ADDR, (unsigned long)MODE_TSS);
    (void)ioctl(m->vm, KVM_SET_IDENTITY_MAP_ADDR, &page);
    *step = "KVM_SET_USER_MEMORY_REGION";
    return make_memory(m);
}

/*
 * The signal is blocked but while the vCPU runs: it cannot be missed in the moment before, and
 * needs no handler.
 */
static int make_timer(struct machine *m)
{
    struct {
        struct kvm_signal_mask mask;
        uint8_t set[SIGNALS];
    } open_set = { .mask.len = SIGNALS };
    struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
    sigset_t set;

    if (sigprocmask(SIG_BLOCK, NULL, &set) < 0)
        return -errno;
    memcpy(open_set.set, &set, SIGNALS);
    if (ioctl(m->vcpu, KVM_SET_SIGNAL_MASK, &open_set) < 0)
        return -errno;
    sigaddset(&set, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 ||
        timer_create(CLOCK_MONOTONIC, &event, &m->timer) < 0)
        return -errno;
    m->has_timer = true;
    return 0;
}

static int make_vcpu(struct machine *m, const char **step)
{
    void *run;
    int size;

    *step = "KVM_CREATE_VCPU";
    m->vcpu = ioctl(m->vm, KVM_CREATE_VCPU, 0);
    if (m->vcpu < 0)
        return -errno;
    *step = "mapping the vCPU's state";
    size = ioctl(m->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (size < 0)
        return -errno;
    run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, m->vcpu, 0);
    if (run == MAP_FAILED)
        return -errno;
    m->run = run;
    m->run_size = (size_t)size;
    *step = "KVM_SET_SIGNAL_MASK";
    return make_timer(m);
}

int machine_new(struct machine **out, const char **step)
{
    struct machine *m = calloc(1, sizeof(*m));
    int rc;

    *step = "memory";
    if (m == NULL)
        return -ENOMEM;
    m->kvm = m->vm = m->vcpu = -1;
    rc = make_vm(m, step);
    if (rc == 0)
        rc = make_vcpu(m, step);
    if (rc < 0) {
        machine_free(m);
        return rc;
    }
    *out = m;
    return 0;
}

void machine_free(struct machine *m)
{
    if (m == NULL)
        return;
    if (m->has_timer)
        (void)timer_delete(m->timer);
    if (m->run != NULL)
        (void)munmap(m->run, m->run_size);
    if (m->vcpu >= 0)
        (void)close(m->vcpu);
    if (m->vm >= 0)
        (void)close(m->vm);
    if (m->kvm >= 0)
        (void)close(m->kvm);
    if (m->ram != NULL)
        (void)munmap(m->ram, RAM_SIZE);
    free(m);
}

int machine_add_ioeventfd(struct machine *m, uint64_t offset, uint32_t len, int fd)
{
    struct kvm_ioeventfd ioeventfd = { .addr = MACHINE_BAR0 + offset, .len = len, .fd = fd };

    return ioctl(m->vm, KVM_IOEVENTFD, &ioeventfd) < 0 ? -errno : 0;
}

/* 16-bit code with 32-bit operands; DS leads to BAR0, ECX is n, EBX the value. */
static int start_program(struct machine *m, uint16_t offset, uint32_t n)
{
    const uint8_t program[] = {
        0x66, 0x89, 0x1e, offset & 0xff, offset >> 8, /* again: mov [offset], ebx */
        0x66, 0x43,                                   /*        inc ebx */
        0x66, 0x49,                                   /*        dec ecx */
        0x75, 0xf5,                                   /*        jnz again */
        0xf4,                                         /*        hlt */
    };
    struct kvm_regs regs = { .rip = RAM_BASE, .rcx = n, .rflags = 2 };
    struct kvm_sregs sregs;

    memcpy(m->ram, program, sizeof(program));
    if (ioctl(m->vcpu, KVM_GET_SREGS, &sregs) < 0)
        return -errno;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    sregs.ds.base = MACHINE_BAR0;
    sregs.ds.selector = MACHINE_BAR0 >> 4;
    if (ioctl(m->vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(m->vcpu, KVM_SET_REGS, &regs) < 0)
        return -errno;
    return 0;
}

/* 0 ms: none. A signal that the last one has left pending is taken away. */
static int set_timer(struct machine *m, unsigned ms)
{
    struct itimerspec at = { .it_value = { .tv_sec = ms / 1000,
                                           .tv_nsec = (long)(ms % 1000) * 1000000 } };
    const struct timespec now = { 0 };
    sigset_t set;

    if (timer_settime(m->timer, 0, &at, NULL) < 0)
        return -errno;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    while (sigtimedwait(&set, NULL, &now) > 0)
        continue;
    return 0;
}

/* Until the guest halts or cannot go on. */
static int run_program(struct machine *m, machine_write *write, void *opaque,
                       struct machine_end *end)
{
    const struct kvm_run *run = m->run;

    for (;;) {
        uint64_t offset;
        int rc;

        if (ioctl(m->vcpu, KVM_RUN, 0) < 0 && errno != EINTR)
            return -errno;
        end->reason = run->exit_reason;
        if (run->exit_reason != KVM_EXIT_MMIO || !run->mmio.is_write)
            return 0;
        end->exits++;
        offset = run->mmio.phys_addr - MACHINE_BAR0;
        rc = write == NULL ? 0 : write(opaque, offset, run->mmio.data, run->mmio.len);
        if (rc < 0)
            return rc;
    }
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int machine_run(struct machine *m, uint16_t offset, uint32_t n, unsigned limit_ms,
                machine_write *write, void *opaque, struct machine_end *end)
{
    struct kvm_regs regs;
    double began;
    int rc = start_program(m, offset, n);

    memset(end, 0, sizeof(*end));
    if (rc == 0)
        rc = set_timer(m, limit_ms);
    if (rc < 0)
        return rc;
    began = seconds_now();
    rc = run_program(m, write, opaque, end);
    end->seconds = seconds_now() - began;
    (void)set_timer(m, 0);
    if (rc == 0 && ioctl(m->vcpu, KVM_GET_REGS, &regs) < 0)
        rc = -errno;
    if (rc == 0)
        end->left = (uint32_t)regs.rcx;
    return rc;
}

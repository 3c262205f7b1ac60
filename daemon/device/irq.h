/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device's interrupts: the INTx line with its level, MSI vectors, ERR and REQ; masks; and the
 * client's eventfds. Says when to trigger; what the sources mean is the model's business.
 * Section "VFIO_USER_DEVICE_SET_IRQS".
 *
 * INTx is a level. It is triggered when the level rises, and again when something that stood in
 * the way is gone and the level is still high: the client's UNMASK or a new eventfd, the guest's
 * clearing of INTx Disable, a return to D0. A client that never unmasks gets one trigger for each
 * rise; one that unmasks at the end of interrupt (QEMU, Cloud Hypervisor, KVM's resample eventfd)
 * gets a level-triggered line.
 *
 * With MSI or MSI-X (the guest enabled it, or the client gave eventfds for it) each event raises
 * the vector of its source, and INTx stays silent; of the two, MSI-X is preferred.
 *
 * A trigger is a signal on the client's eventfd. Without one, and with "both" also after one, it is
 * a message, if the client takes them (VFIO_USER_VM_INTERRUPT): else it waits for either.
 */
#ifndef VFIO_USERD_IRQ_H
#define VFIO_USERD_IRQ_H

#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>

#define IRQ_MSI_MAX 32

/* Guest-visible; part of the state block. */
struct irq_state {
    uint32_t active;      /* sources that pull the line: IRQ_STATUS & IRQ_ENABLE */
    uint32_t msi_pending; /* a bit for each vector that could not be delivered yet */
    uint64_t count;       /* interrupts raised since reset: rises of the line, MSI events */
    uint8_t intx_pending; /* to be triggered as soon as nothing stands in the way */
    uint8_t intx_masked;  /* by the client's MASK */
    uint8_t err_pending;
    uint8_t req_pending;
    uint32_t msix_pending; /* as msi_pending */
};

/* What became of an interrupt. */
enum irq_delivery {
    IRQ_DELIVERED_EVENTFD,
    IRQ_DELIVERED_MESSAGE,
    IRQ_DELIVERED_BOTH,      /* the eventfd, then the message */
    IRQ_PENDING_NO_EVENTFD,  /* the client has not set one, and takes no messages */
    IRQ_PENDING_NOT_ENABLED, /* nor has it, and the guest has not enabled the vector */
    IRQ_PENDING_UNANSWERED,  /* too many messages before it are */
    IRQ_PENDING_NO_WAY,      /* messages cannot reach the client any more */
    IRQ_PENDING_MASKED,      /* by the client's MASK */
    IRQ_PENDING_DISABLED,    /* by IRQ_ENABLE, by INTx Disable or by MSI's mask bits */
    IRQ_PENDING_POWER,       /* not in D0 */
    IRQ_PENDING_STOPPED,     /* the device is stopped: it goes out when it runs again */
    IRQ_ALREADY_ASSERTED,    /* the line was high before: one interrupt for both */
};

/* What the client gave, for another process; -1 where there is none. */
struct irq_fds {
    int intx;
    int intx_mask;
    int intx_unmask;
    int err;
    int req;
    int msi[IRQ_MSI_MAX];
    int msix[IRQ_MSI_MAX];
};

/* How many vectors there are: at most IRQ_MSI_MAX each, 0 without the capability. */
struct irq_vectors {
    unsigned msi;
    unsigned msix;
};

/* Sends interrupts as messages. */
struct irq_messenger {
    void *opaque;
    /*
     * Returns 0, or -errno: it does not go out now. -EBUSY: too many are unanswered; -ENOTCONN:
     * there is no way to the client any more. Must not call the irq. NULL: never.
     */
    int (*send)(void *opaque, uint32_t index, uint32_t subindex);
    bool both; /* also after an eventfd */
};

/* What the configuration space lets through. */
struct irq_gate {
    bool d0;
    bool intx_disabled;
    bool msi_enabled;
    bool msix_enabled;
    unsigned msi_count;   /* vectors that the guest was given of MSI */
    uint32_t msi_masked;  /* a bit for each vector */
    uint32_t msix_masked; /* the same; with the Function Mask, all */
};

struct irq;
struct notifier;

/* *state belongs to the caller and outlives the irq. Returns 0 or -errno. */
int irq_new(struct irq_state *state, const struct irq_vectors *vectors, struct irq **out);
void irq_free(struct irq *irq);

/*
 * fn is told of each interrupt that is raised, and of each that was pending and is delivered now
 * (not anew). It must not call the irq.
 */
typedef void (*irq_watch_fn)(void *opaque, uint32_t index, uint32_t vector, enum irq_delivery how,
                             bool anew);
void irq_watch(struct irq *irq, irq_watch_fn fn, void *opaque);

/* What signals the eventfds, the irq's: for those who take from one, and who replay a step. */
struct notifier *irq_notifier(struct irq *irq);

/* Without this call, no messages are sent. */
void irq_set_messenger(struct irq *irq, const struct irq_messenger *messenger);

/* Number of vectors of a VFIO index and its VFIO_IRQ_INFO_ flags; -EINVAL: no such index. */
int irq_info(const struct irq *irq, uint32_t index, uint32_t *count, uint32_t *flags);

/*
 * Executes a SET_IRQS whose fields message.c has validated. fds: taken slots are set to -1; the
 * others stay the caller's. Nothing is changed on failure.
 * Returns 0, or -EINVAL for an index, a range, a number of fds, a kind of fd or an action that
 * this index does not have.
 */
int irq_set(struct irq *irq, uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
            const uint8_t *bools, int *fds, unsigned nfds);

/* The eventfds that there are; they stay the irq's. */
void irq_get_fds(const struct irq *irq, struct irq_fds *out);

/*
 * Takes eventfds in place of those there are, which are closed, and sets the slots to -1. Nothing
 * is triggered by this. Returns 0, or -EINVAL when one is no eventfd, or is for a vector that the
 * device does not have: nothing is taken then.
 */
int irq_take_fds(struct irq *irq, struct irq_fds *fds);

/*
 * Nothing is triggered until irq_start: what is raised meanwhile is pending, and so goes out then.
 * What has gone out before is not triggered again by these.
 */
void irq_stop(struct irq *irq);
void irq_start(struct irq *irq);

/* Stopped no longer, but what irq_start lets go out stays pending until that is called. */
void irq_unfreeze(struct irq *irq);

/*
 * Puts *state in the place of ours, but for the client's mask. The irq is stopped.
 */
void irq_load(struct irq *irq, const struct irq_state *state);

/* Closes all eventfds and forgets the client's mask; what is pending stays pending. */
void irq_drop_client(struct irq *irq);

/* Back to the state after power-on; eventfds and the client's mask stay. */
void irq_reset(struct irq *irq);

/* What the configuration space lets through has changed, or not; re-evaluates. */
void irq_set_gate(struct irq *irq, const struct irq_gate *gate);

/* The client takes messages (again): what waited for a way to go out goes out. */
void irq_retry(struct irq *irq);

/*
 * The model's sources have changed: active are those that pull the line now, events those that
 * happened just now (each raises its vector, also when it was active before). Bit n is source n,
 * vector n of MSI-X modulo its vectors, of MSI modulo those enabled. Returns what became of it.
 */
enum irq_delivery irq_update(struct irq *irq, uint32_t active, uint32_t events);

/* Raises one vector of MSI, MSI-X, ERR or REQ directly. -EINVAL when there is none such. */
int irq_raise(struct irq *irq, uint32_t index, uint32_t vector, enum irq_delivery *how);

/* The INTx level: what Interrupt Status in configuration space shows. */
bool irq_level(const struct irq *irq);

/* Interrupts raised since reset. */
uint64_t irq_count(const struct irq *irq);

/* Which of the three is in use: VFIO_PCI_INTX_IRQ_INDEX, …_MSI_… or …_MSIX_…. */
uint32_t irq_mode(const struct irq *irq);

/*
 * The client's UNMASK eventfd or -1: whoever has a loop watches it and calls irq_resample when it
 * is readable. KVM signals it at the guest's end of interrupt.
 */
int irq_unmask_fd(const struct irq *irq);
void irq_resample(struct irq *irq);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that goes on where another process died. */
#include "device_private.h"

#include "evidence.h"
#include "notifier.h"

static bool was_passed(void *opaque)
{
    const struct device *dev = opaque;

    return notifier_passed(irq_notifier(dev->irq));
}

int device_keep(struct device *dev, const struct device_memory *memory)
{
    notifier_set_evidence(irq_notifier(dev->irq), &memory->evidence);
    dma_set_passed(dev->dma, was_passed, dev);
    return dma_set_keeper(dev->dma, &memory->dma);
}

void device_unfreeze(struct device *dev)
{
    if (!dev->stopped)
        return;
    dev->stopped = false;
    dev->unfrozen = true;
    irq_unfreeze(dev->irq);
    timer_unfreeze(dev->timer);
}

void device_replay(struct device *dev, const struct evidence *before)
{
    notifier_replay(irq_notifier(dev->irq), before);
}

void device_replayed(struct device *dev)
{
    uint64_t rings;
    uint32_t value;
    bool known = doorbell_value(&dev->doorbell, &value);

    if (notifier_passed_transfer(irq_notifier(dev->irq)))
        timer_passed(dev->timer);
    rings = notifier_replayed(irq_notifier(dev->irq));
    if (rings > 0)
        device_ring(dev, rings, known ? &value : NULL);
}

void device_get_held(const struct device *dev, struct device_held *out)
{
    *out = dev->held;
}

void device_put_held(struct device *dev, const struct device_held *held)
{
    dev->held = *held;
}

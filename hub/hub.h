/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The hub: who is in the cluster and what became of its tasks. Its only peers are the parent
 * (descriptor 3) and the scheduler (descriptor 4); it is never on the way of a task.
 */
#ifndef PC_HUB_HUB_H
#define PC_HUB_HUB_H

/* The role's whole life; returns its exit code. */
int hub_main(void);

#endif

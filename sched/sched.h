/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef PC_SCHED_SCHED_H
#define PC_SCHED_SCHED_H

/* The scheduler role: descriptor 3 is the parent, 4 the hub, then the listeners. Returns the
 * exit code of the process. */
int sched_main(void);

#endif

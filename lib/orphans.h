/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Processes that became ours because whoever started them is gone. A parent and a nursery adopt
 * the orphans of their engines, also those that left the engine's process group and session, so
 * that nothing stays behind when the cluster ends, however it ends.
 */
#ifndef PC_LIB_ORPHANS_H
#define PC_LIB_ORPHANS_H

#include <stdbool.h>

/* From now on orphaned descendants become children of this process. */
void pc_orphans_adopt(void);
/* True when this process has children at all. */
bool pc_orphans_exist(void);
/* Kills and reaps every child, then those that become ours by that, and so on. -1: some are still
 * there after limit_ms. */
int pc_orphans_end(int limit_ms);

#endif

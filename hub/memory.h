/* SPDX-License-Identifier: BSD-3-Clause */
/* How much memory a process of this machine uses. */
#ifndef PC_HUB_MEMORY_H
#define PC_HUB_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Bytes, -1 when unknown. PSS, which divides shared pages among the processes that share them:
 * engines forked from one nursery share most of theirs, and their RSS would count those again for
 * each. RSS where the kernel does not tell PSS.
 */
int64_t hub_memory_of(uint32_t pid);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* "all" or "0-3,7": which engines a command means. */
#ifndef PC_CMD_TARGETS_H
#define PC_CMD_TARGETS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

/*
 * The ids that `text` names, each once, in the order given; *ids is the caller's to free(). -1
 * when it is not such a list (PC_E_INVALID), names an engine that is not among those in
 * `engines`, or when there are none (PC_E_NO_ENGINE).
 */
int targets_read(const char *text, const struct pc_engine *engines, size_t engine_count,
                 uint32_t **ids, size_t *count, struct pc_err *err);

/* "0-3,7"; of many the first ones, which say enough. `size` is 32 or more. */
void targets_text(const uint32_t *ids, size_t count, char *text, size_t size);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of a message as one piece of bytes: count u32, size u64 of each, the parts. */
#ifndef PC_HUB_PARTS_H
#define PC_HUB_PARTS_H

#include "lib/msg.h"

size_t hub_parts_size(const struct pc_msg *msg);
/* Into that many bytes. */
void hub_parts_put(uint8_t *at, const struct pc_msg *msg);
/* For the caller to free(). */
void *hub_parts_pack(const struct pc_msg *msg, size_t *size);
/* A message without a body; NULL: that is not what these bytes are. */
struct pc_msg *hub_parts_unpack(const void *data, size_t size);
/* To a file that appears whole or not at all. -1 with errno. */
int hub_parts_save(const struct pc_msg *msg, const char *path);
/* NULL: it is not there, or broken. */
struct pc_msg *hub_parts_load(const char *path);

#endif

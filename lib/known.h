/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions that both ends of a connection know by name, so that each travels once.
 *
 * The name is the BLAKE2b-256 of the function's pickle. Both ends keep such a table and do the
 * same to it in the same order: add when a FUNCTION goes over the connection, use when a message
 * names one. So both forget the same function at the same moment, and whoever sends knows what the
 * other has: nobody ever has to ask. See doc/decisions/0005.
 */
#ifndef PC_LIB_KNOWN_H
#define PC_LIB_KNOWN_H

#include <stddef.h>
#include <stdint.h>

#define PC_FUNCTION_NAME_SIZE 32
/* A larger one has no name and goes with each request. */
#define PC_FUNCTION_MAX (UINT64_C(8) << 20)
/* What a table holds; part of the protocol. */
#define PC_KNOWN_COUNT_MAX 128
#define PC_KNOWN_BYTES_MAX (UINT64_C(16) << 20)

struct pc_known_function {
    uint8_t name[PC_FUNCTION_NAME_SIZE];
    uint64_t size;
    void *data; /* what this end keeps with it */
};

/* All zero is an empty table. It is small and the same few functions are used again and again: a
 * search from the end costs less than a hash. */
struct pc_known {
    struct pc_known_function *functions; /* the one whose last use is longest ago comes first */
    size_t count, capacity;
    uint64_t bytes;
    void (*drop)(void *data); /* what becomes of the data of one that is forgotten, or NULL */
};

/* The function of this name, which counts as used now. NULL: it is not known. Pointers to functions
 * are good until the table is used again. */
struct pc_known_function *pc_known_use(struct pc_known *known, const uint8_t *name);
/* The same, but it does not count. */
struct pc_known_function *pc_known_find(const struct pc_known *known, const uint8_t *name);
/* Adds one that is not known and not larger than PC_FUNCTION_MAX; forgets others to make room.
 * NULL: out of memory. */
struct pc_known_function *pc_known_add(struct pc_known *known, const uint8_t *name, uint64_t size,
                                       void *data);
/* Forgets everything. */
void pc_known_fini(struct pc_known *known);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pickles and message parts. Large buffers of arguments are used where they arrived; large buffers
 * of results are sent from where they are.
 */
#ifndef PC_ENGINE_PACK_H
#define PC_ENGINE_PACK_H

#include "engine/py.h"

#include "lib/msg.h"

void eng_pack_init(void); /* call once */

/* The value in part `index`, whose buffers are all parts that follow. A new reference, or NULL
 * with an exception. */
PyObject *eng_unpack(struct pc_msg *msg, uint16_t index);
/* The same of one part that has no buffers. */
PyObject *eng_unpack_alone(const struct pc_part *part);

/* The parts from `first` on as a new list of writable memoryviews, which keep the message; or NULL
 * with an exception. */
PyObject *eng_list_parts(struct pc_msg *msg, uint16_t first);

/* A pickled value. */
struct eng_packed {
    PyObject *pickle;  /* bytes */
    PyObject *buffers; /* list of PickleBuffer, or NULL */
};

/* -1 with an exception that names the type. */
int eng_pack(PyObject *value, struct eng_packed *packed);
void eng_packed_clear(struct eng_packed *packed);

/*
 * A message with these parts; takes over the contents of `packed`. *owner is set to what must stay
 * alive as long as the message does, NULL when the message has copies. NULL with an exception.
 */
struct pc_msg *eng_packed_msg(uint8_t type, const void *body, size_t body_size,
                              struct eng_packed *packed, PyObject **owner);

#endif

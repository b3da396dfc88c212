/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests without pickle, and their results: see pcluster_plain.py. */
#ifndef PC_ENGINE_PLAIN_H
#define PC_ENGINE_PLAIN_H

#include "engine/pack.h"

#include "lib/proto_task.h"

void eng_plain_init(void); /* call once */

/* Whether a request is one of them. */
bool eng_plain_is(const struct pc_run_body *what);
/* A new reference to its value, or NULL with an exception. */
PyObject *eng_plain_run(struct pc_msg *run, const struct pc_run_body *what);
/* The value in a form that `run_flags` allows. -1 with an exception that names the type. */
int eng_plain_pack(PyObject *value, unsigned run_flags, struct eng_packed *packed);

#endif

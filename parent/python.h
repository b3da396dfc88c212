/* SPDX-License-Identifier: BSD-3-Clause */
/* Which Python the engines take their packages and sys.executable from. */
#ifndef PC_PARENT_PYTHON_H
#define PC_PARENT_PYTHON_H

#include <stddef.h>

#include "lib/err.h"

/*
 * In this order: `option` (--python: an interpreter, or the folder of a virtual environment), the
 * virtual environment that pcluster itself is installed in (as pip does), $VIRTUAL_ENV. Without any
 * `path` becomes "": what pcluster was built with. Otherwise the interpreter is run once and must
 * have the minor version that the engines embed.
 */
int parent_choose_python(const char *option, char *path, size_t size, struct pc_err *err);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "engine/plain.h"

static PyObject *runs[PC_KIND_CLEAR], *pack; /* of pcluster_plain */

void eng_plain_init(void)
{
    runs[PC_KIND_APPLY] = eng_py_ours("pcluster_plain", "apply");
    runs[PC_KIND_EXECUTE] = eng_py_ours("pcluster_plain", "execute");
    runs[PC_KIND_PUSH] = eng_py_ours("pcluster_plain", "push");
    runs[PC_KIND_PULL] = eng_py_ours("pcluster_plain", "pull");
    pack = eng_py_ours("pcluster_plain", "pack");
}

bool eng_plain_is(const struct pc_run_body *what)
{
    if (what->kind == PC_KIND_CLEAR || what->function) /* a pickle, as what comes with it */
        return false;
    if (what->kind == PC_KIND_EXECUTE && what->run_flags & PC_RUN_SILENT) /* no value */
        return false;
    return what->run_flags & (PC_RUN_JSON | PC_RUN_BYTES);
}

PyObject *eng_plain_run(struct pc_msg *run, const struct pc_run_body *what)
{
    PyObject *parts = eng_list_parts(run, 0);
    PyObject *value = parts ? PyObject_CallOneArg(runs[what->kind], parts) : NULL;
    Py_XDECREF(parts);
    return value;
}

int eng_plain_pack(PyObject *value, unsigned run_flags, struct eng_packed *packed)
{
    *packed = (struct eng_packed){0};
    PyObject *flags = PyLong_FromUnsignedLong(run_flags);
    PyObject *both = flags ? PyObject_CallFunctionObjArgs(pack, value, flags, NULL) : NULL;
    Py_XDECREF(flags);
    if (!both)
        return -1;
    packed->pickle = Py_NewRef(PyTuple_GET_ITEM(both, 0));
    if (PyTuple_GET_ITEM(both, 1) != Py_None)
        packed->buffers = Py_NewRef(PyTuple_GET_ITEM(both, 1));
    Py_DECREF(both);
    return 0;
}

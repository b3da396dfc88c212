# SPDX-License-Identifier: BSD-3-Clause
"""Requests without pickle, for programs that are not Python: values are JSON text or bytes.

Each kind of task gets the parts of its request as memoryviews. See doc/PROTOCOL.md, section 7.
"""

import builtins
import sys
from pickle import PickleBuffer

import pcluster_run
from pcluster_load import namespace

_JSON, _BYTES = 2, 4  # PC_RUN_JSON, PC_RUN_BYTES
_ITEMS_MAX = 4095  # the parts of a message but one
_BYTES_LIKE = (bytes, bytearray, memoryview)

_encode = _decode = None  # of the module json, which an engine imports when it needs it


def _to_plain(value):
    """What JSON has no form for: arrays and numbers of numpy, and of the module array."""
    tolist = getattr(value, "tolist", None)
    if tolist is None or isinstance(value, _BYTES_LIKE):
        raise TypeError(f"a value of type '{type(value).__name__}' can't be sent as JSON")
    return tolist()


def _load_json():
    global _encode, _decode
    import json
    _encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_to_plain).encode
    _decode = json.loads


def _parse(part, what):
    if _decode is None:
        _load_json()
    try:
        return _decode(bytes(part))
    except ValueError as error:
        raise ValueError(f"{what} are no JSON: {error}") from None


# ---- the kinds of task ------------------------------------------------------------------


def _find(name):
    """The object that "module:name.name" or, of the engine's namespace, "name.name" means."""
    module, colon, path = name.rpartition(":")
    first, *rest = path.split(".")
    if colon:
        __import__(module)
        found = getattr(sys.modules[module], first)
    elif first in namespace:
        found = namespace[first]
    elif hasattr(builtins, first):
        found = getattr(builtins, first)
    else:
        raise NameError(f"the engine has no '{first}'; a function of a module is written 'module:function'")
    for attribute in rest:
        found = getattr(found, attribute)
    return found


def apply(parts):
    """Name of the function; JSON of its arguments, or nothing; further arguments as bytes."""
    function = _find(str(parts[0], "utf-8"))
    arguments = _parse(parts[1], "the arguments") if len(parts[1]) else []
    if isinstance(arguments, dict):
        return function(*map(bytes, parts[2:]), **arguments)
    if not isinstance(arguments, list):
        raise TypeError("the arguments must be a JSON array or, by name, a JSON object")
    return function(*arguments, *map(bytes, parts[2:]))


def execute(parts):
    """Source text; its value is that of the last statement, if it is an expression."""
    return pcluster_run.evaluate(str(parts[0], "utf-8"))


def push(parts):
    """A JSON object of values; or a name, or an array of them, and as many parts of bytes."""
    values = _parse(parts[0], "the values to push")
    if isinstance(values, str):
        values = [values]
    if isinstance(values, list):
        if len(values) != len(parts) - 1:
            raise ValueError(f"{len(values)} names to push to, but {len(parts) - 1} values")
        values = dict(zip(values, map(bytes, parts[1:])))
    elif not isinstance(values, dict) or len(parts) > 1:
        raise TypeError("what is pushed must be a JSON object, or names with a value of bytes each")
    pcluster_run.push(values)


def pull(parts):
    """A JSON string or array of strings: expressions."""
    wanted = _parse(parts[0], "the names to pull")
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("names to pull must be a JSON string or an array of strings")
    return pcluster_run.pull(wanted)


# ---- results ----------------------------------------------------------------------------


def _are_bytes(value):
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and all(isinstance(item, _BYTES_LIKE) for item in value)
    return isinstance(value, _BYTES_LIKE)


def _buffer(value):
    if isinstance(value, str):
        value = value.encode()
    try:
        view = memoryview(value)
    except TypeError:
        raise TypeError(f"a value of type '{type(value).__name__}' can't be sent as bytes") from None
    return PickleBuffer(value if view.c_contiguous else view.tobytes())


def _to_json(value):
    if value is None:
        return b"null"
    if _encode is None:
        _load_json()
    text = _encode(value)
    try:
        return text.encode()
    except UnicodeEncodeError:  # lone surrogates, which only an escape can stand for
        return text.encode("utf-8", "backslashreplace")


def pack(value, flags):
    """(JSON text, None), or (nothing, buffers) when it goes as bytes."""
    if flags & _BYTES and not (flags & _JSON and not _are_bytes(value)):
        items = value if isinstance(value, (list, tuple)) else (value,)
        if len(items) > _ITEMS_MAX:
            raise ValueError(f"{len(items)} values of bytes; at most {_ITEMS_MAX} can be sent at once")
        return b"", [_buffer(item) for item in items]
    return _to_json(value), None

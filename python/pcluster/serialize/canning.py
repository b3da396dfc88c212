# SPDX-License-Identifier: BSD-3-Clause
"""Objects as lists of buffers, for programs that keep or send them themselves.

Views don't need this: they do the same on the way. The first buffer of an object is a pickle with
the number of buffers that follow at its end, where pickle does not look.
"""

from __future__ import annotations

import functools
import io
import pickle
import struct
import sys
from types import FunctionType
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import picklers
from .arguments import BUFFERS_MAX, dumps
from .buffers import find_large
from .picklers import can_map, find, uncan_map
from .reference import PrePickled, Reference

__all__ = [
    "PrePickled",
    "Reference",
    "can",
    "can_map",
    "deserialize_object",
    "pack_apply_message",
    "serialize_object",
    "uncan",
    "uncan_map",
    "unpack_apply_message",
]

#: Defaults of serialize_object().
BUFFER_THRESHOLD = 1024
ITEM_THRESHOLD = 64

_COUNT = struct.Struct("<I")


def can(obj: Any) -> Any:
    """What is pickled instead of an object: see can_map.

    Args:
        obj: lists, tuples, sets and dicts are searched

    Returns:
        What can_map makes of it; `obj` itself where that says nothing.
    """
    canner = find(can_map, type(obj))
    return _rebuilt(obj, can) if canner is None else canner(obj)


def uncan(obj: Any, g: Optional[Dict[str, Any]] = None) -> Any:
    """The opposite of can().

    Args:
        obj: what can() has made
        g: a namespace, handed to the functions of uncan_map

    Returns:
        What uncan_map makes of it; `obj` itself where that says nothing.
    """
    uncanner = find(uncan_map, type(obj))
    return _rebuilt(obj, lambda item: uncan(item, g)) if uncanner is None else uncanner(obj, g)


def _rebuilt(obj: Any, change: Any) -> Any:
    """A container with changed items; the same object when nothing has changed."""
    kind = type(obj)
    if kind in (list, tuple, set, frozenset):
        items = [change(item) for item in obj]
        return obj if all(a is b for a, b in zip(items, obj)) else kind(items)
    if kind is dict:
        changed = {key: change(value) for key, value in obj.items()}
        return obj if all(changed[key] is value for key, value in obj.items()) else changed
    return obj


def serialize_object(
    obj: Any, buffer_threshold: int = BUFFER_THRESHOLD, item_threshold: int = ITEM_THRESHOLD
) -> List[Any]:
    """Pickle an object.

    Args:
        obj: anything; what plain pickle can't do goes through the pickler that was chosen
        buffer_threshold: larger bytes, memoryviews and arrays become buffers of their own, uncopied
        item_threshold: bytes in a list, tuple or dict are looked for when it has fewer items; arrays
            are found wherever they are

    Returns:
        A list of bytes and memoryviews; the latter show memory of `obj`.

    Raises:
        CannotPickle: naming the object
    """
    buffers: List[memoryview] = []
    data, _ = dumps(obj, buffers, buffer_threshold, find_large(obj, buffer_threshold, item_threshold - 1))
    return [data + _COUNT.pack(len(buffers)), *buffers]


def deserialize_object(
    bufs: Sequence[Any], g: Optional[Dict[str, Any]] = None
) -> Tuple[Any, List[Any]]:
    """The object that serialize_object() has made buffers of.

    Args:
        bufs: those of the object, and perhaps more
        g: the namespace in which References are looked up, and that functions of `__main__` see as
            their globals; default that of this process's `__main__`

    Returns:
        The object, and the buffers that are not its own.

    Raises:
        ValueError: buffers are missing
    """
    if not bufs or memoryview(bufs[0]).nbytes < _COUNT.size:
        raise ValueError("there is no buffer of an object")
    first = memoryview(bufs[0])
    (count,) = _COUNT.unpack(first[-_COUNT.size :])
    own, rest = list(bufs[1 : 1 + count]), list(bufs[1 + count :])
    if count > BUFFERS_MAX or len(own) < count:
        raise ValueError(f"the object has {count} buffers, only {len(own)} are there")
    if g is None:
        return pickle.loads(first, buffers=own), rest
    return _adopted(_Loader(first, own, g).load(), g), rest


class _Loader(pickle.Unpickler):
    """Looks References up in a given namespace."""

    def __init__(self, data: memoryview, buffers: Sequence[Any], g: Dict[str, Any]) -> None:
        super().__init__(io.BytesIO(data), buffers=buffers)
        self._names = g

    def find_class(self, module: str, name: str) -> Any:
        """As pickle's, but eval() sees our namespace in the place of that of `__main__`."""
        found = super().find_class(module, name)
        return self._evaluate if found is eval else found

    def _evaluate(self, source: str, names: Dict[str, Any]) -> Any:
        return eval(source, self._names if names is vars(sys.modules["__main__"]) else names)


def _adopted(obj: Any, g: Dict[str, Any]) -> Any:
    """A function of `__main__` with `g` as its globals; what it carried goes there where it is missing."""
    if type(obj) is not FunctionType or obj.__module__ != "__main__" or obj.__globals__ is g:
        return obj
    for name, value in obj.__globals__.items():
        g.setdefault(name, value)
    adopted = FunctionType(obj.__code__, g, obj.__name__, obj.__defaults__, obj.__closure__)
    adopted.__kwdefaults__ = obj.__kwdefaults__
    return functools.update_wrapper(adopted, obj)


def pack_apply_message(
    f: Any,
    args: Sequence[Any],
    kwargs: Dict[str, Any],
    buffer_threshold: int = BUFFER_THRESHOLD,
    item_threshold: int = ITEM_THRESHOLD,
) -> List[Any]:
    """A call as a list of buffers.

    Args:
        f: the function
        args: its positional arguments
        kwargs: its keyword arguments
        buffer_threshold, item_threshold: see serialize_object()

    Returns:
        The buffers of the function, then those of its arguments.
    """
    buffers = serialize_object(f, buffer_threshold, item_threshold)
    return buffers + serialize_object((tuple(args), kwargs), buffer_threshold, item_threshold)


def unpack_apply_message(
    bufs: Sequence[Any], g: Optional[Dict[str, Any]] = None, copy: bool = True
) -> Tuple[Any, Tuple[Any, ...], Dict[str, Any]]:
    """The function, args and kwargs of pack_apply_message().

    Args:
        bufs: all of them
        g: see deserialize_object()
        copy: False: arrays use the memory of `bufs`, and are read-only where those are

    Returns:
        The function, args and kwargs.

    Raises:
        ValueError: buffers are missing, or there are more than those of a call
    """
    f, rest = deserialize_object(bufs, g)
    if copy and rest:
        rest = [rest[0], *map(bytearray, rest[1:])]
    (args, kwargs), rest = deserialize_object(rest, g)
    if rest:
        raise ValueError(f"{len(rest)} buffers too many for a call")
    return f, args, kwargs


__all__ = [
    "can",
    "can_map",
    "deserialize_object",
    "pack_apply_message",
    "picklers",
    "serialize_object",
    "uncan",
    "uncan_map",
    "unpack_apply_message",
]

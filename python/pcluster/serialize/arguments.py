# SPDX-License-Identifier: BSD-3-Clause
"""Pickling with large buffers beside the pickle, and by value what can't go by reference.

Plain pickle is tried first: it is several times faster than cloudpickle. What it can't do (lambdas,
closures) and what it would do wrongly (objects of `__main__` by reference, where the engine's
`__main__` is another) goes through cloudpickle.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from ..error import CannotPickle

PROTOCOL = 5

#: Buffers of at least so many bytes travel beside the pickle; for smaller ones a copy is cheaper.
OUT_OF_BAND = 8192
#: The wire takes 4096 parts.
BUFFERS_MAX = 4000
#: bytes, bytearray and memoryview arguments from this size on travel as buffers, too.
LARGE_BYTES = 128 * 1024

Parts = Tuple[Any, ...]

_ATOMS = frozenset({bool, int, float, complex, str, type(None)})
_BYTES: FrozenSet[Any] = frozenset({bytes, bytearray, memoryview})
_NOTHING = pickle.dumps(((), {}), PROTOCOL)


class _Bytes:
    """A large bytes object, bytearray or memoryview, sent as a buffer."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Tuple[Any, ...]:
        return (type(self.value), (pickle.PickleBuffer(self.value),))


def _keep(buffers: List[memoryview], buffer: pickle.PickleBuffer) -> bool:
    """pickle's buffer_callback: true means "put it into the pickle"."""
    raw = buffer.raw()
    if raw.nbytes < OUT_OF_BAND or len(buffers) >= BUFFERS_MAX:
        return True
    buffers.append(raw)
    return False


def _cloudpickle(obj: Any, why: Exception) -> Any:
    try:
        import cloudpickle
    except ImportError:
        raise CannotPickle(
            f"{_describe(obj)} can't go by reference ({why}); sending it by value needs cloudpickle, "
            "which this Python does not have: install python3-cloudpickle, or cloudpickle with pip"
        ) from why
    return cloudpickle


def dumps(obj: Any, buffers: Optional[List[memoryview]] = None) -> Tuple[bytes, bool]:
    """Pickle one object.

    Args:
        obj: what to pickle
        buffers: receives the large buffers that travel beside the pickle; None: none do

    Returns:
        The pickle, and whether it carries code by value.

    Raises:
        CannotPickle: naming the object
    """
    callback = None if buffers is None else functools.partial(_keep, buffers)
    why: Exception
    try:
        data = pickle.dumps(obj, PROTOCOL, buffer_callback=callback)
        if b"__main__" not in data:
            return data, False
        why = pickle.PicklingError("it is defined in __main__")
    except RecursionError:
        raise CannotPickle(f"can't pickle {_describe(obj)}: it is nested too deeply") from None
    except Exception as error:  # __reduce__ of anything may raise anything
        why = error
    if buffers is not None:
        buffers.clear()
    cloudpickle = _cloudpickle(obj, why)
    try:
        data = cloudpickle.dumps(obj, PROTOCOL, buffer_callback=callback)
    except Exception as error:
        raise CannotPickle(f"can't pickle {_describe(obj)}: {error}") from error
    return data, b"_make_function" in data


def _describe(obj: Any) -> str:
    """A short name of an object, for messages."""
    name = getattr(obj, "__qualname__", None)
    if isinstance(name, str):
        return f"{type(obj).__name__} '{name}'"
    try:
        text = repr(obj)
    except Exception:
        return f"an object of type {type(obj).__name__}"
    return text if len(text) <= 80 else f"{text[:60]}... of type {type(obj).__name__}"


def _with_buffers(value: Any) -> Any:
    if type(value) in _BYTES and (type(value) is memoryview or len(value) >= LARGE_BYTES):
        return _Bytes(value)
    return value


def _blame(args: Tuple[Any, ...], kwargs: Dict[str, Any], error: CannotPickle) -> CannotPickle:
    """The same error naming the argument that can't be pickled."""
    for name, value in [*enumerate(args), *kwargs.items()]:
        try:
            dumps(value)
        except CannotPickle as own:
            where = f"argument {name}" if isinstance(name, int) else f"argument '{name}'"
            return CannotPickle(f"{where}: {own}")
    return error


def pack_arguments(args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Tuple[Parts, bool]:
    """The parts of a message that carry `args` and `kwargs`: a pickle, then buffers.

    Returns:
        The parts, and whether they carry code by value.

    Raises:
        CannotPickle: naming the argument
    """
    if not args and not kwargs:
        return (_NOTHING,), False
    if _ATOMS.issuperset(map(type, args)) and _ATOMS.issuperset(map(type, kwargs.values())):
        return (pickle.dumps((args, kwargs), PROTOCOL),), False
    if not _BYTES.isdisjoint(map(type, args)):
        args = tuple(map(_with_buffers, args))
    if not _BYTES.isdisjoint(map(type, kwargs.values())):
        kwargs = {name: _with_buffers(value) for name, value in kwargs.items()}
    buffers: List[memoryview] = []
    try:
        data, by_value = dumps((args, kwargs), buffers)
    except CannotPickle as error:
        raise _blame(args, kwargs, error) from error.__cause__
    return (data, *buffers), by_value


def pack_namespace(namespace: Dict[str, Any]) -> Tuple[Parts, bool]:
    """The parts of a message that carry names and their values. Like pack_arguments."""
    namespace = {name: _with_buffers(value) for name, value in namespace.items()}
    buffers: List[memoryview] = []
    try:
        data, by_value = dumps(namespace, buffers)
    except CannotPickle as error:
        raise _blame((), namespace, error) from error.__cause__
    return (data, *buffers), by_value

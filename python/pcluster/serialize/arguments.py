# SPDX-License-Identifier: BSD-3-Clause
"""Pickling with large buffers beside the pickle, and by value what can't go by reference.

Plain pickle is tried first: it is several times faster than cloudpickle. What it can't do (lambdas,
closures) and what it would do wrongly (objects of `__main__` by reference, where the engine's
`__main__` is another) goes through cloudpickle.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
from types import FunctionType
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from ..error import CannotPickle
from . import picklers
from .buffers import find_large
from .picklers import PROTOCOL

#: Buffers of at least so many bytes travel beside the pickle; for smaller ones a copy is cheaper.
OUT_OF_BAND = 8192
#: The wire takes 4096 parts.
BUFFERS_MAX = 4000

Parts = Tuple[Any, ...]

#: How far, and among how many, is looked for what can't be pickled.
_DEPTH_MAX = 8
_CHILDREN_MAX = 1000

_ATOMS = frozenset({bool, int, float, complex, str, type(None)})
_NOTHING = pickle.dumps(((), {}), PROTOCOL)


def _keep(buffers: List[memoryview], least: int, buffer: pickle.PickleBuffer) -> bool:
    """pickle's buffer_callback: true means "put it into the pickle"."""
    raw = buffer.raw()
    if raw.nbytes < least or len(buffers) >= BUFFERS_MAX:
        return True
    buffers.append(raw)
    return False


def dumps(
    obj: Any,
    buffers: Optional[List[memoryview]] = None,
    least: int = OUT_OF_BAND,
    large: Sequence[Any] = (),
) -> Tuple[bytes, bool]:
    """Pickle one object.

    Args:
        obj: what to pickle
        buffers: receives the large buffers that travel beside the pickle; None: none do
        least: how many bytes a large one has at least
        large: what find_large() has found in `obj`

    Returns:
        The pickle, and whether it carries code by value.

    Raises:
        CannotPickle: naming the object
    """
    callback = None if buffers is None else functools.partial(_keep, buffers, least)
    why: Exception
    try:
        data = picklers.plain(obj, callback, large)
        if b"__main__" not in data or picklers.chosen() == "pickle":
            return data, False
        why = pickle.PicklingError("it is defined in __main__")
    except Exception as error:  # __reduce__ of anything may raise anything
        why = error
    if buffers is not None:
        buffers.clear()
    try:
        return dumps_by_value(obj, why, callback, large)
    finally:
        del why  # its traceback leads to this frame, and from there to everything that is being sent


def dumps_by_value(
    obj: Any, why: Exception, callback: picklers.Callback = None, large: Sequence[Any] = ()
) -> Tuple[bytes, bool]:
    """Pickle what plain pickle can't do.

    Args:
        obj: the object
        why: what plain pickle said
        callback: takes buffers out of band, as pickle's buffer_callback
        large: objects to put first, see buffers.py

    Returns:
        The pickle, and whether it carries code by value.

    Raises:
        CannotPickle: naming the object
    """
    name = picklers.chosen()
    if isinstance(why, RecursionError):
        raise CannotPickle(f"can't pickle {describe(obj)}: it is nested too deeply") from None
    if name == "pickle":
        raise CannotPickle(f"can't pickle {describe(obj)}: {why}{_where(obj)}; use_cloudpickle() may help") from why
    try:
        data = picklers.by_value(obj, callback, large)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise CannotPickle(f"can't pickle {describe(obj)}: {error}") from error
        raise CannotPickle(
            f"{describe(obj)} can't go by reference ({why}); sending it by value needs {name}, "
            f"which this Python does not have: install python3-{name}, or {name} with pip"
        ) from why
    except Exception as error:
        if isinstance(error, RecursionError) or isinstance(error.__cause__, RecursionError):
            raise CannotPickle(f"can't pickle {describe(obj)}: it is nested too deeply") from None
        raise CannotPickle(f"can't pickle {describe(obj)}: {error}{_where(obj)}") from error
    return data, name == "dill" or b"_make_function" in data


# ---- errors -------------------------------------------------------------------------------------


def describe(obj: Any) -> str:
    """A short name of an object, for messages.

    Args:
        obj: anything

    Returns:
        At most about 100 characters.
    """
    name = getattr(obj, "__qualname__", None)
    if isinstance(name, str):
        return f"{type(obj).__name__} '{name}'"
    try:
        text = repr(obj)
    except Exception:
        return f"an object of type {type(obj).__name__}"
    return text if len(text) <= 80 else f"{text[:60]}... of type {type(obj).__name__}"


def _children(obj: Any) -> Iterator[Tuple[str, Any]]:
    """What an object is made of, and how one gets there."""
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{key!r:.40}]", value
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj):
            yield f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield " an item", value
    elif isinstance(obj, FunctionType):
        for name, cell in zip(obj.__code__.co_freevars, obj.__closure__ or ()):
            with contextlib.suppress(ValueError):
                yield f" its variable '{name}'", cell.cell_contents
        for name in obj.__code__.co_names:
            if name in obj.__globals__:
                yield f" its global '{name}'", obj.__globals__[name]
    else:
        for name, value in getattr(obj, "__dict__", {}).items():
            yield f".{name}", value


def _can_go(obj: Any) -> bool:
    for pickler in (picklers.plain, picklers.by_value):
        with contextlib.suppress(Exception):
            pickler(obj, None)
            return True
    return False


def _where(obj: Any) -> str:
    """Which object within `obj` can't be pickled, as the end of a sentence; empty if that is `obj`."""
    path = ""
    for _ in range(_DEPTH_MAX):
        for step, child in itertools.islice(_children(obj), _CHILDREN_MAX):
            if not _can_go(child):
                path, obj = path + step, child
                break
        else:
            break
    return f" (it is{path if path.startswith(' ') else ' at ' + path})" if path else ""


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

    Args:
        args: positional arguments
        kwargs: keyword arguments

    Returns:
        The parts, and whether they carry code by value.

    Raises:
        CannotPickle: naming the argument
    """
    if not args and not kwargs:
        return (_NOTHING,), False
    if _ATOMS.issuperset(map(type, args)) and _ATOMS.issuperset(map(type, kwargs.values())):
        return (pickle.dumps((args, kwargs), PROTOCOL),), False
    buffers: List[memoryview] = []
    try:
        data, by_value = dumps((args, kwargs), buffers, large=find_large((args, kwargs)))
    except CannotPickle as error:
        raise _blame(args, kwargs, error) from error.__cause__
    return (data, *buffers), by_value


def pack_namespace(namespace: Dict[str, Any]) -> Tuple[Parts, bool]:
    """The parts of a message that carry names and their values: a pickle, then buffers.

    Args:
        namespace: values by name

    Returns:
        The parts, and whether they carry code by value.

    Raises:
        CannotPickle: naming the value
    """
    buffers: List[memoryview] = []
    try:
        data, by_value = dumps(namespace, buffers, large=find_large(namespace))
    except CannotPickle as error:
        raise _blame((), namespace, error) from error.__cause__
    return (data, *buffers), by_value

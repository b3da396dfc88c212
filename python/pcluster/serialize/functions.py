# SPDX-License-Identifier: BSD-3-Clause
"""The cache of pickled callables.

Pickling a lambda takes longer than the whole rest of a call, so pickles are kept, together with
what they depend on: the function's code, defaults, cells and the globals that its code names, also
those of functions it refers to. Before a pickle is used again all of that must still be the very
same objects. Values that can change without becoming another object (a list, an instance) can't be
watched that way: a function that refers to one is pickled anew for each call.
"""

from __future__ import annotations

import pickle
import sys
import threading
from collections import OrderedDict
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Callable, Dict, List, NamedTuple, Tuple, Union

from .. import _client
from . import picklers
from .arguments import dumps, dumps_by_value
from .picklers import global_names
from .plainfunctions import dumps_plain, is_importable
from .reference import PrePickled, Reference, call_reference

#: Entries and bytes of pickles that a cache keeps.
ENTRIES_MAX = 1024
BYTES_MAX = 64 * 1024 * 1024
#: Functions that share one code object (closures of one factory): how many pickles to keep.
VARIANTS_MAX = 4
#: Up to so many bytes a pickle goes with each call: naming it would cost as much.
INLINE_MAX = 128
#: A larger pickle has no name (PC_FUNCTION_BYTES_MAX of the library), so it goes with each call, too.
NAMED_MAX = 8 * 1024 * 1024

_MISSING = object()
_EMPTY = object()
_IMMUTABLE = frozenset(
    {bool, int, float, complex, str, bytes, range, type(None), type(Ellipsis), type(NotImplemented)}
)


class Pickled(NamedTuple):
    """A pickled callable: its bytes, or what makes them travel only once."""

    data: Union[bytes, _client.Function]
    by_value: bool


def pickled(f: Any) -> Pickled:
    """Pickle a callable.

    Args:
        f: the callable

    Returns:
        What travels.

    Raises:
        CannotPickle: naming it
    """
    return travelling(*dumps(f))


_NOT_IMPORTABLE = pickle.PicklingError("it can't be imported")


def _pickled_function(f: FunctionType) -> Pickled:
    """pickled() of a function that can't be imported: plain pickle need not try."""
    if picklers.chosen() == "pickle":
        return pickled(f)
    return travelling(*dumps_by_value(f, _NOT_IMPORTABLE))


def travelling(data: bytes, by_value: bool) -> Pickled:
    """A pickle that exists already, as a callable.

    Args:
        data: the pickle
        by_value: whether it carries code

    Returns:
        What travels: a name that engines ask for, or the pickle itself where it is very small or large.
    """
    if INLINE_MAX < len(data) <= NAMED_MAX:
        return Pickled(_client.Function(data), by_value)
    return Pickled(data, by_value)


def _cell_value(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _EMPTY


class _Watch:
    """One function by value, as it was when it was pickled."""

    __slots__ = ("code", "defaults", "kwdefaults", "cells", "globals", "names", "qualname")

    def __init__(self, f: FunctionType) -> None:
        self.code = f.__code__
        self.defaults = f.__defaults__
        self.kwdefaults = tuple((f.__kwdefaults__ or {}).items())
        self.cells = tuple(map(_cell_value, f.__closure__ or ()))
        self.globals = known = f.__globals__
        self.names = [(name, known.get(name, _MISSING)) for name in global_names(f.__code__)]
        self.qualname = f.__qualname__

    def values(self) -> List[Any]:
        """Everything that the function refers to."""
        found: List[Any] = list(self.defaults or ())
        found += [value for _, value in self.kwdefaults]
        found += [value for value in self.cells if value is not _EMPTY]
        found += [value for _, value in self.names if value is not _MISSING]
        return found

    def fits(self, f: FunctionType) -> bool:
        """Whether pickling `f` would give the same as it did for the watched function."""
        if (
            f.__code__ is not self.code
            or f.__defaults__ is not self.defaults
            or f.__globals__ is not self.globals
            or f.__qualname__ != self.qualname
            or f.__dict__
        ):
            return False
        known = self.globals
        for name, value in self.names:
            if known.get(name, _MISSING) is not value:
                return False
        if self.cells:
            for cell, value in zip(f.__closure__ or (), self.cells):
                if _cell_value(cell) is not value:
                    return False
        if self.kwdefaults or f.__kwdefaults__:
            now = tuple((f.__kwdefaults__ or {}).items())
            if len(now) != len(self.kwdefaults):
                return False
            return all(a[0] == b[0] and a[1] is b[1] for a, b in zip(now, self.kwdefaults))
        return True


class _Entry:
    """A pickled function by value and what must not have changed."""

    __slots__ = ("pickled", "watch", "others")

    def __init__(self, pickled: Pickled, watch: _Watch, others: List[Tuple[FunctionType, _Watch]]):
        self.pickled = pickled
        self.watch = watch
        self.others = others

    def fits(self, f: FunctionType) -> bool:
        if not self.watch.fits(f):
            return False
        for other, watch in self.others:
            if not watch.fits(other):
                return False
        return True


def _can_watch(value: Any, others: Dict[int, Tuple[FunctionType, _Watch]]) -> bool:
    """Whether `value` stays the same as long as it is the same object. Functions by value that it
    leads to are added to `others`."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return True
    if kind is tuple or kind is frozenset:
        return all(_can_watch(item, others) for item in value)
    if kind is ModuleType:
        return sys.modules.get(value.__name__) is value
    if kind is BuiltinFunctionType:
        return value.__self__ is None or type(value.__self__) is ModuleType
    if kind is FunctionType:
        if id(value) in others or is_importable(value):
            return True
        if value.__dict__:
            return False
        watch = _Watch(value)
        others[id(value)] = (value, watch)
        return all(_can_watch(item, others) for item in watch.values())
    return isinstance(value, type) and is_importable(value)


class FunctionCache:
    """Pickles of callables. May be used by several threads."""

    def __init__(self) -> None:
        self._by_code: "OrderedDict[int, List[_Entry]]" = OrderedDict()
        self._by_identity: "OrderedDict[int, Tuple[Any, Pickled]]" = OrderedDict()
        self._bytes = 0
        self._generation = picklers.generation
        self._lock = threading.Lock()

    def pickled(self, f: Callable[..., Any]) -> Pickled:
        """Pickle a callable, unless the cache has a pickle that is still right.

        Args:
            f: the callable

        Returns:
            What travels.

        Raises:
            CannotPickle: naming the callable
        """
        if self._generation != picklers.generation:
            self._forget()
        known = self._by_identity.get(id(f))
        if known is not None:
            return known[1]
        if type(f) is FunctionType:
            for entry in self._by_code.get(id(f.__code__), ()):
                if entry.fits(f):
                    return entry.pickled
            return self._pickle_function(f)
        if isinstance(f, PrePickled):
            return travelling(f.data, f.by_value)
        if isinstance(f, Reference):
            return pickled(call_reference(f))
        made = pickled(f)
        if _can_watch(f, {}):
            self._keep_identity(f, made)
        return made

    def _pickle_function(self, f: FunctionType) -> Pickled:
        if is_importable(f):
            made = pickled(f)
            self._keep_identity(f, made)
            return made
        # Watched before pickling: a change meanwhile shows afterwards.
        watch = _Watch(f)
        others: Dict[int, Tuple[FunctionType, _Watch]] = {}
        if f.__dict__ or not all(_can_watch(value, others) for value in watch.values()):
            return _pickled_function(f)
        plain = None if others else dumps_plain(f)  # one that refers to itself is among them
        made = _pickled_function(f) if plain is None else travelling(plain, True)
        self._keep(f, _Entry(made, watch, list(others.values())))
        return made

    def _keep_identity(self, f: Any, made: Pickled) -> None:
        with self._lock:
            self._make_room(len(made.data))
            self._by_identity[id(f)] = (f, made)

    def _keep(self, f: FunctionType, entry: _Entry) -> None:
        with self._lock:
            self._make_room(len(entry.pickled.data))
            entries = self._by_code.get(id(f.__code__))
            if entries is None:
                self._by_code[id(f.__code__)] = [entry]
                return
            for old in entries[VARIANTS_MAX - 1 :]:
                self._bytes -= len(old.pickled.data)
            # A new list: other threads may be looking through the old one.
            self._by_code[id(f.__code__)] = [entry, *entries[: VARIANTS_MAX - 1]]

    def _make_room(self, size: int) -> None:
        """Drop the oldest until one more pickle fits."""
        self._bytes += size
        while self._by_code and (len(self._by_code) >= ENTRIES_MAX or self._bytes > BYTES_MAX):
            for entry in self._by_code.popitem(last=False)[1]:
                self._bytes -= len(entry.pickled.data)
        while self._by_identity and (len(self._by_identity) >= ENTRIES_MAX or self._bytes > BYTES_MAX):
            _, (_, old) = self._by_identity.popitem(last=False)
            self._bytes -= len(old.data)

    def _forget(self) -> None:
        """Another pickler was chosen."""
        with self._lock:
            self._by_code, self._by_identity, self._bytes = OrderedDict(), OrderedDict(), 0
            self._generation = picklers.generation

    def __len__(self) -> int:
        return len(self._by_code) + len(self._by_identity)

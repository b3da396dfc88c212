# SPDX-License-Identifier: BSD-3-Clause
"""Which pickler does what plain pickle can't, and what is rewritten before pickling.

Plain pickle always comes first, because it is the fastest. What it can't do, or would do wrongly,
goes by value through cloudpickle, or through dill, or not at all: that is what `use_cloudpickle`,
`use_dill` and `use_pickle` choose, for all clients of this process.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections import ChainMap
from opcode import opmap
from types import CodeType, FunctionType
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from .. import _client
from .buffers import send_first
from .reference import Expression

PROTOCOL = 5

Callback = Optional[Callable[[pickle.PickleBuffer], bool]]
Mapping = Dict[Union[type, str], Callable[..., Any]]

#: {type, or its name 'module.Type': f(obj)}: what is pickled instead of objects of this type. On an
#: engine it is the engine's own, and what results go through.
can_map: Mapping = getattr(sys.modules.get("pcluster_load"), "can_map", {})
#: {type, or its name 'module.Type': f(obj, namespace)}: what an object of this type that a function
#: of can_map has made becomes where it arrives. Has to be set there.
uncan_map: Mapping = {}

#: 'cloudpickle', 'dill' or 'pickle'
_name = "cloudpickle"
#: Grows when pickles made before should be made anew.
generation = 0

# Whoever has set uncan_map has loaded us; where nobody has, the object arrives as it was sent.
_UNCAN = Expression(
    "lambda: lambda obj: getattr(__import__('sys').modules.get('pcluster.serialize'), 'uncan', "
    "lambda obj, names: obj)(obj, vars(__import__('__mai' 'n__')))"
)


def find(mapping: Mapping, kind: type) -> Optional[Callable[..., Any]]:
    """What a mapping says about a type.

    Args:
        mapping: by type or by the type's full name
        kind: the type

    Returns:
        The function, or None.
    """
    found = mapping.get(kind)
    return found if found is not None else mapping.get(f"{kind.__module__}.{kind.__qualname__}")


class _Canning:
    """Part of a pickler: rewrites what can_map names, at any depth."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._canned: List[Any] = []

    def reducer_override(self, obj: Any) -> Any:
        """Called by pickle for everything that is no plain data."""
        canner = find(can_map, type(obj))
        if canner is None or any(obj is one for one in self._canned):
            inherited = getattr(super(), "reducer_override", None)
            return NotImplemented if inherited is None else inherited(obj)
        canned = canner(obj)
        self._canned.append(canned)  # it may be of the same type, and must live until the end
        return (_UNCAN, (canned,))


@functools.lru_cache
def canning(kind: Any) -> Any:
    """A pickler that rewrites what can_map names.

    Args:
        kind: class of pickler

    Returns:
        A subclass of it.
    """
    return type("_Canning", (_Canning, kind), {})


def _dump_with(kind: Any, obj: Any, callback: Callback, large: Sequence[Any]) -> bytes:
    file = io.BytesIO()
    pickler = (canning(kind) if can_map else kind)(file, PROTOCOL, buffer_callback=callback)
    if large:
        send_first(pickler, file, large)
    pickler.dump(obj)
    return file.getvalue()


def plain(obj: Any, callback: Callback, large: Sequence[Any] = ()) -> bytes:
    """Pickle with pickle itself.

    Args:
        obj: the object
        callback: takes buffers out of band, as pickle's buffer_callback
        large: objects to put first, see buffers.py

    Returns:
        The pickle. Raises what pickle raises.
    """
    if can_map or large:
        return _dump_with(pickle.Pickler, obj, callback, large)
    return pickle.dumps(obj, PROTOCOL, buffer_callback=callback)


def by_value(obj: Any, callback: Callback, large: Sequence[Any] = ()) -> bytes:
    """Pickle with the pickler that was chosen.

    Args:
        obj: the object
        callback: takes buffers out of band, as pickle's buffer_callback
        large: objects to put first, see buffers.py

    Returns:
        The pickle. Raises what the pickler raises, and ImportError when it is not there.
    """
    if _name == "dill":
        import dill

        if can_map or large:
            return _dump_with(dill.Pickler, obj, callback, large)
        return dill.dumps(obj, PROTOCOL, buffer_callback=callback)  # type: ignore[no-any-return]
    kind = _cloud or _load_cloudpickle()
    if type(obj) is FunctionType and _cloud_names is not None:
        global_names(obj.__code__)
    return _dump_with(kind, obj, callback, large)


def _reduce_cached(function: Any) -> Any:
    """What functools.lru_cache() has made, with an empty cache; cloudpickle writes its name only."""
    from .plainfunctions import is_importable

    if is_importable(function):
        return function.__reduce__()
    asked = function.cache_parameters()
    made_of = (function.__wrapped__, asked["maxsize"], asked["typed"], type(function.cache_info()))
    state = {name: value for name, value in vars(function).items() if name != "cache_parameters"}
    return type(function), made_of, state


# ---- global names -------------------------------------------------------------------------------

#: cloudpickle's class of picklers, as we use it.
_cloud: Any = None
#: cloudpickle's own cache of the same: {code: {name: None}}.
_cloud_names: Any = None

_LOAD, _WIDE = opmap["LOAD_GLOBAL"], opmap["EXTENDED_ARG"]
_GLOBAL_OPS = [bytes([opmap[name]]) for name in ("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL")]
#: From 3.11 on the lowest bit of LOAD_GLOBAL's argument says something else.
_LOAD_SHIFT = 1 if sys.version_info >= (3, 11) else 0


def _load_cloudpickle() -> Any:
    global _cloud, _cloud_names
    import cloudpickle

    try:
        from cloudpickle.cloudpickle import _extract_code_globals_cache as names

        # What we put there must be what it would have put there itself.
        probe = compile("def f(): return lambda: a.b + c", "", "exec").co_consts[0]
        cloudpickle.dumps(FunctionType(probe, {}))
        if names.pop(probe) == global_names(probe):
            _cloud_names = names
    except Exception:  # another version, without it or with something else there
        _cloud_names = None
    own = {type(functools.lru_cache(len)): _reduce_cached}
    table = {"dispatch_table": ChainMap(own, cloudpickle.CloudPickler.dispatch_table)}
    _cloud = type("_CloudPickler", (cloudpickle.CloudPickler,), table)
    return _cloud


def global_names(code: CodeType) -> Dict[str, None]:
    """The global names that some code and the functions within it use, in a dict.

    cloudpickle needs the same, and takes longer for it than for all the rest.

    Args:
        code: of a function

    Returns:
        The names as keys, in the order of their use.
    """
    if _cloud_names is not None:
        known = _cloud_names.get(code)
        if known is not None:
            return known  # type: ignore[no-any-return]
    found: Dict[str, None] = _own_names(code) if code.co_names else {}
    for const in code.co_consts:
        if isinstance(const, CodeType):
            found.update(global_names(const))
    if _cloud_names is not None:
        _cloud_names[code] = found
    return found


def _own_names(code: CodeType) -> Dict[str, None]:
    raw = code.co_code
    ops, arguments = raw[::2], raw[1::2]
    found: Dict[int, str] = {}
    for op in _GLOBAL_OPS:
        at = ops.find(op)
        while at >= 0:
            number, before, shift = arguments[at], at - 1, 8
            while before >= 0 and ops[before] == _WIDE:
                number |= arguments[before] << shift
                before, shift = before - 1, shift + 8
            found[at] = code.co_names[number >> _LOAD_SHIFT if op[0] == _LOAD else number]
            at = ops.find(op, at + 1)
    return {found[at]: None for at in sorted(found)}


def chosen() -> str:
    """The name of the pickler that was chosen."""
    return _name


def _use(name: str, loads: Callable[..., Any]) -> None:
    global _name, generation
    _name = name
    generation += 1
    _client.set_loads(loads)


def use_cloudpickle() -> None:
    """What plain pickle can't do goes through cloudpickle: the default.

    Raises:
        ImportError: this Python has no cloudpickle
    """
    import cloudpickle  # noqa: F401

    _use("cloudpickle", pickle.loads)


def use_dill() -> None:
    """What plain pickle can't do goes through dill.

    Raises:
        ImportError: this Python has no dill
    """
    import dill

    _use("dill", dill.loads)


def use_pickle() -> None:
    """Only plain pickle: what it can't do is an error, and what is defined in `__main__` is looked up
    in the engine's namespace."""
    _use("pickle", pickle.loads)

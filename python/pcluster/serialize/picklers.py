# SPDX-License-Identifier: BSD-3-Clause
"""Which pickler does what plain pickle can't, and what is rewritten before pickling.

Plain pickle always comes first, because it is the fastest. What it can't do, or would do wrongly,
goes by value through cloudpickle, or through dill, or not at all: that is what `use_cloudpickle`,
`use_dill` and `use_pickle` choose, for all clients of this process.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Callable, Dict, List, Optional, Union

from .. import _client
from .reference import Expression

PROTOCOL = 5

Callback = Optional[Callable[[pickle.PickleBuffer], bool]]
Mapping = Dict[Union[type, str], Callable[..., Any]]

#: {type, or its name 'module.Type': f(obj)}: what is pickled instead of objects of this type.
can_map: Mapping = {}
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
    """What a mapping says about a type."""
    found = mapping.get(kind)
    return found if found is not None else mapping.get(f"{kind.__module__}.{kind.__qualname__}")


class _Canning:
    """Part of a pickler: rewrites what can_map names, at any depth."""

    _canned: List[Any]

    def reducer_override(self, obj: Any) -> Any:
        """Called by pickle for everything that is no plain data."""
        canner = find(can_map, type(obj))
        if canner is None or any(obj is one for one in self._canned):
            inherited = getattr(super(), "reducer_override", None)
            return NotImplemented if inherited is None else inherited(obj)
        canned = canner(obj)
        self._canned.append(canned)  # it may be of the same type, and must live until the end
        return (_UNCAN, (canned,))


class _PlainCanning(_Canning, pickle.Pickler):
    pass


def _dump_with(kind: Any, obj: Any, callback: Callback) -> bytes:
    file = io.BytesIO()
    pickler = kind(file, PROTOCOL, buffer_callback=callback)
    pickler._canned = []
    pickler.dump(obj)
    return file.getvalue()


def plain(obj: Any, callback: Callback) -> bytes:
    """With pickle itself."""
    if can_map:
        return _dump_with(_PlainCanning, obj, callback)
    return pickle.dumps(obj, PROTOCOL, buffer_callback=callback)


def by_value(obj: Any, callback: Callback) -> bytes:
    """With the pickler that was chosen. ImportError: it is not there."""
    if _name == "dill":
        import dill

        return dill.dumps(obj, PROTOCOL, buffer_callback=callback)  # type: ignore[no-any-return]
    import cloudpickle

    if can_map:
        return _dump_with(type("_CloudCanning", (_Canning, cloudpickle.CloudPickler), {}), obj, callback)
    return cloudpickle.dumps(obj, PROTOCOL, buffer_callback=callback)  # type: ignore[no-any-return]


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

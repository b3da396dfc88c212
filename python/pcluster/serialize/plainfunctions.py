# SPDX-License-Identifier: BSD-3-Clause
"""Functions by value that need no cloudpickle: those that refer to nothing but constants, and to
modules, functions and classes that engines can import.

Most lambdas and functions of scripts are of this kind, and cloudpickle needs longer for one than
everything else in its call together. Both ends run the same version of Python (the client sees to
that before it sends any code), so the code travels as marshal writes it, and with it what
cloudpickle would send, too: name, defaults, cells, and the globals that the code names. What arrives
is made by `sent_function` in engine/pcluster_load.py. Anything unusual is left to cloudpickle.
"""

from __future__ import annotations

import marshal
import pickle
import sys
from types import FunctionType, ModuleType
from typing import Any, Dict, Optional

from . import picklers

#: What follows is a tuple of arguments, and R calls the function with them.
_HEAD = b"\x80\x05cpcluster_load\nsent_function\n"
_CALL = b"R."
_TEXT = frozenset({str, type(None)})
#: What the globals of a module's function begin with.
_MODULE_NAMES = ("__package__", "__name__", "__path__", "__file__")


def is_importable(obj: Any) -> bool:
    """Whether engines can have an object by importing it.

    Args:
        obj: a function or class

    Returns:
        True when it is found by its names, and its module is not `__main__`.
    """
    module = getattr(obj, "__module__", None)
    found: Any = sys.modules.get(module) if isinstance(module, str) else None
    if found is None or module == "__main__":
        return False
    for name in obj.__qualname__.split("."):
        found = getattr(found, name, None)
        if found is None:
            return False
    return found is obj


def _is_module_of_one_file(value: Any) -> bool:
    """A package may have submodules in use, which cloudpickle looks for."""
    return type(value) is ModuleType and not hasattr(value, "__path__")


def _has_modules_by_value() -> bool:
    """Whether the user has told cloudpickle to send some modules by value."""
    cloud = sys.modules.get("cloudpickle")
    return bool(getattr(cloud, "list_registry_pickle_by_value", tuple)())


def _is_usual(f: FunctionType) -> bool:
    """Whether what only describes a function is text and importable classes."""
    for note in f.__annotations__.values():
        if type(note) is not str and not (isinstance(note, type) and is_importable(note)):
            return False
    return (
        not f.__dict__
        and type(f.__doc__) in _TEXT
        and type(f.__module__) in _TEXT
        and not getattr(f, "__type_params__", ())
    )


def dumps_plain(f: FunctionType) -> Optional[bytes]:
    """Pickle a function that refers to constants and to what can be imported only.

    Args:
        f: the function; what it refers to (defaults, cells, globals) is of this kind already

    Returns:
        The pickle, or None when it is better left to cloudpickle.
    """
    if picklers.chosen() != "cloudpickle" or picklers.can_map or not _is_usual(f) or _has_modules_by_value():
        return None
    known = f.__globals__
    carried: Dict[str, Any] = {}
    modules: Dict[str, str] = {}
    for name in picklers.global_names(f.__code__):
        value = known.get(name, modules)
        if value is modules:
            continue
        if _is_module_of_one_file(value):
            modules[name] = value.__name__
        else:
            carried[name] = value
    base = None
    if known.get("__name__") != "__main__":
        base = {name: known[name] for name in _MODULE_NAMES if name in known}
    try:
        cells = tuple(cell.cell_contents for cell in f.__closure__ or ())
        fields = (
            marshal.dumps(f.__code__), base, f.__name__, f.__qualname__, f.__module__, f.__doc__, f.__defaults__,
            f.__kwdefaults__, f.__annotations__, cells, carried, modules,
        )
        return _HEAD + pickle.dumps(fields, picklers.PROTOCOL)[2:-1] + _CALL
    except Exception:  # an empty cell, a constant that marshal does not know, an annotation of __main__
        return None

# SPDX-License-Identifier: BSD-3-Clause
"""Functions that run only where something is given: `depend` on a condition, `require` modules."""

from __future__ import annotations

import functools
import keyword
from types import FunctionType, ModuleType
from typing import Any, Callable, Dict, List, Tuple

from .error import UnmetDependency
from .serialize.reference import Expression
from .util import name_of

# What an engine knows itself, so that the package need not be installed there.
_DEPENDENT = Expression("lambda: __import__('pcluster_run').dependent")
_REQUIRE = Expression("lambda: __import__('pcluster_run').require")


class dependent:
    """A function with a condition, which is looked at first wherever it is called.

    Args:
        f: the function
        df: the condition: a function; when it returns False, or raises UnmetDependency, a
            load-balanced view has the task tried on another engine
        dargs, dkwargs: what the condition is called with
    """

    def __init__(self, f: Callable[..., Any], df: Callable[..., Any], *dargs: Any, **dkwargs: Any) -> None:
        self.f = f
        self.df = df
        self.dargs = dargs
        self.dkwargs = dkwargs
        functools.update_wrapper(self, f, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Look at the condition, then call the function.

        Raises:
            UnmetDependency: the condition is not met here
        """
        if self.df(*self.dargs, **self.dkwargs) is False:
            raise UnmetDependency(f"{name_of(self.df)} says that {name_of(self.f)} can't run here")
        return self.f(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<dependent: {name_of(self.f)} on {name_of(self.df)}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return (_DEPENDENT, (self.f, self.df, self.dargs, self.dkwargs))


def depend(df: Callable[..., Any], *dargs: Any, **dkwargs: Any) -> Callable[[Any], dependent]:
    """Decorator: run the function only where `df(*dargs, **dkwargs)` is not False.

        @depend(lambda: os.path.exists("/data"))
        def work(): ...

    See dependent.

    Args:
        df: runs on the engine before the function; False sends the task to another engine
        *dargs, **dkwargs: its arguments

    Returns:
        A decorator.
    """

    def decorate(f: Callable[..., Any]) -> dependent:
        return dependent(f, df, *dargs, **dkwargs)

    return decorate


class _Require:
    """The condition of require(): brings what is required into the namespace."""

    __name__ = "require"

    def __call__(self, names: List[str], objects: Dict[str, Any]) -> None:
        import __main__

        namespace = vars(__main__)
        for name in names:
            try:
                exec(f"import {name}", namespace)
            except ImportError as error:
                raise UnmetDependency(f"can't import {name}: {error}") from None
        namespace.update(objects)

    def __reduce__(self) -> Tuple[Any, ...]:
        return _REQUIRE.__reduce__()


def _is_name(word: str) -> bool:
    return word.isidentifier() and not keyword.iskeyword(word)


def _import_of(text: str) -> str:
    """What comes after `import` for the name of a module, maybe with `as`."""
    words = text.split()
    is_module = bool(words) and all(map(_is_name, words[0].split(".")))
    if not is_module or not (len(words) == 1 or len(words) == 3 and words[1] == "as" and _is_name(words[2])):
        raise ValueError(
            f"{text!r} is no name of a module: write 'numpy', 'os.path' or 'numpy as np', and several of them as "
            "several arguments; what is in a module goes by itself: require(numpy.sqrt)"
        )
    return " ".join(words)


def require(*modules_or_functions: Any, **objects: Any) -> Callable[[Any], dependent]:
    """Decorator: before each call import modules, and put functions and other objects, into the
    engine's namespace, where the function finds them as its globals.

        @require("numpy", helper, scale=3)
        def work(x): return numpy.sqrt(helper(x)) * scale

    Where a module is missing, a load-balanced view has the task tried on another engine.

    Args:
        modules_or_functions: modules, or their names, also "numpy as np"; functions and classes, which
            get their own name
        objects: anything else, by name

    Returns:
        A decorator.

    Raises:
        TypeError: something that has no name
        ValueError: a str that is no name of a module
    """
    names: List[str] = []
    for thing in modules_or_functions:
        if isinstance(thing, ModuleType):
            names.append(thing.__name__)
        elif isinstance(thing, str):
            names.append(_import_of(thing))
        elif isinstance(thing, (FunctionType, type)) or callable(thing) and hasattr(thing, "__name__"):
            if not _is_name(thing.__name__):
                raise TypeError(f"{thing.__name__} is no name to call a function by; give it one: require(f=...)")
            objects[thing.__name__] = thing
        else:
            raise TypeError(f"require() takes modules, their names, and functions, not {type(thing).__name__}")
    return depend(_Require(), names, objects)

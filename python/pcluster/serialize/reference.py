# SPDX-License-Identifier: BSD-3-Clause
"""Objects that become something else where they arrive.

Their pickles use nothing but builtins, so the receiving side does not need this package.
"""

from __future__ import annotations

import functools
import pickle
from typing import Any, Tuple

# Written so that the pickle does not contain the module's name in one piece: that name in a
# pickle means an object of __main__ by reference, see dumps().
_MAIN_NAMESPACE = "vars(__import__('__mai' 'n__'))"


class _Source:
    """Becomes the value of an expression. Callable, because pickle wants reducers to be."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __reduce__(self) -> Tuple[Any, ...]:
        return (eval, (self.source, {}))

    def __call__(self, *args: Any) -> Any:
        return eval(self.source, {})(*args)


class Expression:
    """Becomes the result of calling the function that `source` stands for.

    Args:
        source: an expression that needs only builtins; its value is called
        args: what it is called with; may be anything that can be pickled
    """

    def __init__(self, source: str, *args: Any) -> None:
        self.source = source
        self.args = args

    def __reduce__(self) -> Tuple[Any, ...]:
        return (_Source(self.source), self.args)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _Source(self.source)(*self.args)(*args, **kwargs)


class Reference:
    """Stands for the value of an expression in the namespace of the engine it arrives at.

    Usable wherever an argument is, also as the function, in `map` and in pushed values. A name
    that the engine doesn't know is a NameError there.

    Args:
        name: the expression

    Raises:
        TypeError: it is not a str
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a Reference is made from a str, not {type(name).__name__}")
        self.name = name

    def __repr__(self) -> str:
        return f"<Reference: {self.name!r}>"

    def __reduce__(self) -> Tuple[Any, ...]:
        return (eval, (self.name, Expression(f"lambda: {_MAIN_NAMESPACE}")))


class PrePickled:
    """An object that is pickled once and sent many times.

    Args:
        obj: what arrives instead of this
    """

    def __init__(self, obj: Any) -> None:
        from .arguments import dumps

        self.obj_name = getattr(obj, "__name__", None) or type(obj).__name__
        self.data, self.by_value = dumps(obj)

    def __reduce__(self) -> Tuple[Any, ...]:
        return (pickle.loads, (pickle.PickleBuffer(self.data),))

    def __repr__(self) -> str:
        return f"<PrePickled: {self.obj_name}>"


def call_reference(reference: Reference) -> "functools.partial[Any]":
    """What to call so that `reference` is looked up anew in each call.

    The reference goes as an argument: a callable may be kept by the engine from call to call.

    Args:
        reference: to a callable

    Returns:
        A callable.
    """
    return functools.partial(CALL, reference)


#: f(g, *args, **kwargs) -> g(*args, **kwargs)
CALL = Expression("lambda: lambda f, *args, **kwargs: f(*args, **kwargs)")

#: What a task with several items of a map calls: f for each of them.
MAP = "lambda f: lambda *sequences: list(map(f, *sequences))"

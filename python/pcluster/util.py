# SPDX-License-Identifier: BSD-3-Clause
"""Small things that users import from here: `interactive`, `utc`."""

from __future__ import annotations

import datetime
import sys
import types
from typing import Any, Callable, Optional, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

utc = datetime.timezone.utc


def interactive(f: F) -> F:
    """Decorator: make `f` look as if it had been defined in the interactive session.

    On an engine its globals are then the engine's namespace. Closures are lost.

    Args:
        f: a function

    Returns:
        A new function with the same code.
    """
    result: Any = f
    if isinstance(f, types.FunctionType):
        main = sys.modules["__main__"].__dict__
        result = types.FunctionType(f.__code__, main, f.__name__, f.__defaults__)
        result.__kwdefaults__ = f.__kwdefaults__
        result.__doc__ = f.__doc__
        result.__qualname__ = f.__qualname__
    result.__module__ = "__main__"
    return result  # type: ignore[no-any-return]


def name_of(f: Any) -> str:
    """The name of a callable, for results and messages.

    Args:
        f: the callable

    Returns:
        Its `__name__`, or that of its class.
    """
    return getattr(f, "__name__", None) or type(f).__name__


def from_microseconds(value: int) -> Optional[datetime.datetime]:
    """A time.

    Args:
        value: microseconds since 1970, UTC; 0: unknown

    Returns:
        An aware datetime in UTC; None when it is unknown.
    """
    if not value:
        return None
    return datetime.datetime(1970, 1, 1, tzinfo=utc) + datetime.timedelta(microseconds=value)

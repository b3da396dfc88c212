# SPDX-License-Identifier: BSD-3-Clause
"""Imports that happen here and on engines."""

from __future__ import annotations

import builtins
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Iterator, List, Set

if TYPE_CHECKING:
    from .asyncresult import AsyncResult
    from .directview import DirectView


def _statement(name: str, fromlist: Any) -> str:
    return f"from {name} import {', '.join(fromlist)}" if fromlist else f"import {name}"


@contextlib.contextmanager
def sync_imports(view: "DirectView", quiet: bool) -> Iterator[None]:
    """See DirectView.sync_imports()."""
    results: List["AsyncResult"] = []
    done: Set[str] = set()
    thread = threading.get_ident()
    original = builtins.__import__
    is_inside = False

    def import_both(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        nonlocal is_inside
        if is_inside or threading.get_ident() != thread or level:
            return original(name, globals, locals, fromlist, level)
        is_inside = True  # what the module itself imports is its own business
        try:
            module = original(name, globals, locals, fromlist, level)
            statement = _statement(name, fromlist)
            if statement not in done:
                done.add(statement)
                if not quiet:
                    what = f"{', '.join(fromlist)} from {name}" if fromlist else name
                    print(f"importing {what} on engine(s)")
                results.append(view.execute(statement, block=False))
        finally:
            is_inside = False
        return module

    builtins.__import__ = import_both
    try:
        yield
    finally:
        builtins.__import__ = original
    for result in results:
        result.get()

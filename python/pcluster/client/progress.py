# SPDX-License-Identifier: BSD-3-Clause
"""How far something is: a bar of tqdm where that is installed, else one line of text."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Optional, TextIO, Type

from .display import is_interactive


class Progress:
    """Shows how many of `total` are done, within a `with` block.

    Args:
        label: what is done
        total: how many
        unit: of what
        file: where to write, as text; default stderr
        widget: True: a widget, in a notebook; False: text; None: tqdm's text where it is installed
    """

    def __init__(
        self, label: str, total: int, unit: str, file: Optional[TextIO] = None, widget: Optional[bool] = None
    ) -> None:
        self._label = label
        self._total = total
        self._start = time.monotonic()
        self._file = file or sys.stderr
        self._shown = -1
        self._bar: Any = None
        if is_interactive() and file is None and widget is not False:
            bar = _tqdm(bool(widget))
            self._bar = bar and bar(total=total, desc=label, unit=unit)

    def show(self, done: int) -> None:
        """Show how far it is.

        Args:
            done: how many are done now
        """
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif is_interactive():
            self._shown = done
            spent = time.monotonic() - self._start
            self._file.write(f"\r{self._label}: {done}/{self._total} in {spent:.1f} s ")
            self._file.flush()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], value: Optional[BaseException], where: Optional[TracebackType]
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._shown >= 0:
            self._file.write("\n")
            self._file.flush()


def _tqdm(wants_widget: bool) -> Any:
    """The class that makes bars, or None."""
    try:
        if wants_widget:
            from tqdm.notebook import tqdm
        else:
            from tqdm import tqdm
    except ImportError:
        return None
    return tqdm

# SPDX-License-Identifier: BSD-3-Clause
"""Lines of source for the tracebacks of engines.

An engine has no source of what was typed into IPython, and none of files that are not on its
machine. This side often has: it is where the functions came from.
"""

from __future__ import annotations

import linecache
import os
import re

#: A frame that no line of source follows.
_FRAME = re.compile(r'^([ |]*)File "([^"\n]+)", line (\d+)(?:, in .*)?$(?!\n\1  )', re.MULTILINE)


def _line(name: str, number: int) -> str:
    """The line of a file or cell, '' when it is not here."""
    if name not in linecache.cache and not os.path.isabs(name):
        return ""  # it would be looked for in all of sys.path
    linecache.checkcache(name)
    return linecache.getline(name, number).strip()


def _shown(frame: "re.Match[str]") -> str:
    source = _line(frame[2], int(frame[3]))
    return f"{frame[0]}\n{frame[1]}  {source}" if source else frame[0]


def with_source(traceback: str) -> str:
    """A formatted traceback with the lines of source that it lacks, as far as they are here.

    Args:
        traceback: as an engine sent it

    Returns:
        The traceback.
    """
    return _FRAME.sub(_shown, traceback)

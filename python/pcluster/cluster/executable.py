# SPDX-License-Identifier: BSD-3-Clause
"""The executable `pcluster`: where it is, and what it answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, Iterator, List

from .. import error


def _candidates() -> Iterator[Path]:
    package = Path(__file__).resolve().parent.parent
    yield package.parent.parent / "cmd" / "pcluster"  # the tree that it was built in
    yield Path(sysconfig.get_path("scripts")) / "pcluster"
    yield Path(sys.executable).parent / "pcluster"
    for folder in package.parents:
        yield folder / "bin" / "pcluster"


def find_executable() -> str:
    """Path of `pcluster`: $PCLUSTER_EXE, beside this package, or in PATH.

    Raises:
        ClusterError: there is none, and how to get it
    """
    given = os.environ.get("PCLUSTER_EXE")
    if given:
        return given
    for path in _candidates():
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("pcluster")
    if found:
        return found
    raise error.ClusterError(
        "the executable 'pcluster' is neither beside this package nor in PATH; install it ('meson install -C "
        "build' in a checkout), or say in PCLUSTER_EXE where it is"
    )


def start(command: str, args: List[str]) -> Dict[str, Any]:
    """Run `pcluster COMMAND` in the background.

    In a virtual environment engines are those of that environment, whether it is active or not.

    Args:
        command: 'controller' or 'engine'
        args: its further arguments

    Returns:
        What it says when it is ready.

    Raises:
        ClusterError: it could not start; in its own words
    """
    line = [find_executable(), command, "--daemonize", "--json", *args]
    environment = dict(os.environ)
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    try:
        done = subprocess.run(
            line,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=environment,
        )
    except OSError as problem:
        raise error.ClusterError(f"can't run '{line[0]}': {problem.strerror}") from problem
    if done.returncode:
        words = done.stderr.strip() or f"it ended with exit code {done.returncode}"
        raise error.ClusterError(words)
    try:
        return dict(json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):
        text = f"'{line[0]}' is not the executable of pcluster: it did not say what is ready"
        raise error.ClusterError(text) from None

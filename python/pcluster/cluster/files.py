# SPDX-License-Identifier: BSD-3-Clause
"""Cluster files: what another Python needs to know to signal and stop a cluster.

They are `<profile>/security/cluster-<cluster id>.json`, for the user only.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import tempfile
from typing import Any, Dict, Iterable, List, Union

from .. import error

PathLike = Union[str, "os.PathLike[str]"]
_PREFIX = "profile_"


def base_folder() -> str:
    """The folder with all profiles: $PCLUSTER_DIR or ~/.pcluster."""
    return os.path.abspath(os.environ.get("PCLUSTER_DIR") or os.path.expanduser("~/.pcluster"))


def profile_folder(profile: str) -> str:
    """The folder of a profile, which need not be there.

    Args:
        profile: its name

    Returns:
        An absolute path.
    """
    return os.path.join(base_folder(), _PREFIX + profile)


def profile_name(folder: str) -> str:
    """What a profile is called in messages and keys.

    Args:
        folder: its absolute path

    Returns:
        Its name; its path, with ~ for the home folder, where it has none.
    """
    parent, name = os.path.split(folder)
    if parent == base_folder() and name.startswith(_PREFIX):
        return name[len(_PREFIX) :]
    home = os.path.expanduser("~").rstrip("/")
    return "~" + folder[len(home) :] if home and folder.startswith(home + "/") else folder


def all_profiles() -> List[str]:
    """The folders of all profiles."""
    return sorted(glob.glob(os.path.join(glob.escape(base_folder()), _PREFIX + "*")))


def path_of(folder: str, cluster_id: str) -> str:
    """Where a cluster file is.

    Args:
        folder: that of the profile
        cluster_id: which of the profile's clusters

    Returns:
        The path, whether there is a file or not.
    """
    return os.path.join(folder, "security", f"cluster-{cluster_id}.json")


def in_profiles(folders: Iterable[PathLike]) -> List[str]:
    """Looks for cluster files.

    Args:
        folders: of profiles

    Returns:
        The paths of their cluster files.
    """
    found: List[str] = []
    for folder in folders:
        found += sorted(glob.glob(path_of(glob.escape(os.path.abspath(folder)), "*")))
    return found


def write(path: str, content: Dict[str, Any]) -> None:
    """Write a cluster file as a whole: nobody ever sees a part of it.

    Args:
        path: of the file; its folder is made
        content: what to write as JSON

    Raises:
        OSError: it can't be written
    """
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".cluster-", dir=folder)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


def read(path: str) -> Dict[str, Any]:
    """Reads a cluster file.

    Args:
        path: of the file

    Returns:
        What is in it.

    Raises:
        FileNotFoundError: there is none
        ClusterError: it is not a cluster file
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no cluster file {path}: pcluster.Cluster writes it when it starts something, and removes it "
            "when all is stopped. A cluster of 'pcluster start' has none: use Client, and 'pcluster stop'"
        ) from None
    except ValueError as problem:
        raise error.ClusterError(f"{path} is not a cluster file: {problem}") from problem
    if not isinstance(content, dict):
        raise error.ClusterError(f"{path} is not a cluster file: there is no object in it")
    return content


def remove(path: str) -> None:
    """Remove a cluster file, if it is there.

    Args:
        path: of the file
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

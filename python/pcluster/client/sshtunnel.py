# SPDX-License-Identifier: BSD-3-Clause
"""A way to a controller through ssh, for `Client(sshserver=...)`.

The tunnel is the command ssh with `cat` at its far end: it ends with its standard input, and so with
this process, however that ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import tempfile
import time
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

from .. import error

_LOOK_S = 0.05


def content_of(how: Dict[str, Any]) -> Dict[str, Any]:
    """The connection file that is meant.

    Args:
        how: file, json, profile, profile_dir and cluster_id, as for opening a connection

    Returns:
        What is in it.

    Raises:
        ConnectionFileNotFound: there is none
        BadConnectionFile: it has no address that a tunnel could lead to
    """
    from ..cluster import files  # which needs the client itself

    if "json" in how:
        path, text = "the connection information", how["json"]
    else:
        folder = how.get("profile_dir") or files.profile_folder(how.get("profile") or "default")
        dash = f"-{how['cluster_id']}" if how.get("cluster_id") else ""
        path = how.get("file") or os.path.join(folder, "security", f"pcluster{dash}-client.json")
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as problem:
            raise error.ConnectionFileNotFound(
                f"can't read {path}: {problem.strerror}; copy it here from the machine of the controller"
            ) from None
    try:
        content = dict(json.loads(text))
        if urlsplit(content["url"]).port:
            return content
    except (ValueError, TypeError, KeyError):
        pass
    raise error.BadConnectionFile(f"{path} is no connection file: it has no address with a port")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Tunnel:
    """A port of this machine that leads to the controller.

    Args:
        server: `user@host` or `user@host:port`, which can reach the controller
        url: of the controller, as seen from there
        key: file of a private key; default: what ssh finds
        timeout: seconds until the tunnel must be there

    Raises:
        Unreachable: it could not be made; in the words of ssh
    """

    def __init__(self, server: str, url: str, key: Optional[str], timeout: float) -> None:
        self._port = _free_port()
        self.url = f"tcp://127.0.0.1:{self._port}"
        line = self._command(server, url, key)
        with tempfile.TemporaryFile() as words:
            try:
                self._ssh = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=words)
            except OSError as problem:
                raise error.Unreachable(f"can't run ssh for a tunnel: {problem.strerror}; install it") from None
            if self._wait(timeout):
                return
            self.close()
            words.seek(0)
            said = words.read().decode(errors="replace").strip() or f"no answer in {timeout:g} s"
            raise error.Unreachable(f"the tunnel through {server} can't be made: {said}; try '{shlex.join(line)}'")

    def _command(self, server: str, url: str, key: Optional[str]) -> List[str]:
        target = urlsplit(url)
        host = f"[{target.hostname}]" if ":" in (target.hostname or "") else target.hostname
        place, port = _split(server)
        line = ["ssh", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=15"]
        line += ["-L", f"127.0.0.1:{self._port}:{host}:{target.port}"]
        line += ["-i", os.path.expanduser(key)] if key else []
        line += ["-p", port] if port else []
        return [*line, "--", place, "cat"]

    def _wait(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while self._ssh.poll() is None and time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return True
            time.sleep(_LOOK_S)
        return False

    def close(self) -> None:
        """End it. May be repeated."""
        if self._ssh.stdin:
            self._ssh.stdin.close()
        self._ssh.terminate()
        self._ssh.wait()


def _split(server: str) -> Tuple[str, str]:
    """A server without its port, and the port."""
    place, colon, port = server.rpartition(":")
    return (place, port) if colon and port.isdigit() and not place.endswith(":") else (server, "")

# SPDX-License-Identifier: BSD-3-Clause
"""Processes of a cluster as handles: the controller, and sets of engines.

A handle holds a descriptor of the process, so that a pid which is used again is never meant.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from typing import Any, Dict, Optional

#: Seconds for an orderly end, before SIGKILL.
_STOP_LIMIT = 10
_OUTPUT_MAX = 1 << 20


def _birth(pid: int) -> str:
    """When a process began, in the kernel's words: no other with its pid ever has the same; '' if it is not there."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return f"{boot}:{file.read().rpartition(')')[2].split()[19]}"
    except OSError:
        return ""


class Process:
    """One supervising process of the executable.

    Args:
        pid: its process id
        uuid: by which the controller knows it
        log: path of its log file
        offset: where its part of the log begins, in bytes
        birth: of the process that is meant, when the pid comes from a cluster file
    """

    def __init__(self, pid: int, uuid: str, log: str, offset: int = 0, birth: Optional[str] = None) -> None:
        self.pid = pid
        self.uuid = uuid
        self.log = log
        self._offset = offset
        self._output: Optional[str] = None
        try:
            self._fd = os.pidfd_open(pid)
        except OSError:
            self._fd = -1
        self.birth = _birth(pid)
        if birth is not None and birth != self.birth and self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        if self.__dict__.get("_fd", -1) >= 0:
            os.close(self._fd)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return not self._wait(0)

    def _wait(self, seconds: float) -> bool:
        if self._fd < 0:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def get_output(self, remove: bool = False) -> str:
        """What it and its engines logged, the last MiB of it.

        Args:
            remove: forget it

        Returns:
            Lines of the log.
        """
        if self._output is None:
            text = self._read()
        else:
            text = self._output
        if remove:
            with contextlib.suppress(OSError):
                self._offset = os.path.getsize(self.log)
            self._output = None if self._output is None else ""
        return text

    def _read(self) -> str:
        try:
            with open(self.log, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(self._offset, size - _OUTPUT_MAX))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def tell(self, signum: int) -> None:
        """Send the supervising process a signal, if it is there.

        Args:
            signum: the signal's number
        """
        if self._fd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signum)

    def stop(self) -> None:
        """End it in order, then by force; its log file goes, and get_output() remembers."""
        self.tell(signal.SIGTERM)
        if not self._wait(_STOP_LIMIT):
            self.tell(signal.SIGKILL)
            self._wait(_STOP_LIMIT)
        if self._output is None:
            self._output = self._read()
            with contextlib.suppress(OSError):
                os.unlink(self.log)

    def to_dict(self) -> Dict[str, Any]:
        """For the cluster file."""
        return {"pid": self.pid, "uuid": self.uuid, "log": self.log, "birth": self.birth}


class Controller(Process):
    """The controller of a cluster."""

    def __repr__(self) -> str:
        return f"<Controller pid {self.pid}: {'running' if self.running else 'ended'}>"


class EngineSet(Process):
    """Engines that were started together.

    Args:
        engine_set_id: its name
        n: how many
        pid, uuid, log, offset, birth: as for the process that supervises them
    """

    def __init__(
        self,
        engine_set_id: str,
        n: int,
        pid: int,
        uuid: str,
        log: str,
        offset: int = 0,
        birth: Optional[str] = None,
    ) -> None:
        super().__init__(pid, uuid, log, offset, birth)
        self.engine_set_id = engine_set_id
        self.n = n
        self.options: Dict[str, Any] = {}

    def __repr__(self) -> str:
        state = "running" if self.running else "ended"
        return f"<EngineSet {self.engine_set_id}: {self.n} engines, {state}>"

    def to_dict(self) -> Dict[str, Any]:
        """For the cluster file."""
        return {**super().to_dict(), "n": self.n, "options": self.options}

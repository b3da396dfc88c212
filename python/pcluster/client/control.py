# SPDX-License-Identifier: BSD-3-Clause
"""What a client can do with engines as processes: stop, restart, signal them."""

from __future__ import annotations

import signal
from typing import Iterable, List, Optional, Union

from .. import error
from .engines import Engines, Targets

#: Seconds beyond the grace time until an engine that was killed must be gone, or a new one there.
_LIMIT = 60


def signal_number(sig: Union[int, str]) -> int:
    """The number of a signal: 2, signal.SIGINT, 'SIGINT' and 'INT' are all 2.

    Args:
        sig: number or name

    Returns:
        The number.

    Raises:
        ValueError: there is no such signal
    """
    if isinstance(sig, str):
        name = sig.upper()
        try:
            return int(signal.Signals[name if name.startswith("SIG") else "SIG" + name])
        except KeyError:
            raise ValueError(f"there is no signal {sig!r}") from None
    number = int(sig)
    if not 1 <= number < signal.NSIG:
        raise ValueError(f"there is no signal {number}: 1 to {signal.NSIG - 1} are possible")
    return number


class Control(Engines):
    """The part of a Client that starts, stops and signals engines."""

    def _ids_of(self, targets: Targets) -> List[int]:
        chosen = self._choose(targets)
        return [chosen] if isinstance(chosen, int) else list(chosen)

    def send_signal(self, sig: Union[int, str], targets: Targets = None, block: Optional[bool] = None) -> None:
        """Send a signal to the processes of engines, also while they run user code.

        SIGINT interrupts what runs, and is ignored by an engine that is idle.

        Args:
            sig: number or name ('SIGINT')
            targets: which engines; default all
            block: accepted; the signal has been passed on when this returns

        Raises:
            ValueError: there is no such signal
            IndexError, NoEnginesRegistered: there is no such engine
        """
        number = signal_number(sig)
        self._ask({"query": "signal_engines", "ids": self._ids_of(targets), "signal": number})

    def shutdown(
        self,
        targets: Targets = "all",
        restart: bool = False,
        hub: bool = False,
        block: Optional[bool] = None,
        *,
        grace: float = 2,
    ) -> None:
        """Stop engines, or restart them, or stop the whole cluster.

        A stopped engine gets nothing more to do; what it does not finish within the grace time
        fails with EngineError, which says so. Restarted engines have new ids.

        Args:
            targets: which engines
            restart: start as many again
            hub: stop everything: all engines and the controller
            block: wait until it is done; default `self.block`
            grace: seconds that a running task may go on, then SIGTERM, then SIGKILL

        Raises:
            IndexError, NoEnginesRegistered: there is no such engine
            TimeoutError: blocking, and it is not done a minute after the grace time
            ValueError: both hub and restart
        """
        waits = self.block if block is None else block
        if hub:
            if restart:
                raise ValueError("the controller can't be restarted from here: restart=True is for engines alone")
            self._ask({"query": "shutdown"})
            if waits:
                self._wait_for_end(grace)
            return
        ids = self._ids_of(targets)
        before = set(self._ids)
        query = "restart_engines" if restart else "stop_engines"
        reply = self._ask({"query": query, "ids": ids, "grace_ms": int(grace * 1000)})
        if waits:
            self._wait_gone(ids, grace)
            if restart:
                self._wait_new(before, int(reply["count"]), grace)

    def start_engines(self, n: int, *, host: str = "", block: Optional[bool] = None) -> None:
        """Start more engines, which the controller's parent supervises.

        Args:
            n: how many
            host: name of another machine, on which 'pcluster engine' runs; default: the controller's
            block: wait until they are there; default `self.block`

        Raises:
            ControllerError: it can't be done, and why
        """
        before = set(self.ids)
        self._ask({"query": "start_engines", "count": n, "host": host}, timeout=_LIMIT)
        if self.block if block is None else block:
            self._wait_new(before, n, 0)

    def _wait_gone(self, ids: Iterable[int], grace: float) -> None:
        if not self._wait_until(lambda: not set(ids) & set(self.ids), grace + _LIMIT):
            raise TimeoutError(f"engines {sorted(set(ids) & set(self.ids))} did not end in {grace + _LIMIT:g} s")

    def _wait_new(self, before: Iterable[int], count: int, grace: float) -> None:
        if not self._wait_until(lambda: len(set(self.ids) - set(before)) >= count, grace + _LIMIT):
            raise TimeoutError(f"{len(set(self.ids) - set(before))} of {count} new engines are there")

    def _wait_for_end(self, grace: float) -> None:
        try:
            self._wait_until(lambda: False, grace + _LIMIT)
        except error.ConnectionLost:
            return
        raise TimeoutError(f"the cluster did not stop in {grace + _LIMIT:g} s")

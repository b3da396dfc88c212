# SPDX-License-Identifier: BSD-3-Clause
"""Which engines there are, and which of them are meant."""

from __future__ import annotations

import collections
import math
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, FrozenSet, Iterable, List, Optional, Sequence, Tuple, Union

from .. import _client, error
from .connection import PYTHON, Connection
from .display import in_ipython
from .progress import Progress

Targets = Union[None, int, str, slice, Sequence[int]]
#: Seconds between looks at the processes of engines that are waited for.
_WATCH_INTERVAL = 0.5


class Engine:
    """What a client knows about one engine. Made by the client."""

    __slots__ = ("id", "pid", "host", "python", "uuid", "tags")

    def __init__(self, row: Tuple[int, int, str, str, str, str]) -> None:
        self.id, self.pid, self.host, self.python, self.uuid, tags = row
        self.tags: FrozenSet[str] = frozenset(tags.split(",")) if tags else frozenset()

    def __repr__(self) -> str:
        tags = f", tags {', '.join(sorted(self.tags))}" if self.tags else ""
        return f"<Engine {self.id} on {self.host}, pid {self.pid}, Python {self.python}{tags}>"


class Engines(Connection):
    """The part of a Client that knows the engines. Made as a part of a Client."""

    #: The object that started the cluster, if any.
    cluster: Any = None

    def __init__(self, raw: _client.Client) -> None:
        super().__init__(raw)
        self._generation = -1
        self._engines: Dict[int, Engine] = {}
        self._ids: Tuple[int, ...] = ()
        self._uuids: "collections.OrderedDict[int, str]" = collections.OrderedDict()
        self._foreign: FrozenSet[int] = frozenset()

    def _refresh(self) -> None:
        """Bring the list of engines up to date, without waiting."""
        self._raw.check()
        if self._raw.generation != self._generation:
            self._load_engines()

    def _load_engines(self) -> None:
        with self._lock:
            generation = self._raw.generation
            engines = {row[0]: Engine(row) for row in self._raw.engines()}
            self._engines = engines
            self._ids = tuple(sorted(engines))
            self._foreign = frozenset(
                engine.id for engine in engines.values() if engine.python and engine.python != PYTHON
            )
            for engine in engines.values():
                self._uuids[engine.id] = engine.uuid
            while len(self._uuids) > len(engines) + 10_000:
                self._uuids.popitem(last=False)
            self._generation = generation

    def _engine_uuid(self, engine_id: Optional[int]) -> Optional[str]:
        if engine_id is None:
            return None
        if engine_id not in self._uuids and not self._raw.closed:
            try:
                self._load_engines()
            except error.KernelError:
                pass
        return self._uuids.get(engine_id)

    @property
    def ids(self) -> List[int]:
        """Ids of the engines that are there now, sorted. A new list each time."""
        self._refresh()
        return list(self._ids)

    @property
    def engines(self) -> List[Engine]:
        """The engines that are there now: id, pid, host, python, uuid, tags."""
        self._refresh()
        return [self._engines[number] for number in self._ids]

    def __len__(self) -> int:
        self._refresh()
        return len(self._ids)

    # ---- targets -------------------------------------------------------------------------------------

    def _one_id(self, key: Any) -> int:
        if isinstance(key, bool) or not isinstance(key, int):
            raise TypeError(f"an engine id is an int, not {type(key).__name__}")
        if key < 0:
            if -key > len(self._ids):
                raise IndexError(f"there is no engine {key}: there are {len(self._ids)} engines")
            return self._ids[key]
        if key not in self._engines:
            raise IndexError(f"there is no engine {key}; the engines are {_short(self._ids)}")
        return key

    def _choose(self, targets: Targets) -> Union[int, Tuple[int, ...]]:
        """Ids for any form of targets: an int for an int, else a tuple."""
        self._refresh()
        if targets is None or (isinstance(targets, str) and targets == "all"):
            if not self._ids:
                raise error.NoEnginesRegistered("the cluster has no engines")
            return self._ids
        if isinstance(targets, str):
            raise TypeError(f"targets may be 'all' but no other str: {targets!r}")
        if isinstance(targets, slice):
            return self._ids[targets]
        if isinstance(targets, int):
            return self._one_id(targets)
        if isinstance(targets, (set, frozenset)):
            return tuple(sorted(map(self._one_id, targets)))
        if isinstance(targets, (list, tuple, range)):
            return tuple(map(self._one_id, targets))
        raise TypeError(f"targets must be an int, a slice, a sequence or 'all', not {type(targets).__name__}")

    def _meant(self, targets: Any) -> Any:
        """Targets as a view keeps them: 'all', None, an id, or a sequence of ids, whose engines may be
        gone."""
        if targets is None or (isinstance(targets, str) and targets == "all"):
            return targets
        several = targets if isinstance(targets, (list, tuple, range)) else (targets,)
        if all(type(number) is int and number >= 0 for number in several):
            return targets
        chosen = self._choose(targets)
        return list(chosen) if isinstance(chosen, tuple) else chosen

    def _build_targets(self, targets: Targets) -> Tuple[List[Optional[str]], List[int]]:
        """(uuids, ids) of targets."""
        chosen = self._choose(targets)
        ids = [chosen] if isinstance(chosen, int) else list(chosen)
        return [self._engine_uuid(number) for number in ids], ids

    def _check_python(self, targets: Union[None, int, Tuple[int, ...]], name: str) -> None:
        """Refuse code by value for engines that run another minor version of Python."""
        if self._raw.generation != self._generation:
            self._load_engines()
        if not self._foreign:
            return
        if targets is None:
            chosen: Iterable[int] = self._ids
        else:
            chosen = (targets,) if isinstance(targets, int) else targets
        for number in chosen:
            if number in self._foreign:
                raise error.PythonVersionMismatch(
                    f"{name} can't be sent by value: this is Python {PYTHON}, engine {number} runs "
                    f"Python {self._engines[number].python}. Put it into a module that both can "
                    "import, or send source text with execute()"
                )

    # ---- waiting for engines -------------------------------------------------------------------------

    def wait_for_engines(
        self,
        n: Optional[int] = None,
        *,
        timeout: float = -1,
        block: bool = True,
        interactive: Optional[bool] = None,
        widget: Optional[bool] = None,
    ) -> Any:
        """Wait until there are at least `n` engines.

        Args:
            n: how many; default: what `cluster` says, or as many as it has started
            timeout: seconds; negative: no limit
            block: False returns a Future instead of waiting
            interactive: show progress on stderr; default: in IPython
            widget: see Progress

        Returns:
            None, or a concurrent.futures.Future of it when it does not block.

        Raises:
            TypeError: n is not known
            TimeoutError: not in the time given
            EngineError: a set of engines that `cluster` has started ends meanwhile
        """
        if n is None:
            sets = getattr(self.cluster, "engines", None) or {}
            n = getattr(self.cluster, "n", None) or sum(one.n for one in sets.values())
            if not n:
                raise TypeError(
                    "wait_for_engines() needs to be told how many, as in wait_for_engines(4): only the client of a "
                    "Cluster whose engines were started knows it by itself"
                )
        if not block:
            return _in_thread(self.wait_for_engines, n, timeout=timeout)
        shows = in_ipython() if interactive is None else interactive
        wanted = n
        screen: ContextManager[Optional[Progress]] = nullcontext()
        if shows:
            screen = Progress("engines", wanted, "engine", widget=widget)
        with screen as progress:
            shown = -1

            def is_over() -> bool:
                nonlocal shown
                count = len(self)
                if progress is not None and count != shown:
                    shown = count
                    progress.show(min(count, wanted))
                return count >= wanted

            in_time = self._wait_watching(is_over, None if timeout is None or timeout < 0 else timeout)
        if not in_time:
            raise TimeoutError(f"{len(self)} of {n} engines were there after {timeout} s")

    def _wait_watching(self, is_over: Callable[[], bool], timeout: Optional[float]) -> bool:
        """As _wait_until(), with an eye on the engines' processes."""
        sets = getattr(self.cluster, "engines", None) or {}
        watched = [one for one in sets.values() if one.running] or list(sets.values())
        if not watched:
            return self._wait_until(is_over, timeout)
        end = math.inf if timeout is None else time.monotonic() + timeout
        while not self._wait_until(is_over, min(_WATCH_INTERVAL, end - time.monotonic())):
            for one in watched:
                if sets.get(one.engine_set_id) is one and not one.running:
                    lines = "\n".join(one.get_output().splitlines()[-5:])
                    raise error.EngineError(f"the engines {one.engine_set_id!r} ended; the last they logged:\n{lines}")
            if time.monotonic() >= end:
                return False
        return True


def _in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
    """Run a function in a thread of its own; its outcome as a Future."""
    future: "Future[Any]" = Future()

    def run() -> None:
        try:
            future.set_result(function(*args, **kwargs))
        except BaseException as exception:
            future.set_exception(exception)

    threading.Thread(target=run, daemon=True).start()
    return future


def _short(ids: Sequence[int]) -> str:
    shown = ", ".join(map(str, ids[:10]))
    return f"[{shown}, ...]" if len(ids) > 10 else f"[{shown}]"

# SPDX-License-Identifier: BSD-3-Clause
"""Names of a Client that programs for the reference system use, and that need little here."""

from __future__ import annotations

import warnings
from typing import Any, Callable, Dict, Mapping, Optional

from .asyncresult import AsyncResult
from .memory import Memory


class FormerNames(Memory):
    """The part of a Client that knows the names of before."""

    #: There is no CURVE here: every connection over TCP is encrypted.
    curve_serverkey = curve_publickey = curve_secretkey = None

    def spin(self) -> None:
        """Nothing: results are taken in by whoever waits, and in the background."""
        warnings.warn("spin() has nothing to do; remove it", DeprecationWarning, stacklevel=2)

    def spin_thread(self, interval: float = 1) -> None:
        """Nothing, see spin().

        Args:
            interval: ignored
        """
        warnings.warn("spin_thread() has nothing to do; remove it", DeprecationWarning, stacklevel=2)

    def stop_spin_thread(self) -> None:
        """Nothing, see spin()."""
        warnings.warn("stop_spin_thread() has nothing to do; remove it", DeprecationWarning, stacklevel=2)

    @property
    def _outstanding_dict(self) -> Dict[str, set[str]]:
        """msg_ids of what has not ended, by the engine's uuid; '' for what has no engine yet."""
        found: Dict[str, set[str]] = {}
        for name, row in self.metadata.items():
            if row.status is None:
                found.setdefault(row.engine_uuid or "", set()).add(name)
        return found

    def _target(self, ident: Any) -> Any:
        """A view for an engine named by id or uuid; the load-balanced one for None."""
        if ident is None:
            return self.load_balanced_view()  # type: ignore[attr-defined]
        for number, uuid in zip(self.ids, self._build_targets(self.ids)[0]):
            if ident in (number, uuid, (uuid or "").encode()):
                return self.direct_view(number)  # type: ignore[attr-defined]
        raise IndexError(f"there is no engine {ident!r}")

    def send_apply_request(
        self,
        socket: Any,
        f: Callable[..., Any],
        args: Any = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        track: bool = False,
        ident: Any = None,
    ) -> AsyncResult:
        """Call `f` on one engine. What a view's apply_async() does, which is to be preferred.

        Args:
            socket: ignored; there is one connection
            f: the function
            args: its positional arguments
            kwargs: its keyword arguments
            metadata: a `label` in it is kept
            track: ignored
            ident: id or uuid of an engine; None: any

        Returns:
            AsyncResult.
        """
        view = self._target(ident).set_flags(label=(metadata or {}).get("label"))
        result: AsyncResult = view.apply_async(f, *(args or ()), **(kwargs or {}))
        return result

    def send_execute_request(
        self,
        socket: Any,
        code: str,
        silent: bool = True,
        metadata: Optional[Mapping[str, Any]] = None,
        ident: Any = None,
    ) -> AsyncResult:
        """Run source text on one engine. What a view's execute() does, which is to be preferred.

        Args:
            socket: ignored; there is one connection
            code: the text
            silent: False: the result is an ExecuteReply
            metadata: a `label` in it is kept
            ident: id or uuid of an engine

        Returns:
            AsyncResult.

        Raises:
            TypeError: no engine was named
        """
        if ident is None:
            raise TypeError("ident is needed: id or uuid of the engine that is to run it")
        result: AsyncResult = self._target(ident).execute(
            code, silent, block=False, label=(metadata or {}).get("label")
        )
        return result

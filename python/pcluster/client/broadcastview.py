# SPDX-License-Identifier: BSD-3-Clause
"""The view for one request to very many engines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .baseview import View
from .directview import DirectView

if TYPE_CHECKING:
    from .client import Client


class BroadcastView(DirectView):
    """A direct view whose engines are those that there were when it was made. Made by a Client.

    A call is one request with one body, however many engines it is for; the scheduler hands the
    same bytes to each of them. Every engine's result, error and metadata is kept, in the order of
    `targets`: an engine that dies, or is gone already, leaves an EngineError in its place and
    holds nobody up.

    Attributes (besides those of View):
        is_coalescing: accepted. One wait is enough for all answers in any case, so that nothing is
            left to be put together, and no answer has to be given up for it.
    """

    _flag_names = View._flag_names + ("is_coalescing",)

    def __init__(self, client: "Client", targets: Any, is_coalescing: bool = False) -> None:
        super().__init__(client, targets)
        self.is_coalescing = is_coalescing

# SPDX-License-Identifier: BSD-3-Clause
"""Views: on which engines a call runs, and in which form its result comes.

A direct view runs a call on each of its engines, a broadcast view does so for a fixed set of very
many, and a load-balanced view runs it on one, chosen by the scheduler.
"""

from .balancedview import LoadBalancedView
from .baseview import View
from .broadcastview import BroadcastView
from .directview import DirectView
from .executor import ViewExecutor
from .lazymap import LazyMapIterator

__all__ = ["BroadcastView", "DirectView", "LazyMapIterator", "LoadBalancedView", "View", "ViewExecutor"]

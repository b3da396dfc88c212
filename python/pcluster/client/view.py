# SPDX-License-Identifier: BSD-3-Clause
"""Views: on which engines a call runs, and in which form its result comes.

A direct view runs a call on each of its engines, a load-balanced view on one, chosen by the
scheduler.
"""

from .balancedview import LazyMapIterator, LoadBalancedView
from .baseview import View
from .directview import DirectView

__all__ = ["DirectView", "LazyMapIterator", "LoadBalancedView", "View"]

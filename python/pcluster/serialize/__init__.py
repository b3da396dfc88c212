# SPDX-License-Identifier: BSD-3-Clause
"""How functions and arguments become bytes.

reference.py: objects that become something else where they arrive. arguments.py: pickling with
buffers beside the pickle. functions.py: the cache of pickled callables.
"""

from .arguments import dumps, pack_arguments, pack_namespace
from .functions import FunctionCache, Pickled
from .reference import PrePickled, Reference

__all__ = [
    "FunctionCache",
    "Pickled",
    "PrePickled",
    "Reference",
    "dumps",
    "pack_arguments",
    "pack_namespace",
]

# SPDX-License-Identifier: BSD-3-Clause
"""How functions and arguments become bytes.

reference.py: objects that become something else where they arrive. arguments.py: pickling with
buffers beside the pickle. functions.py: the cache of pickled callables. picklers.py: who pickles
what plain pickle can't. canning.py: the same for programs that keep the bytes themselves.
"""

from .arguments import dumps, pack_arguments, pack_namespace
from .canning import (
    can,
    can_map,
    deserialize_object,
    pack_apply_message,
    serialize_object,
    uncan,
    uncan_map,
    unpack_apply_message,
)
from .functions import FunctionCache, Pickled
from .picklers import use_cloudpickle, use_dill, use_pickle
from .reference import PrePickled, Reference

__all__ = [
    "FunctionCache",
    "Pickled",
    "PrePickled",
    "Reference",
    "can",
    "can_map",
    "deserialize_object",
    "dumps",
    "pack_apply_message",
    "pack_arguments",
    "pack_namespace",
    "serialize_object",
    "uncan",
    "uncan_map",
    "unpack_apply_message",
    "use_cloudpickle",
    "use_dill",
    "use_pickle",
]

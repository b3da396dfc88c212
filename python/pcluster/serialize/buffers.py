# SPDX-License-Identifier: BSD-3-Clause
"""Large bytes objects, bytearrays and memoryviews: found before pickling, then sent as they lie.

pickle would copy bytes, and refuse a memoryview. So they are pickled first, each as a buffer of its
own; then the pickler's memo is told that it knows them, and wherever it meets one of them, however
deep, it only refers to it. `engine/pcluster_load.py` does the same with results.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, Dict, FrozenSet, List, Sequence, Tuple

#: bytes and bytearrays from this size on travel as buffers; memoryviews always.
LARGE_BYTES = 128 * 1024
#: How deep in lists, tuples and dicts they are looked for, and in how many items together.
DEPTH_MAX = 8
ITEMS_MAX = 256

_BYTES: FrozenSet[Any] = frozenset({bytes, bytearray, memoryview})
_CONTAINERS: FrozenSet[Any] = frozenset({list, tuple, dict})
_SEARCHED = _BYTES | _CONTAINERS


class Buffer:
    """Becomes a copy of a bytes object or bytearray, or a memoryview of what arrived.

    Args:
        value: one of these
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> Tuple[Any, ...]:
        value = self.value
        if type(value) is not memoryview:
            return (type(value), (pickle.PickleBuffer(value),))
        flat = value.cast("B") if value.c_contiguous else memoryview(value.tobytes())
        if value.format == "B" and value.ndim == 1:
            return (memoryview, (pickle.PickleBuffer(flat),))
        return (memoryview.cast, (Buffer(flat), value.format, value.shape))


def find_large(obj: Any, size: int = LARGE_BYTES, items: int = ITEMS_MAX) -> List[Any]:
    """The large bytes objects, bytearrays and memoryviews in an object.

    Args:
        obj: one of them, or a list, tuple or dict in which they are looked for
        size: how many bytes a large one has at least
        items: how many items are looked at; a container with more is passed over

    Returns:
        Each of them once.
    """
    found: Dict[int, Any] = {}
    _search(obj, size, items, DEPTH_MAX, found)
    return list(found.values())


def _search(obj: Any, size: int, left: int, depth: int, found: Dict[int, Any]) -> int:
    """Look into one object; how many items may still be looked at."""
    kind = type(obj)
    if kind in _BYTES:
        if kind is memoryview or len(obj) >= size:
            found[id(obj)] = obj
    elif kind in _CONTAINERS and depth and len(obj) <= left:
        left -= len(obj)
        values = obj.values() if kind is dict else obj
        if not _SEARCHED.isdisjoint(map(type, values)):
            for value in values:
                left = _search(value, size, left, depth - 1, found)
    return left


def send_first(pickler: Any, file: io.BytesIO, large: Sequence[Any]) -> None:
    """Let a new pickler put these objects before everything else, and know them afterwards.

    Args:
        pickler: one that has not pickled anything
        file: what it writes to
        large: the objects
    """
    stand_ins = [Buffer(obj) for obj in large]
    pickler.dump(stand_ins)
    memo = pickler.memo.copy()
    for stand_in, obj in zip(stand_ins, large):
        memo[id(obj)] = (memo.pop(id(stand_in))[0], obj)
    pickler.memo = memo
    file.seek(-1, io.SEEK_END)
    file.write(pickle.POP)  # instead of STOP: the list has done its work

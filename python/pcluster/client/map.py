# SPDX-License-Identifier: BSD-3-Clause
"""How sequences are cut into parts for engines, and put together again.

'b' (blocks): contiguous, the first n mod q parts have one element more. 'r' (round robin): every
q-th element.
"""

from __future__ import annotations

import itertools
import sys
from typing import Any, List, Sequence


class Map:
    """The block distribution."""

    def partition(self, sequence: Any, p: int, q: int) -> Any:
        """Part `p` of `q` parts of `sequence`.

        Args:
            sequence: anything that can be sliced
            p: which part, from 0
            q: how many parts

        Returns:
            A slice of `sequence`.
        """
        size, more = divmod(len(sequence), q)
        start = p * size + min(p, more)
        return sequence[start : start + size + (1 if p < more else 0)]

    def join(self, parts: Sequence[Any]) -> Any:
        """The whole from its parts.

        Args:
            parts: in their order

        Returns:
            Arrays concatenated along the first axis, or a list of the items of lists, tuples and ranges,
            or of the parts when they are none of these.
        """
        if _are_arrays(parts):
            return sys.modules["numpy"].concatenate(parts)  # type: ignore[attr-defined]
        if parts and all(isinstance(part, (list, tuple, range)) for part in parts):
            return list(itertools.chain.from_iterable(parts))
        return list(parts)


class RoundRobinMap(Map):
    """The strided distribution."""

    def partition(self, sequence: Any, p: int, q: int) -> Any:
        """Part `p` of `q` parts of `sequence`.

        Args:
            sequence: anything that can be sliced with a step
            p: which part, from 0
            q: how many parts

        Returns:
            Every q-th item of `sequence`, from the p-th.
        """
        return sequence[p : len(sequence) : q]

    def join(self, parts: Sequence[Any]) -> Any:
        """The whole from its parts.

        Args:
            parts: in their order

        Returns:
            An array or a list of the items in the order before partition().
        """
        if _are_arrays(parts):
            numpy: Any = sys.modules["numpy"]
            total = sum(len(part) for part in parts)
            whole = numpy.empty((total, *parts[0].shape[1:]), dtype=parts[0].dtype)
            for p, part in enumerate(parts):
                whole[p :: len(parts)] = part
            return whole
        if parts and all(isinstance(part, (list, tuple, range)) for part in parts):
            rows = itertools.zip_longest(*parts, fillvalue=_NOTHING)
            return [item for row in rows for item in row if item is not _NOTHING]
        return list(parts)


_NOTHING = object()
_MAPS = {"b": Map, "r": RoundRobinMap}


def map_for(dist: str) -> Map:
    """The distribution of a name.

    Args:
        dist: 'b' (blocks) or 'r' (in turns)

    Returns:
        What cuts and joins.

    Raises:
        ValueError: there is no such distribution
    """
    try:
        return _MAPS[dist]()
    except KeyError:
        raise ValueError(f"there is no distribution {dist!r}; there are 'b' and 'r'") from None


def _are_arrays(parts: Sequence[Any]) -> bool:
    numpy: Any = sys.modules.get("numpy")  # a part can only be an array when it is loaded
    if numpy is None or not parts:
        return False
    return all(isinstance(part, numpy.ndarray) and part.ndim > 0 for part in parts)


def partition_all(sequence: Any, count: int, dist: str = "b") -> List[Any]:
    """All parts of a sequence.

    Args:
        sequence: iterators, sets and dicts are made a list first
        count: how many parts; some are empty when there are fewer items
        dist: 'b' or 'r'

    Returns:
        The parts in their order.
    """
    if not hasattr(sequence, "__getitem__") or isinstance(sequence, dict):
        sequence = list(sequence)
    distribution = map_for(dist)
    return [distribution.partition(sequence, p, count) for p in range(count)]

# SPDX-License-Identifier: BSD-3-Clause
"""What a task of a load-balanced view depends on."""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, Optional, Set, Tuple, Union

from . import _client

#: what the library takes: rule, ((session, number), ...)
Packed = Tuple[int, Tuple[Tuple[int, int], ...]]

_MSG_ID = re.compile(r"([0-9a-f]{16})_([0-9]+)")


def _msg_ids(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif hasattr(value, "msg_ids"):
        yield from value.msg_ids
    else:
        raise TypeError(f"a dependency is a msg_id or an AsyncResult, not {type(value).__name__}")


def numbers_of(name: str) -> Tuple[int, int]:
    """The parts of a msg_id.

    Args:
        name: the msg_id

    Returns:
        Session and number.

    Raises:
        ValueError: it is no msg_id
    """
    found = _MSG_ID.fullmatch(name)
    if not found or int(found[2]) >= 1 << 64:
        raise ValueError(f"{name!r} is no msg_id")
    return int(found[1], 16), int(found[2])


class Dependency(Set[str]):
    """A set of tasks, and how they must have ended.

    Args:
        dependencies: msg_id, AsyncResult, or several of them
        all: every one of them must have ended so; False: one is enough
        success: having gone well counts
        failure: having failed counts

    Raises:
        ValueError: neither success nor failure
        TypeError: something is no msg_id and no AsyncResult
    """

    def __init__(
        self, dependencies: Any = (), all: bool = True, success: bool = True, failure: bool = False
    ) -> None:
        if not (success or failure):
            raise ValueError("success or failure must count, else the dependency can't be met")
        self.all = all
        self.success = success
        self.failure = failure
        is_one = isinstance(dependencies, str) or hasattr(dependencies, "msg_ids")
        super().__init__(name for one in ([dependencies] if is_one else dependencies) for name in _msg_ids(one))

    def __repr__(self) -> str:
        return f"Dependency({sorted(self)}, all={self.all}, success={self.success}, failure={self.failure})"

    def _counting(self, completed: Iterable[str], failed: Iterable[str], success: bool, failure: bool) -> Set[str]:
        counting: Set[str] = set()
        if success:
            counting |= set(completed)
        if failure:
            counting |= set(failed)
        return counting

    def check(self, completed: Iterable[str], failed: Iterable[str] = ()) -> bool:
        """Whether it is met.

        Args:
            completed: msg_ids of tasks that have gone well
            failed: msg_ids of tasks that have failed

        Returns:
            True when a task that comes after it may start.
        """
        if not self:
            return True
        counting = self._counting(completed, failed, self.success, self.failure)
        return self <= counting if self.all else bool(self & counting)

    def unreachable(self, completed: Iterable[str], failed: Iterable[str] = ()) -> bool:
        """Whether it can't be met any more.

        Args:
            completed: msg_ids of tasks that have gone well
            failed: msg_ids of tasks that have failed

        Returns:
            True when it never will be.
        """
        if not self:
            return False
        spoiling = self._counting(completed, failed, not self.success, not self.failure)
        return bool(self & spoiling) if self.all else self <= spoiling

    def as_dict(self) -> Dict[str, Any]:
        """What from_value() makes the same of."""
        return {
            "dependencies": sorted(self), "all": self.all, "success": self.success, "failure": self.failure,
        }

    @classmethod
    def from_value(cls, value: Any) -> Optional["Dependency"]:
        """From anything that views accept.

        Args:
            value: None, msg_id, AsyncResult, several of them, as_dict(), or a Dependency

        Returns:
            A Dependency, or None for None.

        Raises:
            ValueError: it is nothing of that kind
        """
        if value is None or isinstance(value, cls):
            return value
        try:
            made = cls(**value) if isinstance(value, dict) else cls(value)
        except TypeError as error:
            raise ValueError(f"{value!r} is no dependency: {error}") from None
        for name in made:
            numbers_of(name)
        return made

    def _packed(self) -> Packed:
        rule = _client.NEED_ALL if self.all else 0
        rule |= _client.NEED_SUCCESS if self.success else 0
        rule |= _client.NEED_FAILURE if self.failure else 0
        return rule, tuple(numbers_of(name) for name in self)


def packed(value: Optional[Union[Dependency, Any]]) -> Optional[Packed]:
    """A dependency in the form that the library takes.

    Args:
        value: a Dependency, or None

    Returns:
        None when it depends on nothing.
    """
    return value._packed() if value else None

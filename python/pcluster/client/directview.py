# SPDX-License-Identifier: BSD-3-Clause
"""The view that runs each call on every one of its engines."""

from __future__ import annotations

import json
import os
import warnings
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from .. import _client, error
from ..serialize import pack_arguments, pack_namespace, picklers
from ..serialize.reference import Expression
from ..util import name_of
from .asyncresult import AsyncMapResult, AsyncResult
from .baseview import Ids, View, columns_of
from .display import in_ipython
from .map import Map, map_for, partition_all
from .syncimports import sync_imports

if TYPE_CHECKING:
    from .client import Targets

_APPLY = _client.KIND_APPLY
# What an engine knows itself.
_USE = Expression("lambda: __import__('pcluster_load').use")


class DirectView(View):
    """A view that runs each call on every one of its engines.

    The result is a single value if and only if `targets` is an int.
    """

    def _ids_now(self) -> Ids:
        if self._ids is None:
            return self.client._choose("all")
        if self._ids == ():
            raise error.NoEnginesRegistered("the view has no engines")
        return self._ids

    def _choose(self, targets: Any) -> Union[int, Tuple[int, ...]]:
        ids = self._ids_now() if targets is None else self.client._choose(targets)
        assert ids is not None
        return ids

    def _block(self, block: Optional[bool]) -> bool:
        return self.block if block is None else block

    # ---- source text -------------------------------------------------------------------------------

    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: "Targets" = None,
        block: Optional[bool] = None,
        label: Optional[str] = None,
    ) -> AsyncResult:
        """Run source text in the engines' namespaces.

        Args:
            code: the source
            silent: False: each engine numbers the run and sends the value of the last expression,
                as an ExecuteReply
            targets: instead of the view's
            block: wait for it and raise its errors; default the view's
            label: instead of the view's

        Returns:
            An AsyncResult, also when it has waited.

        Raises:
            TypeError: the code is no str
        """
        if not isinstance(code, str):
            raise TypeError(f"execute() takes source text, not {type(code).__name__}")
        return self._execute((code.encode(),), silent, targets, block, label)

    def _execute(
        self,
        parts: Tuple[bytes, ...],
        silent: bool,
        targets: "Targets",
        block: Optional[bool],
        label: Optional[str],
    ) -> AsyncResult:
        ids = self._choose(targets)
        flags = _client.RUN_SILENT if silent else 0
        calls = self._send(_client.KIND_EXECUTE, ids, flags, parts, self._block(block), label)
        result = self._result(calls, isinstance(ids, int), "execute")
        if self._block(block):
            self._wait(result, True)
        return result

    def run(
        self,
        filename: Union[str, "os.PathLike[str]"],
        targets: "Targets" = None,
        block: Optional[bool] = None,
        label: Optional[str] = None,
    ) -> AsyncResult:
        """Run the text of a local file in the engines' namespaces. See execute().

        The engines need not have the file: tracebacks name it, with its lines as they were sent.

        Args:
            filename: path on this machine; UTF-8
            targets: engine id(s); default those of the view
            block: wait; default the view's
            label: instead of the view's

        Returns:
            AsyncResult.

        Raises:
            OSError: the file can't be read
        """
        with open(filename, encoding="utf-8") as file:
            code = file.read() + "\n"
        name = os.path.abspath(os.fsdecode(filename))
        return self._execute((code.encode(), name.encode(errors="backslashreplace")), True, targets, block, label)

    # ---- names -------------------------------------------------------------------------------------

    def push(
        self,
        ns: Dict[str, Any],
        targets: "Targets" = None,
        block: Optional[bool] = None,
        track: Optional[bool] = None,
    ) -> Any:
        """Assign names in the engines' namespaces.

        Args:
            ns: names and values; names may be dotted or indexed (`a.b`, `d['k']`)
            targets: instead of the view's
            block: wait; default the view's
            track: ignored

        Returns:
            None (a list of None for several engines) when it has waited, else an AsyncResult.

        Raises:
            TypeError: ns is not a dict, or a name not a str
        """
        if not isinstance(ns, dict):
            raise TypeError(f"push() takes a dict, not {type(ns).__name__}")
        for name in ns:
            if not isinstance(name, str):
                raise TypeError(f"names to push to are str, not {type(name).__name__}")
        ids = self._choose(targets)
        parts, by_value = pack_namespace(ns)
        if by_value:
            self.client._check_python(ids, "a pushed value")
        calls = self._send(_client.KIND_PUSH, ids, 0, parts, self._block(block))
        return self._wait(self._result(calls, isinstance(ids, int), "push"), self._block(block))

    def update(self, ns: Dict[str, Any]) -> Any:
        """push() under the name that dicts have for it.

        Args:
            ns: values by name

        Returns:
            As push().
        """
        return self.push(ns, block=self.block)

    def pull(
        self,
        names: Union[str, Sequence[str], Set[str]],
        targets: "Targets" = None,
        block: Optional[bool] = None,
    ) -> Any:
        """The values of expressions in the engines' namespaces.

        Args:
            names: an expression, or a list, tuple or set of them, which gives a list of values
            targets: instead of the view's
            block: wait; default the view's

        Returns:
            The value, or a list of values for several names; for several engines a list of that. An
            AsyncResult of it when it does not wait.

        Raises:
            TypeError: for other types of names
        """
        if not isinstance(names, (str, list, tuple, set, frozenset)):
            raise TypeError(f"pull() takes a str or a list of them, not {type(names).__name__}")
        wanted = names if isinstance(names, str) else list(names)
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if not isinstance(name, str):
                raise TypeError(f"names to pull are str, not {type(name).__name__}")
        ids = self._choose(targets)
        part = json.dumps(wanted).encode()
        calls = self._send(_client.KIND_PULL, ids, 0, (part,), self._block(block))
        return self._wait(self._result(calls, isinstance(ids, int), "pull"), self._block(block))

    def get(self, key_s: Union[str, Sequence[str]]) -> Any:
        """pull(), always waiting.

        Args:
            key_s: an expression, or several, as for pull()

        Returns:
            As pull().
        """
        return self.pull(key_s, block=True)

    def __getitem__(self, key: Union[str, Sequence[str]]) -> Any:
        return self.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.push({key: value}, block=True)

    # ---- picklers ----------------------------------------------------------------------------------

    def use_cloudpickle(self) -> AsyncResult:
        """Here and on the view's engines cloudpickle does what plain pickle can't: the default.

        Returns:
            The AsyncResult of the engines; it has waited when `block` is set.

        Raises:
            ImportError: this Python has no cloudpickle
        """
        picklers.use_cloudpickle()
        return self._use("cloudpickle")

    def use_dill(self) -> AsyncResult:
        """Here and on the view's engines dill does what plain pickle can't. See use_cloudpickle()."""
        picklers.use_dill()
        return self._use("dill")

    def use_pickle(self) -> AsyncResult:
        """Here and on the view's engines there is only plain pickle. See use_cloudpickle()."""
        picklers.use_pickle()
        return self._use("pickle")

    def _use(self, name: str) -> AsyncResult:
        ids = self._choose(None)
        parts = (self.client._functions.pickled(_USE).data, *pack_arguments((name,), {})[0])
        calls = self._send(_APPLY, ids, 0, parts, self.block)
        result = self._result(calls, isinstance(ids, int), f"use_{name}")
        self._wait(result, self.block)
        return result

    # ---- all names ---------------------------------------------------------------------------------

    def clear(self, targets: "Targets" = None, block: Optional[bool] = None) -> AsyncResult:
        """Empty the engines' namespaces.

        Args:
            targets: engine id(s); default those of the view
            block: wait; default the view's

        Returns:
            AsyncResult.
        """
        ids = self._choose(targets)
        calls = self._send(_client.KIND_CLEAR, ids, 0, (), self._block(block))
        result = self._result(calls, isinstance(ids, int), "clear")
        self._wait(result, self._block(block))
        return result

    # ---- sequences ---------------------------------------------------------------------------------

    def _each(
        self,
        kind: int,
        ids: Tuple[int, ...],
        parts: Iterable[Tuple[Any, ...]],
        block: bool,
        label: Optional[str] = None,
    ) -> Tuple[_client.Call, ...]:
        """One message per engine, each with parts of its own."""
        calls: List[_client.Call] = []
        for number, message in zip(ids, parts):
            calls += self._send(kind, number, 0, message, block, label)
        return tuple(calls)

    def _choose_list(self, targets: Any) -> Tuple[int, ...]:
        ids = self._choose(targets)
        return (ids,) if isinstance(ids, int) else ids

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: "Targets" = None,
        block: Optional[bool] = None,
        track: Optional[bool] = None,
    ) -> Any:
        """Cut a sequence into as many parts as there are engines, and push one part to each.

        Args:
            key: name of the part in the engines' namespaces
            seq: the sequence
            dist: 'b' contiguous blocks, 'r' every n-th element
            flatten: where a part has one element, push that element
            targets, block: instead of the view's
            track: ignored

        Returns:
            None when it has waited, else an AsyncResult.
        """
        ids = self._choose_list(targets)
        messages = []
        for part in partition_all(seq, len(ids), dist):
            if flatten and len(part) == 1:
                part = part[0]
            parts, by_value = pack_namespace({key: part})
            if by_value:
                self.client._check_python(ids, "a scattered value")
            messages.append(parts)
        calls = self._each(_client.KIND_PUSH, ids, messages, self._block(block))
        result = AsyncResult(self.client, calls, False, "scatter")
        if not self._block(block):
            return result
        outcome = self._wait(result, True)
        return outcome if outcome is result else None

    def gather(
        self, key: str, dist: str = "b", targets: "Targets" = None, block: Optional[bool] = None
    ) -> Any:
        """Pull a name from all engines and join the parts: the inverse of scatter().

        Args:
            key: the name
            dist: how it was cut: 'b' in blocks, 'r' in turns
            targets: engine id(s); default those of the view
            block: wait; default the view's

        Returns:
            An array where the parts are arrays, else a list, when it has waited; else an
            AsyncMapResult.
        """
        mapping = map_for(dist)
        ids = self._choose_list(targets)
        part = json.dumps(key).encode()
        calls = self._send(_client.KIND_PULL, ids, 0, (part,), self._block(block))
        result = AsyncMapResult(self.client, calls, "gather", mapping=mapping)
        return self._wait(result, self._block(block))

    def map(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        /,
        *sequences: Iterable[Any],
        block: Optional[bool] = None,
        track: bool = False,
        return_exceptions: bool = False,
        label: Optional[str] = None,
    ) -> Any:
        """`f` for each item of the sequences, cut into one part per engine.

        Several sequences are taken together up to the end of the shortest.

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            block: wait; default the view's
            track: ignored
            return_exceptions: put one exception in the place of each failed part instead of raising
            label: instead of the view's

        Returns:
            A list when it has waited, else an AsyncMapResult.
        """
        columns, count = columns_of(sequences)
        ids = self._choose_list(None)
        if count == 0:
            result = AsyncMapResult(self.client, (), name_of(f), (), Map())
            return self._wait(result, self._block(block))
        ids = ids[:count]
        data, by_value = self._map_function(f)
        messages, weights = [], []
        for part in zip(*(partition_all(column, len(ids)) for column in columns)):
            arguments, carries_code = pack_arguments(part, {})
            by_value = by_value or carries_code
            messages.append((data, *arguments))
            weights.append(len(part[0]))
        if by_value:
            self.client._check_python(ids, name_of(f))
        calls = self._each(_APPLY, ids, messages, self._block(block), label)
        result = AsyncMapResult(
            self.client, calls, name_of(f), weights, Map(), return_exceptions=return_exceptions
        )
        return self._wait(result, self._block(block))

    def imap(self, f: Callable[..., Any], /, *sequences: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Iterator over map_async().

        Args:
            f: called with one item of each sequence
            *sequences: as many as f takes arguments
            **options: as for map_async()

        Returns:
            An iterator over the results, in the order of the items.
        """
        return iter(self.map_async(f, *sequences, **options))

    def sync_imports(self, local: bool = True, quiet: bool = False) -> ContextManager[None]:
        """A `with` block whose import statements also run on the engines.

        Renaming with `as` happens here only.

        Args:
            local: must be True
            quiet: don't print a line for each import

        Returns:
            The context manager.

        Raises:
            CompositeError, RemoteError: at the end of the block, when an engine lacks a module
            NotImplementedError: local is False
        """
        if not local:
            raise NotImplementedError("sync_imports() always imports here, too")
        return sync_imports(self, quiet)

    @property
    def importer(self) -> ContextManager[None]:
        """sync_imports(), as a property."""
        return self.sync_imports()

    def activate(self, suffix: str = "") -> None:
        """Register `%px`, `%%px`, `%autopx`, `%pxresult` and `%pxconfig` for this view in IPython.
        Elsewhere there is a warning, and nothing else.

        Args:
            suffix: of the magics' names, so that several views can have some
        """
        if not in_ipython():
            warnings.warn("%px and its family work only in IPython", stacklevel=2)
            return
        from IPython import get_ipython

        from .magics import activate

        activate(get_ipython(), self, suffix)

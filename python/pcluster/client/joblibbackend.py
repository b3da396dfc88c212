# SPDX-License-Identifier: BSD-3-Clause
"""A load-balanced view as a backend of joblib. Needs joblib, so it is imported only when used."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from .. import _client, error
from .asyncresult import AsyncResult
from .executor import ViewExecutor

try:
    from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend
except ImportError as failure:
    raise ImportError(
        f"a backend of joblib can't be registered: joblib can't be imported ({failure}). Install it here and where "
        "the engines run: apt install python3-joblib or pip install joblib",
        name="joblib",
    ) from failure

if TYPE_CHECKING:
    from .balancedview import LoadBalancedView

__all__ = ["JoblibBackend", "register"]

#: Before joblib 1.3 a callback only sends the next batch, and get() has the error.
_RETRIEVES_IN_CALLBACK = hasattr(ParallelBackendBase, "supports_retrieve_callback")


class JoblibBackend(AutoBatchingMixin, ParallelBackendBase):
    """Runs the batches of one joblib.Parallel as tasks of a load-balanced view.

    joblib makes one whenever it is asked for the backend. Parallel inside a task uses threads of
    its engine when it is given n_jobs, else it is sequential.

    Args:
        view: its flags (`retries`, `tags`, ...) hold for each batch
        options: what joblib gives to any backend
    """

    supports_timeout = True
    supports_retrieve_callback = True
    supports_return_generator = True
    default_n_jobs = -1

    def __init__(self, view: "LoadBalancedView", **options: Any) -> None:
        super().__init__(**options)
        self._view = view
        self._executor = ViewExecutor(view)

    def effective_n_jobs(self, n_jobs: Optional[int]) -> int:
        """The number of engines, whatever `n_jobs` is: the scheduler shares them out.

        2 for a single engine: what has one worker, joblib would run here instead.

        Args:
            n_jobs: what joblib.Parallel was given

        Returns:
            At least 2.

        Raises:
            ValueError: n_jobs is 0
            NoEnginesRegistered: there are none
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        self._view._ids_now()  # raises when there are none
        return max(len(self._view), 2)

    def submit(
        self, func: Callable[[], Any], callback: Optional[Callable[[Any], Any]] = None
    ) -> Union[AsyncResult, "_NotSent"]:
        """Send a batch.

        Args:
            func: the batch
            callback: called with the result when it is there, in the client's background thread

        Returns:
            What joblib gives to retrieve_result_callback().
        """
        try:
            # An argument, not the function: functions are kept on engines, for the next call.
            result = self._executor.submit(operator.call, func)
        except Exception as failure:
            # Maybe in the background thread, where joblib would wait for this batch without end.
            not_sent = _NotSent(failure)
            if callback is not None and _RETRIEVES_IN_CALLBACK:
                callback(not_sent)
            return not_sent
        if callback is not None:
            result.add_done_callback(callback)
        return result

    #: Its name before joblib 1.4.
    apply_async = submit

    def retrieve_result_callback(self, out: Union[AsyncResult, "_NotSent"]) -> Any:
        """What joblib's callback takes from `out`, which has ended: the values, or it raises.

        Args:
            out: what submit() returned

        Returns:
            The values of the batch.
        """
        return out.get()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Take back the batches of this backend that have not begun, and interrupt those that run.

        Args:
            ensure_ready: accepted; the backend can always be used again
        """
        executor, self._executor = self._executor, ViewExecutor(self._view)
        executor.shutdown(wait=False)
        try:
            self._view.client._raw.abort(executor._submitted.outstanding(), _client.ABORT_INTERRUPT)
        except error.KernelError:
            pass  # closed, or the connection was lost: nothing is left to take back


class _NotSent:
    """In the place of the result of a batch that could not be sent."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    def get(self, timeout: Optional[float] = None) -> Any:
        raise self._failure


def register(view: "LoadBalancedView", name: str, make_default: bool) -> None:
    """See LoadBalancedView.register_joblib_backend()."""
    register_parallel_backend(name, functools.partial(JoblibBackend, view), make_default=make_default)

# SPDX-License-Identifier: BSD-3-Clause
"""Data that a task shows while it runs.

On an engine:

    >>> from pcluster.datapub import publish_data
    >>> publish_data({"done": 50})

Here: `ar.data` is then {'done': 50}.
"""

from __future__ import annotations

import importlib
import pickle
import threading
from typing import Any, Dict

_lock = threading.Lock()
_published: Dict[Any, Any] = {}
_task = -1


def publish_data(data: Dict[Any, Any]) -> None:
    """Update the `data` of the running task, which its client sees at once as `ar.data`.

    What the task has published before stays, unless the key is the same. Everything that one task
    publishes may take up to 64 KiB when pickled. A client that is slow sees the latest only.

    Args:
        data: anything that can be pickled, by keys

    Raises:
        TypeError: data is no dict
        ValueError: it is too much
        RuntimeError: this is no engine
    """
    global _published, _task
    if not isinstance(data, dict):
        raise TypeError(f"publish_data() takes a dict, not {type(data).__name__}")
    try:
        engine: Any = importlib.import_module("pcluster_engine")
    except ImportError:
        raise RuntimeError("publish_data() is for code that runs on an engine") from None
    with _lock:
        task = engine.task_number()
        together = {**_published, **data} if task == _task else dict(data)
        engine.publish(_pickled(together))
        _published, _task = together, task


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, 5)
    except Exception:
        import cloudpickle

        return bytes(cloudpickle.dumps(value, 5))

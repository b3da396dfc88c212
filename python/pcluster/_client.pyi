# SPDX-License-Identifier: BSD-3-Clause
from typing import Any, Dict, List, Literal, Optional, Tuple, Type, Union, overload

KIND_APPLY: int
KIND_EXECUTE: int
KIND_PUSH: int
KIND_PULL: int
KIND_CLEAR: int
RUN_SILENT: int
NEED_ALL: int
NEED_SUCCESS: int
NEED_FAILURE: int
ABORT_INTERRUPT: int
ABORT_KILL: int
STATUS_PENDING: int
STATUS_OK: int
STATUS_ERROR: int
STATUS_FAILED: int
STREAM_STDOUT: int
STREAM_STDERR: int
TRANSPORT_ANY: int
TRANSPORT_UNIX: int
TRANSPORT_TCP: int
E_INVALID: int
E_SYSTEM: int
E_NO_FILE: int
E_BAD_FILE: int
E_STALE: int
E_REFUSED: int
E_UNREACHABLE: int
E_TIMEOUT: int
E_KEY: int
E_ROLE: int
E_VERSION: int
E_CLUSTER: int
E_PROTOCOL: int
E_LOST: int
E_CLOSED: int
E_FORKED: int
E_NO_ENGINE: int
E_INTERRUPTED: int
E_MEMORY: int
E_REMOTE: int

def set_errors(classes: Dict[int, Type[BaseException]]) -> None: ...
def library_version() -> str: ...

class Call:
    data: Any
    @property
    def status(self) -> int: ...
    @property
    def session(self) -> int: ...
    @property
    def sequence(self) -> int: ...
    def result(self) -> Tuple[int, Optional[int], int, int, int, int]: ...
    def parts(self) -> List[memoryview]: ...
    def load(self) -> Any: ...
    def output(self, stream: int) -> str: ...
    def take_output(self, stream: int) -> str: ...
    def output_since(self, stream: int, n: int) -> Tuple[bytes, int]: ...
    def pin(self) -> None: ...
    def forget(self) -> None: ...

class Client:
    def __init__(
        self,
        *,
        file: Optional[str] = ...,
        json: Optional[str] = ...,
        profile: Optional[str] = ...,
        profile_dir: Optional[str] = ...,
        cluster_id: Optional[str] = ...,
        timeout_ms: int = ...,
        transport: int = ...,
        python: Optional[str] = ...,
    ) -> None: ...
    @property
    def generation(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def info(self) -> str: ...
    @property
    def closed(self) -> bool: ...
    def submit(
        self,
        kind: int,
        targets: Union[None, int, Tuple[int, ...]],
        balanced: bool,
        run_flags: int,
        label: Optional[str],
        parts: Tuple[Any, ...],
        will_wait: bool,
        options: Optional[Tuple[Any, ...]],
    ) -> Any: ...
    def wait(self, calls: Union[Call, Tuple[Call, ...]], seconds: Optional[float] = ...) -> bool: ...
    def announce(self, call: Call) -> None: ...
    def next_ended(self, seconds: Optional[float]) -> Optional[Call]: ...
    def wake(self) -> None: ...
    def dispatch(self, seconds: Optional[float]) -> int: ...
    def outstanding(self) -> Tuple[Call, ...]: ...
    def ended(self) -> Tuple[Call, ...]: ...
    def find(self, sequence: int) -> Optional[Call]: ...
    def query(self, json: str, seconds: Optional[float] = ...) -> str: ...
    def abort(self, calls: Union[Call, Tuple[Call, ...]], flags: int) -> None: ...
    def interrupt(self, engine: int) -> None: ...
    def engines(self) -> List[Tuple[int, int, str, str, str, str]]: ...
    def check(self) -> None: ...
    def close(self) -> None: ...

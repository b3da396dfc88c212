# SPDX-License-Identifier: BSD-3-Clause
"""A cluster that a program starts, uses and stops. It drives the executable `pcluster`."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import socket
import time
import weakref
from typing import Any, Callable, Dict, List, Optional, Union

from .. import error
from ..client import Client
from . import executable, files
from .files import PathLike
from .processes import Controller, EngineSet

_OPTIONS = ("preload", "python", "tag", "transport", "log_level")
_clusters: "weakref.WeakSet[Cluster]" = weakref.WeakSet()


def _new_id() -> str:
    return f"{int(time.time())}-{secrets.token_hex(2)}"


async def _start(start: Callable[..., Any], undo: Callable[[Any], None], *args: Any, **options: Any) -> Any:
    """Run start() in a thread. When the caller is cancelled meanwhile it is awaited all the same, and undone."""
    work = asyncio.ensure_future(asyncio.to_thread(start, *args, **options))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if work.exception() is None:
            await asyncio.to_thread(undo, work.result())
        raise


class Cluster:
    """A controller and sets of engines on this machine.

    Every method that takes time is there twice: `await c.start_cluster()` and
    `c.start_cluster_sync()`; a start that is cancelled while it is awaited is undone.
    `with Cluster(n=4) as rc:` gives a Client whose engines are there, and stops everything at the end.

    Args:
        n: engines to start; default: as many as there are processors
        engines, controller: must be 'local'
        cluster_id: its name within the profile; default: a new one; '' is the profile's unnamed one
        profile: name of the profile; default 'default'
        profile_dir: folder of the profile, wins over `profile`
        controller_args: further options of 'pcluster controller'
        controller_ip: address to listen on; default 127.0.0.1
        engine_timeout: seconds that engines may take to be there
        shutdown_atexit: stop everything when this Python ends, however it does
        log_level: of `log`
        cluster_file: where to say what runs, for from_file() in another Python; default:
            `security/cluster-<cluster_id>.json` in the profile; '' for none
        delay, controller_location, send_engines_connection_env, load_profile, config, parent: accepted and
            ignored: nothing here waits for a fixed time, engines on this machine need no location and
            get their key in any case, and the executable reads the profile's pcluster.conf

    Attributes:
        controller: handle of the controller's process, or None
        engines: handles of the sets of engines, by id
        config: as it was given
        log: a logger

    Raises:
        ValueError: engines or controller of a kind that is not supported
    """

    #: what the handles are: there are no launchers to choose from
    controller_launcher_class = Controller
    engine_launcher_class = EngineSet

    def __init__(
        self,
        *,
        n: Optional[int] = None,
        engines: str = "local",
        controller: str = "local",
        cluster_id: Optional[str] = None,
        profile: Optional[str] = None,
        profile_dir: Optional[PathLike] = None,
        cluster_file: Optional[PathLike] = None,
        controller_args: Optional[List[str]] = None,
        controller_ip: str = "",
        controller_location: str = "",
        delay: float = 0,
        engine_timeout: float = 60,
        send_engines_connection_env: bool = True,
        shutdown_atexit: bool = True,
        load_profile: bool = True,
        log_level: int = logging.INFO,
        config: Any = None,
        parent: Any = None,
    ) -> None:
        for what, kind in (("engines", engines), ("controller", controller)):
            if kind != "local":
                raise ValueError(
                    f"{what}={kind!r} is not supported, only 'local'; on another machine run 'pcluster engine "
                    "--file pcluster-engine.json' with whatever starts programs there"
                )
        self.n = n
        self.cluster_id = _new_id() if cluster_id is None else cluster_id
        self.profile = profile or "default"
        self.profile_dir = None if profile_dir is None else os.path.abspath(os.fspath(profile_dir))
        self.cluster_file = files.path_of(self.profile_folder, self.cluster_id)
        if cluster_file is not None:
            self.cluster_file = os.path.abspath(cluster_file) if os.fspath(cluster_file) else ""
        self.controller_args = list(controller_args or ())
        self.controller_ip = controller_ip
        self.delay = delay
        self.engine_timeout = engine_timeout
        self.shutdown_atexit = shutdown_atexit
        self.config = config
        self.log = logging.getLogger("pcluster.cluster")
        self.log.setLevel(log_level)
        self.controller: Optional[Controller] = None
        self.engines: Dict[str, EngineSet] = {}
        self._file = ""
        self._token = secrets.token_hex(8)  # whose cluster file it is
        self._pid = os.getpid()
        self._client: Optional[Client] = None
        _clusters.add(self)

    def __repr__(self) -> str:
        where = f"profile_dir={self.profile_dir!r}" if self.profile_dir else f"profile={self.profile!r}"
        text = f"<Cluster(cluster_id={self.cluster_id!r}, {where}"
        if self.controller:
            text += ", controller=<running>" if self.controller.running else ", controller=<ended>"
        if self.engines:
            text += f", engine_sets={list(self.engines)}"
        return text + ")>"

    @property
    def profile_folder(self) -> str:
        """The folder of its profile, which need not be there."""
        return self.profile_dir or files.profile_folder(self.profile)

    @property
    def running(self) -> bool:
        """Whether any process of it runs."""
        return any(one.running for one in (self.controller, *self.engines.values()) if one)

    @property
    def engine_set(self) -> Optional[EngineSet]:
        """The first set of engines, or None."""
        return next(iter(self.engines.values()), None)

    # ---- the cluster file ----------------------------------------------------------------------------

    def to_dict(self) -> Dict[str, Any]:
        """What another Python on this machine needs to attach: for from_dict(), and for JSON."""
        return {
            "host": socket.gethostname(),
            "token": self._token,
            "file": self._file,
            "cluster": {
                "n": self.n,
                "cluster_id": self.cluster_id,
                "profile_dir": self.profile_folder,
                "cluster_file": self.cluster_file,
                "controller_args": self.controller_args,
                "controller_ip": self.controller_ip,
                "engine_timeout": self.engine_timeout,
            },
            "controller": self.controller.to_dict() if self.controller else None,
            "engines": {name: one.to_dict() for name, one in self.engines.items()},
        }

    @classmethod
    def from_dict(cls, content: Dict[str, Any], **options: Any) -> "Cluster":
        """Attach to a cluster that another Python has started; it outlives this one.

        Args:
            content: of to_dict()
            options: those of Cluster, which win; shutdown_atexit is always False

        Returns:
            The cluster.

        Raises:
            ForeignCluster: it was started on another machine
            ClusterError: the content is not that of to_dict()
        """
        try:
            host = content["host"]
            chosen: Dict[str, Any] = {**content["cluster"], **options, "shutdown_atexit": False}
            if host != socket.gethostname():
                raise error.ForeignCluster(
                    f"the cluster {chosen['cluster_id']!r} was started on {host}, and only a program there can signal "
                    "or stop its processes; pcluster.Client connects from here, if the controller listens to others"
                )
            name = files.profile_name(chosen["profile_dir"])
            if files.profile_folder(name) == chosen["profile_dir"]:
                chosen.update(profile=name, profile_dir=None)
            cluster = cls(**chosen)
            cluster._file, cluster._token = content["file"], content["token"]
            cluster.controller = Controller(**content["controller"]) if content["controller"] else None
            for key, row in content["engines"].items():
                process = {field: value for field, value in row.items() if field != "options"}
                cluster.engines[key] = EngineSet(key, **process)
                cluster.engines[key].options = dict(row["options"])
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as problem:
            raise error.ClusterError(f"this does not describe a cluster: {problem!r}") from problem
        return cluster

    @classmethod
    def from_file(
        cls,
        cluster_file: Optional[PathLike] = None,
        *,
        profile: Optional[str] = None,
        profile_dir: Optional[PathLike] = None,
        cluster_id: str = "",
        **options: Any,
    ) -> "Cluster":
        """Attach to a cluster that another Python has started, to connect, signal or stop; it outlives this one.

        Args:
            cluster_file: its cluster file; default: that of the profile and cluster_id
            profile, profile_dir, cluster_id: where to look for the file
            options: as for from_dict()

        Returns:
            The cluster.

        Raises:
            FileNotFoundError: there is no such file
            ForeignCluster: it was started on another machine
            ClusterError: it is not a cluster file
        """
        if cluster_file is None:
            folder = files.profile_folder(profile or "default") if profile_dir is None else os.path.abspath(profile_dir)
            cluster_file = files.path_of(folder, cluster_id)
        path = os.path.abspath(cluster_file)
        content = files.read(path)
        try:
            return cls.from_dict(content, cluster_file=path, **options)
        except error.ForeignCluster:
            raise
        except error.ClusterError as problem:
            raise error.ClusterError(f"{path} is not a cluster file: {problem}") from problem

    def write_cluster_file(self) -> None:
        """Write the cluster file, if there is to be one. OSError: it can't be written."""
        if self.cluster_file:
            files.write(self.cluster_file, self.to_dict())

    def remove_cluster_file(self) -> None:
        """Remove the cluster file, unless it is that of another cluster by now."""
        if self.cluster_file and self._owns_file():
            files.remove(self.cluster_file)

    def _owns_file(self) -> bool:
        try:
            return files.read(self.cluster_file).get("token") == self._token
        except (OSError, error.ClusterError):
            return False

    def update_cluster_file(self) -> None:
        """Bring the cluster file up to date: written when something was started, removed when all is stopped."""
        if self.controller or self.engines:
            self.write_cluster_file()
        else:
            self.remove_cluster_file()

    # ---- starting ------------------------------------------------------------------------------------

    def _where(self) -> List[str]:
        place = ["--profile-dir", self.profile_dir] if self.profile_dir else ["--profile", self.profile]
        life = ["--end-with", str(os.getpid())] if self.shutdown_atexit else []
        return [*place, "--cluster-id", self.cluster_id, *life]

    def start_controller_sync(self) -> None:
        """Start the controller.

        Raises:
            RuntimeError: it is running already
            ClusterError: it could not be started; in the executable's own words
        """
        if self.controller and self.controller.running:
            raise RuntimeError(f"the controller of {self!r} is running already")
        listen = ["--ip", "0.0.0.0" if self.controller_ip == "*" else self.controller_ip] if self.controller_ip else []
        self._pid = os.getpid()
        ready = executable.start("controller", [*self._where(), *listen, *self.controller_args])
        self._file = ready["file"]
        self.controller = Controller(ready["pid"], ready["uuid"], ready["log"])
        self.update_cluster_file()

    def start_engines_sync(self, n: Optional[int] = None, engine_set_id: Optional[str] = None, **options: str) -> str:
        """Start a set of engines.

        Args:
            n: how many; default: `self.n`, or as many as there are processors
            engine_set_id: a name for the set; default: a new one
            options: preload, python, tag, transport, log_level, as for 'pcluster engine'

        Returns:
            The set's id.

        Raises:
            RuntimeError: the controller is not running, or the id is taken
            TypeError: an unknown option
            ClusterError: they could not be started; in the executable's own words
        """
        unknown = set(options) - set(_OPTIONS)
        if unknown:
            raise TypeError(f"no such option: {unknown.pop()}; there are {', '.join(_OPTIONS)}")
        if not self.controller or not self.controller.running:
            raise RuntimeError(f"the controller of {self!r} is not running: start it first")
        name = _new_id() if engine_set_id is None else engine_set_id
        if name in self.engines:
            raise RuntimeError(f"there is an engine set {name!r} already")
        count = next((one for one in (n, self.n) if one is not None), len(os.sched_getaffinity(0)))
        log = os.path.join(os.path.dirname(self.controller.log), f"engines-{self.cluster_id}-{name}.log")
        args = ["-n", str(count), *self._where(), "--log-file", log]
        for option, value in options.items():
            args += ["--" + option.replace("_", "-"), value]
        ready = executable.start("engine", args)
        self.engines[name] = EngineSet(name, count, ready["pid"], ready["uuid"], log)
        self.engines[name].options = dict(options)
        self.update_cluster_file()
        return name

    def start_cluster_sync(self, n: Optional[int] = None) -> "Cluster":
        """Start the controller and a set of engines; stops what it started if that fails.

        Args:
            n: how many engines; default as for start_engines_sync()

        Returns:
            This cluster.
        """
        self.start_controller_sync()
        try:
            self.start_engines_sync(n)
        except BaseException:
            self.stop_cluster_sync()
            raise
        return self

    def connect_client_sync(self, **options: Any) -> Client:
        """A Client of this cluster.

        Args:
            **options: those of Client

        Returns:
            The client.

        Raises:
            RuntimeError: it was not started
        """
        if not self._file:
            raise RuntimeError(f"{self!r} was not started")
        return Client(self._file, cluster=self, **options)

    def start_and_connect_sync(self, n: Optional[int] = None, activate: bool = False) -> Client:
        """Start everything, and wait for the engines.

        Args:
            n: how many engines; default as for start_engines_sync()
            activate: register `%px` and its family in IPython, see Client.activate()

        Returns:
            A Client. Leaving its `with` block stops the cluster.
        """
        self.start_cluster_sync(n)
        try:
            client = self.connect_client_sync()
            client.wait_for_engines(sum(one.n for one in self.engines.values()), timeout=self.engine_timeout)
            client._started_cluster = self
            if activate:
                client.activate()
        except BaseException:
            self.stop_cluster_sync()
            raise
        return client

    # ---- stopping ------------------------------------------------------------------------------------

    def _sets(self, engine_set_id: Optional[str]) -> List[str]:
        if engine_set_id is None:
            return list(self.engines)
        if engine_set_id not in self.engines:
            raise KeyError(engine_set_id)
        return [engine_set_id]

    def stop_engines_sync(self, engine_set_id: Optional[str] = None) -> None:
        """Stop engines.

        Args:
            engine_set_id: the set; default all

        Raises:
            KeyError: there is no such set
        """
        for name in self._sets(engine_set_id):
            self.engines.pop(name).stop()
        self.update_cluster_file()

    def stop_controller_sync(self) -> None:
        """Stop the controller; what is connected to it ends, too."""
        if self.controller:
            self.controller.stop()
            self.controller = None
        self.update_cluster_file()

    def stop_cluster_sync(self) -> None:
        """Stop everything. May be repeated."""
        if self.controller:
            self.controller.stop()
            self.controller = None
        for name in list(self.engines):
            self.engines.pop(name).stop()
        self.update_cluster_file()

    def restart_engines_sync(self, engine_set_id: Optional[str] = None) -> None:
        """Stop and start engines, which get new ids.

        Args:
            engine_set_id: the set; default all

        Raises:
            KeyError: there is no such set
        """
        for name in self._sets(engine_set_id):
            old = self.engines[name]
            self.stop_engines_sync(name)
            self.start_engines_sync(old.n, name, **old.options)

    # ---- engines -------------------------------------------------------------------------------------

    def signal_engines_sync(self, signum: Union[int, str], engine_set_id: Optional[str] = None) -> None:
        """Send a signal to every engine of a set.

        Args:
            signum: number or name, 'SIGINT'
            engine_set_id: the set; default all

        Raises:
            KeyError: there is no such set
            ValueError: there is no such signal
        """
        homes = {self.engines[name].uuid for name in self._sets(engine_set_id)}
        with self.connect_client_sync() as client:
            hosts = client._ask({"query": "hosts"})["hosts"]
            ids = [number for host in hosts if host["uuid"] in homes for number in host["engines"]]
            if ids:
                client.send_signal(signum, ids)

    def stop_engine_sync(self, engine_id: int) -> None:
        """Stop one engine.

        Args:
            engine_id: its id

        Raises:
            IndexError: there is none with this id
        """
        with self.connect_client_sync() as client:
            client.shutdown([engine_id], block=True)

    def restart_engine_sync(self, engine_id: int) -> None:
        """Stop one engine and start another, which has a new id.

        Args:
            engine_id: its id

        Raises:
            IndexError: there is none with this id
        """
        with self.connect_client_sync() as client:
            client.shutdown([engine_id], restart=True, block=True)

    def signal_engine_sync(self, signum: Union[int, str], engine_id: int) -> None:
        """Send a signal to one engine.

        Args:
            signum: number or name, 'SIGINT'
            engine_id: its id

        Raises:
            IndexError: there is none with this id
            ValueError: there is no such signal
        """
        with self.connect_client_sync() as client:
            client.send_signal(signum, [engine_id])

    # ---- the same, for asyncio -----------------------------------------------------------------------

    async def start_controller(self) -> None:
        """See start_controller_sync()."""
        await _start(self.start_controller_sync, lambda nothing: self.stop_controller_sync())

    async def start_engines(self, n: Optional[int] = None, engine_set_id: Optional[str] = None, **options: str) -> str:
        """See start_engines_sync()."""
        name: str = await _start(self.start_engines_sync, self.stop_engines_sync, n, engine_set_id, **options)
        return name

    async def start_cluster(self, n: Optional[int] = None) -> "Cluster":
        """See start_cluster_sync()."""
        cluster: Cluster = await _start(self.start_cluster_sync, lambda started: self.stop_cluster_sync(), n)
        return cluster

    async def start_and_connect(self, n: Optional[int] = None, activate: bool = False) -> Client:
        """See start_and_connect_sync()."""
        client: Client = await _start(self.start_and_connect_sync, self._undo_connect, n, activate)
        return client

    def _undo_connect(self, client: Client) -> None:
        client.close()
        self.stop_cluster_sync()

    async def connect_client(self, **options: Any) -> Client:
        """See connect_client_sync()."""
        client: Client = await _start(self.connect_client_sync, Client.close, **options)
        return client

    async def stop_engines(self, engine_set_id: Optional[str] = None) -> None:
        """See stop_engines_sync()."""
        await asyncio.to_thread(self.stop_engines_sync, engine_set_id)

    async def stop_controller(self) -> None:
        """See stop_controller_sync()."""
        await asyncio.to_thread(self.stop_controller_sync)

    async def stop_cluster(self) -> None:
        """See stop_cluster_sync()."""
        await asyncio.to_thread(self.stop_cluster_sync)

    async def restart_engines(self, engine_set_id: Optional[str] = None) -> None:
        """See restart_engines_sync()."""
        await asyncio.to_thread(self.restart_engines_sync, engine_set_id)

    async def signal_engines(self, signum: Union[int, str], engine_set_id: Optional[str] = None) -> None:
        """See signal_engines_sync()."""
        await asyncio.to_thread(self.signal_engines_sync, signum, engine_set_id)

    async def stop_engine(self, engine_id: int) -> None:
        """See stop_engine_sync()."""
        await asyncio.to_thread(self.stop_engine_sync, engine_id)

    async def restart_engine(self, engine_id: int) -> None:
        """See restart_engine_sync()."""
        await asyncio.to_thread(self.restart_engine_sync, engine_id)

    async def signal_engine(self, signum: Union[int, str], engine_id: int) -> None:
        """See signal_engine_sync()."""
        await asyncio.to_thread(self.signal_engine_sync, signum, engine_id)

    def __enter__(self) -> Client:
        self._client = self.start_and_connect_sync()
        return self._client

    def __exit__(self, *args: Any) -> None:
        if self._client is not None:  # its truth would be whether it has engines
            self._client.close()
            self._client = None
        self._leave()

    def _leave(self) -> None:
        """Stop everything at the end of a `with` block; in a child that was forked within, nothing."""
        if self._pid == os.getpid():
            self.stop_cluster_sync()

    async def __aenter__(self) -> Client:
        client: Client = await _start(self.__enter__, lambda client: self.__exit__())
        return client

    async def __aexit__(self, *args: Any) -> None:
        await asyncio.to_thread(self.__exit__)


def _stop_all() -> None:
    for cluster in list(_clusters):
        if cluster.shutdown_atexit and cluster._pid == os.getpid():
            cluster.stop_cluster_sync()


atexit.register(_stop_all)

# SPDX-License-Identifier: BSD-3-Clause
"""A cluster that a program starts, uses and stops. It drives the executable `pcluster`."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import secrets
import time
import weakref
from typing import Any, Dict, List, Optional, Union

from ..client import Client
from . import executable
from .processes import Controller, EngineSet

_OPTIONS = ("preload", "python", "tag", "transport", "log_level")
_clusters: "weakref.WeakSet[Cluster]" = weakref.WeakSet()


def _new_id() -> str:
    return f"{int(time.time())}-{secrets.token_hex(2)}"


class Cluster:
    """A controller and sets of engines on this machine.

    Every method that takes time is there twice: `await c.start_cluster()` and
    `c.start_cluster_sync()`. `with Cluster(n=4) as rc:` gives a Client whose engines are there, and
    stops everything at the end.

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
        delay: accepted: nothing here waits for a fixed time

    Raises:
        ValueError: engines or controller of a kind that is not supported
    """

    def __init__(
        self,
        *,
        n: Optional[int] = None,
        engines: str = "local",
        controller: str = "local",
        cluster_id: Optional[str] = None,
        profile: Optional[str] = None,
        profile_dir: Union[None, str, "os.PathLike[str]"] = None,
        controller_args: Optional[List[str]] = None,
        controller_ip: str = "",
        delay: float = 0,
        engine_timeout: float = 60,
        shutdown_atexit: bool = True,
        log_level: int = logging.INFO,
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
        self.controller_args = list(controller_args or ())
        self.controller_ip = controller_ip
        self.delay = delay
        self.engine_timeout = engine_timeout
        self.shutdown_atexit = shutdown_atexit
        self.log = logging.getLogger("pcluster.cluster")
        self.log.setLevel(log_level)
        self.controller: Optional[Controller] = None
        self.engines: Dict[str, EngineSet] = {}
        self._file = ""
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
    def engine_set(self) -> Optional[EngineSet]:
        """The first set of engines, or None."""
        return next(iter(self.engines.values()), None)

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
        ready = executable.start("controller", [*self._where(), *listen, *self.controller_args])
        self._file = ready["file"]
        self.controller = Controller(ready["pid"], ready["uuid"], ready["log"])

    def start_engines_sync(self, n: Optional[int] = None, engine_set_id: Optional[str] = None, **options: str) -> str:
        """Start a set of engines; returns its id.

        Args:
            n: how many; default: `self.n`, or as many as there are processors
            engine_set_id: a name for the set; default: a new one
            options: preload, python, tag, transport, log_level, as for 'pcluster engine'

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
        count = n or self.n or len(os.sched_getaffinity(0))
        log = os.path.join(os.path.dirname(self.controller.log), f"engines-{self.cluster_id}-{name}.log")
        args = ["-n", str(count), *self._where(), "--log-file", log]
        for option, value in options.items():
            args += ["--" + option.replace("_", "-"), value]
        ready = executable.start("engine", args)
        self.engines[name] = EngineSet(name, count, ready["pid"], ready["uuid"], log)
        self.engines[name].options = dict(options)
        return name

    def start_cluster_sync(self, n: Optional[int] = None) -> "Cluster":
        """Start the controller and a set of engines; stops what it started if that fails."""
        self.start_controller_sync()
        try:
            self.start_engines_sync(n)
        except BaseException:
            self.stop_cluster_sync()
            raise
        return self

    def connect_client_sync(self, **options: Any) -> Client:
        """A Client of this cluster; the options are those of Client.

        Raises:
            RuntimeError: it was not started
        """
        if not self._file:
            raise RuntimeError(f"{self!r} was not started")
        return Client(self._file, cluster=self, **options)

    def start_and_connect_sync(self, n: Optional[int] = None, activate: bool = False) -> Client:
        """Start everything; a Client whose engines are there."""
        self.start_cluster_sync(n)
        try:
            client = self.connect_client_sync()
            client.wait_for_engines(sum(one.n for one in self.engines.values()), timeout=self.engine_timeout)
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
        """Stop a set of engines, or all. KeyError: there is no such set."""
        for name in self._sets(engine_set_id):
            self.engines.pop(name).stop()

    def stop_controller_sync(self) -> None:
        """Stop the controller; what is connected to it ends, too."""
        if self.controller:
            self.controller.stop()
            self.controller = None

    def stop_cluster_sync(self) -> None:
        """Stop everything. May be repeated."""
        self.stop_controller_sync()
        self.stop_engines_sync()

    def restart_engines_sync(self, engine_set_id: Optional[str] = None) -> None:
        """Stop and start a set, or all; engines get new ids. KeyError: there is no such set."""
        for name in self._sets(engine_set_id):
            old = self.engines[name]
            self.stop_engines_sync(name)
            self.start_engines_sync(old.n, name, **old.options)

    # ---- engines -------------------------------------------------------------------------------------

    def signal_engines_sync(self, signum: Union[int, str], engine_set_id: Optional[str] = None) -> None:
        """Send a signal to every engine of a set, or of all. KeyError: there is no such set."""
        homes = {self.engines[name].uuid for name in self._sets(engine_set_id)}
        with self.connect_client_sync() as client:
            hosts = client._ask({"query": "hosts"})["hosts"]
            ids = [number for host in hosts if host["uuid"] in homes for number in host["engines"]]
            if ids:
                client.send_signal(signum, ids)

    def stop_engine_sync(self, engine_id: int) -> None:
        """Stop one engine. IndexError: there is none with this id."""
        with self.connect_client_sync() as client:
            client.shutdown([engine_id], block=True)

    def restart_engine_sync(self, engine_id: int) -> None:
        """Stop one engine and start another, which has a new id. IndexError: there is none."""
        with self.connect_client_sync() as client:
            client.shutdown([engine_id], restart=True, block=True)

    def signal_engine_sync(self, signum: Union[int, str], engine_id: int) -> None:
        """Send a signal to one engine. IndexError: there is none with this id."""
        with self.connect_client_sync() as client:
            client.send_signal(signum, [engine_id])

    # ---- the same, for asyncio -----------------------------------------------------------------------

    async def start_controller(self) -> None:
        """See start_controller_sync."""
        await asyncio.to_thread(self.start_controller_sync)

    async def start_engines(self, n: Optional[int] = None, engine_set_id: Optional[str] = None, **options: str) -> str:
        """See start_engines_sync."""
        return await asyncio.to_thread(self.start_engines_sync, n, engine_set_id, **options)

    async def start_cluster(self, n: Optional[int] = None) -> "Cluster":
        """See start_cluster_sync."""
        return await asyncio.to_thread(self.start_cluster_sync, n)

    async def start_and_connect(self, n: Optional[int] = None, activate: bool = False) -> Client:
        """See start_and_connect_sync."""
        return await asyncio.to_thread(self.start_and_connect_sync, n, activate)

    async def connect_client(self, **options: Any) -> Client:
        """See connect_client_sync."""
        return await asyncio.to_thread(self.connect_client_sync, **options)

    async def stop_engines(self, engine_set_id: Optional[str] = None) -> None:
        """See stop_engines_sync."""
        await asyncio.to_thread(self.stop_engines_sync, engine_set_id)

    async def stop_controller(self) -> None:
        """See stop_controller_sync."""
        await asyncio.to_thread(self.stop_controller_sync)

    async def stop_cluster(self) -> None:
        """See stop_cluster_sync."""
        await asyncio.to_thread(self.stop_cluster_sync)

    async def restart_engines(self, engine_set_id: Optional[str] = None) -> None:
        """See restart_engines_sync."""
        await asyncio.to_thread(self.restart_engines_sync, engine_set_id)

    async def signal_engines(self, signum: Union[int, str], engine_set_id: Optional[str] = None) -> None:
        """See signal_engines_sync."""
        await asyncio.to_thread(self.signal_engines_sync, signum, engine_set_id)

    async def stop_engine(self, engine_id: int) -> None:
        """See stop_engine_sync."""
        await asyncio.to_thread(self.stop_engine_sync, engine_id)

    async def restart_engine(self, engine_id: int) -> None:
        """See restart_engine_sync."""
        await asyncio.to_thread(self.restart_engine_sync, engine_id)

    async def signal_engine(self, signum: Union[int, str], engine_id: int) -> None:
        """See signal_engine_sync."""
        await asyncio.to_thread(self.signal_engine_sync, signum, engine_id)

    def __enter__(self) -> Client:
        self._client = self.start_and_connect_sync()
        return self._client

    def __exit__(self, *args: Any) -> None:
        if self._client:
            self._client.close()
            self._client = None
        self.stop_cluster_sync()

    async def __aenter__(self) -> Client:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *args: Any) -> None:
        await asyncio.to_thread(self.__exit__)


def _stop_all() -> None:
    for cluster in list(_clusters):
        if cluster.shutdown_atexit and cluster._pid == os.getpid():
            cluster.stop_cluster_sync()


atexit.register(_stop_all)

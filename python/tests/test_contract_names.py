# SPDX-License-Identifier: BSD-3-Clause
"""Names of the contract (test/lint/contract.txt) that no other test needs."""

import asyncio
import importlib

import pytest

import pcluster
from pcluster import Cluster, CompositeError, ParallelFunction
from pcluster.client.view import LazyMapIterator
from pcluster.cluster.processes import Controller, EngineSet

#: Methods of a Cluster that have a form for asyncio, with arguments.
ASYNC_FORMS = {
    "start_controller": (),
    "start_engines": (2, "some"),
    "start_cluster": (2,),
    "start_and_connect": (2, False),
    "connect_client": (),
    "stop_engines": ("some",),
    "stop_controller": (),
    "stop_cluster": (),
    "restart_engines": ("some",),
    "signal_engines": ("SIGINT", "some"),
    "stop_engine": (3,),
    "restart_engine": (3,),
    "signal_engine": ("SIGINT", 3),
}


@pytest.mark.parametrize("name", [
    "client.client", "client.view", "client.asyncresult", "error", "util", "serialize", "serialize.canning",
    "datapub", "cluster",
])
def test_modules(name):
    assert importlib.import_module("pcluster." + name)


def test_names_where_programs_import_them_from():
    from pcluster.client import asyncresult, client, view
    from pcluster.serialize import canning

    assert asyncresult.AsyncHubResult is pcluster.AsyncHubResult and view.ViewExecutor is pcluster.ViewExecutor
    assert client.ExecuteReply is asyncresult.ExecuteReply and client.Metadata is pcluster.client.Metadata
    assert (canning.Reference, canning.PrePickled) == (pcluster.Reference, pcluster.PrePickled)
    with pytest.raises(AttributeError, match="no attribute 'AsyncRestult'"):
        asyncresult.AsyncRestult


@pytest.mark.parametrize("name", ASYNC_FORMS)
def test_async_form_is_the_sync_one(name):
    given = []
    cluster = Cluster(n=2)
    setattr(cluster, name + "_sync", lambda *args: given.append(args) or "its result")
    assert asyncio.run(getattr(cluster, name)(*ASYNC_FORMS[name])) in ("its result", None)
    assert given == [ASYNC_FORMS[name]]


def test_cluster_that_was_not_started():
    cluster = Cluster(n=2, config={"any": "thing"})
    assert cluster.config == {"any": "thing"} and Cluster().config is None
    assert cluster.engine_launcher_class is EngineSet and cluster.controller_launcher_class is Controller
    assert cluster.engine_set is None and cluster.controller is None and cluster.engines == {}
    cluster.stop_controller_sync()
    cluster.stop_cluster_sync()
    with pytest.raises(KeyError):
        cluster.signal_engines_sync("SIGINT", "no such set")


def test_start_and_connect(client, monkeypatch):
    cluster = Cluster(n=2)
    monkeypatch.setattr(cluster, "start_cluster_sync", lambda n: cluster)
    monkeypatch.setattr(cluster, "connect_client_sync", lambda: client)
    assert cluster.start_and_connect_sync(2) is client


def test_composite_error_shows_some():
    one = ("ValueError", "bad", "", {"engine_id": 1, "engine_uuid": "", "method": "apply"})
    assert CompositeError.tb_limit == 4
    text = str(CompositeError("errors", [one] * 6))
    assert text.count("ValueError") == 4 and "2 more" in text
    assert "more" not in str(CompositeError("errors", [one] * 4))


def test_purge_results(controller, client):
    controller.answers["purge"] = {"ok": True, "purged": 1, "next": None}
    result = client[0].apply_async(int)
    result.get()
    client.purge_results(result)
    assert controller.asked[-1]["query"] == "purge" and controller.asked[-1]["tasks"] == result.msg_ids
    client[[1, 2]].purge_results()
    assert controller.asked[-1]["engines"] == [1, 2] and controller.asked[-1]["tasks"] == []
    with pytest.raises(ValueError):
        client.purge_results()


def test_forms_of_map(client):
    assert isinstance(client[:].parallel()(len), ParallelFunction)
    lazy = client.load_balanced_view().imap(abs, [-1, -2])
    assert isinstance(lazy, LazyMapIterator) and list(lazy) == [1, 2]


def test_no_keys_of_curve(client):
    assert client.curve_serverkey is client.curve_publickey is client.curve_secretkey is None


def test_private_names_of_engines(client):
    ids, uuids = client.ids, client._build_targets("all")[0]
    assert list(client._ids) == ids
    assert [client._engines[number].uuid for number in ids] == uuids


def test_version():
    assert pcluster.__version__ == ".".join(map(str, pcluster.version_info))

# SPDX-License-Identifier: BSD-3-Clause
"""Cluster files and ClusterManager, with processes that stand for those of a cluster."""

import json
import os
import subprocess

import pytest

import pcluster
from pcluster import error
from pcluster.cluster import Controller, EngineSet


@pytest.fixture(autouse=True)
def profiles(folder, monkeypatch):
    """The folder with all profiles."""
    monkeypatch.setenv("PCLUSTER_DIR", folder)
    return folder


def make(cluster_id="x", pid=None, **options):
    """A cluster whose controller is the process `pid`, default this one."""
    cluster = pcluster.Cluster(cluster_id=cluster_id, shutdown_atexit=False, **options)
    cluster.controller = Controller(pid or os.getpid(), "c", "/nowhere/c.log")
    cluster.engines["a"] = EngineSet("a", 3, pid or os.getpid(), "e", "/nowhere/e.log")
    cluster.engines["a"].options = {"tag": "gpu"}
    cluster.update_cluster_file()
    return cluster


def forget(cluster):
    """As if all was stopped."""
    cluster.controller = None
    cluster.engines.clear()
    cluster.update_cluster_file()


def ended_pid():
    """The id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def change(path, **fields):
    """Put other fields into a cluster file."""
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**content, **fields}, file)


def test_written_and_removed(profiles):
    cluster = make(n=3)
    path = os.path.join(profiles, "profile_default", "security", "cluster-x.json")
    assert cluster.cluster_file == path and os.listdir(os.path.dirname(path)) == ["cluster-x.json"]
    assert os.stat(path).st_mode & 0o777 == 0o600 and os.stat(os.path.dirname(path)).st_mode & 0o777 == 0o700
    forget(cluster)
    assert os.listdir(os.path.dirname(path)) == []
    forget(cluster)
    assert make("", cluster_file="").cluster_file == "" and os.listdir(os.path.dirname(path)) == []


def test_attach(profiles):
    make(n=3, controller_args=["--hwm", "2"])
    other = pcluster.Cluster.from_file(cluster_id="x")
    assert (other.n, other.profile, other.profile_dir, other.controller_args) == (3, "default", None, ["--hwm", "2"])
    assert other.running and not other.shutdown_atexit
    assert other.engine_set.n == 3 and other.engine_set.options == {"tag": "gpu"}
    assert repr(other).endswith("controller=<running>, engine_sets=['a'])>")
    forget(other)
    with pytest.raises(FileNotFoundError, match="there is no cluster file"):
        pcluster.Cluster.from_file(cluster_id="x")


def test_from_dict_keeps_its_argument(profiles):
    content = make(profile_dir=os.path.join(profiles, "there")).to_dict()
    before = json.dumps(content)
    assert pcluster.Cluster.from_dict(content, n=7).profile_dir == os.path.join(profiles, "there")
    assert json.dumps(content) == before == json.dumps(json.loads(before))


def test_file_of_another_cluster_stays():
    first = make()
    second = make()
    forget(first)
    assert os.path.exists(second.cluster_file)


def test_pid_of_another_process_is_not_meant():
    path = make().cluster_file
    change(path, controller={"pid": os.getpid(), "uuid": "", "log": "", "birth": "before"}, engines={})
    cluster = pcluster.Cluster.from_file(path)
    assert not cluster.running
    cluster.controller.tell(9)  # or this test ends here


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"host": 1, "cluster": 3}', "\0"])
def test_not_a_cluster_file(folder, text):
    path = os.path.join(folder, "cluster-x.json")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    with pytest.raises(error.ClusterError, match="cluster-x.json is not a cluster file"):
        pcluster.Cluster.from_file(path)


def test_other_machine():
    path = make().cluster_file
    change(path, host="elsewhere")
    with pytest.raises(error.ForeignCluster, match="was started on elsewhere"):
        pcluster.Cluster.from_file(path)
    assert pcluster.ClusterManager().load_clusters() == {}
    assert pcluster.clean_cluster_files() == []
    assert pcluster.clean_cluster_files(force=True) == [path]


def test_manager(profiles):
    manager = pcluster.ClusterManager()
    cluster = make()
    make("y", profile="other")
    make("z", ended_pid())
    assert sorted(manager.load_clusters()) == ["default:x", "other:y"]
    assert sorted(pcluster.ClusterManager().load_clusters(profile="other")) == ["other:y"]
    kept = manager.get_cluster("other:y")
    forget(cluster)
    manager.get_cluster("default:x").controller = Controller(ended_pid(), "c", "")
    manager.get_cluster("default:x").engines.clear()
    assert manager.load_clusters(init_default_clusters=True) is manager.clusters
    assert sorted(manager.clusters) == ["default:", "other:y"] and manager.get_cluster("other:y") is kept
    manager.remove_cluster("other:y")
    with pytest.raises(KeyError):
        manager.get_cluster("other:y")


def test_new_cluster(profiles):
    manager = pcluster.ClusterManager()
    key, cluster = manager.new_cluster(cluster_id="q", config=None, load_profile=False, controller_location="here")
    assert key == "default:q" and manager.clusters == {key: cluster}
    with pytest.raises(KeyError, match="already"):
        manager.new_cluster(cluster_id="q", profile_dir=os.path.join(profiles, "profile_default"))
    assert manager.load_clusters() == {key: cluster}  # not started, not dropped


def test_clean(profiles):
    runs, ended = make(), make("y", ended_pid())
    broken = os.path.join(os.path.dirname(runs.cluster_file), "cluster-broken.json")
    with open(broken, "w", encoding="utf-8"):
        pass
    assert pcluster.clean_cluster_files() == [broken, ended.cluster_file]
    assert pcluster.clean_cluster_files([os.path.join(profiles, "profile_default")]) == []
    assert os.path.exists(runs.cluster_file)


def test_by_hand():
    """The file can be removed and written again; that of another cluster under the name stays."""
    cluster = make()
    cluster.remove_cluster_file()
    assert not os.path.exists(cluster.cluster_file)
    cluster.write_cluster_file()
    assert pcluster.Cluster.from_file(cluster.cluster_file).to_dict() == cluster.to_dict()
    change(cluster.cluster_file, token="another")
    cluster.remove_cluster_file()
    assert os.path.exists(cluster.cluster_file)

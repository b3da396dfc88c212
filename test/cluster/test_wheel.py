# SPDX-License-Identifier: BSD-3-Clause
"""The wheel: a virtual environment with nothing else in it has all of pcluster."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import cloudpickle
import pytest

SOURCE = Path(__file__).resolve().parents[2]
SESSION = """\
from pcluster import Client
c = Client()
print(c.ids)
print(c[:].apply_sync(lambda: "Hello, World"))
print(c[0].apply_sync(lambda: __import__("sys").prefix))
"""
OWN_CLUSTER = """\
import pcluster
with pcluster.Cluster(n=2) as rc:
    print(list(rc.load_balanced_view().map(lambda x: x ** 2, range(4))))
    print(rc[:].apply_sync(lambda: __import__("sys").prefix))
"""


@pytest.fixture
def clean(monkeypatch):
    """Nothing of the build tree or of the caller is found by way of the environment."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "PYTHON", "LD_")) or name in ("PCLUSTER_EXE", "DESTDIR"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def run(*command, **options):
    """Runs a program to a good end; returns what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=250,
                          check=False, **options)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def build_wheel(folder):
    """Builds the wheel from a copy of the sources, since the backend writes into them."""
    copy = folder / "source"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("build*", ".git", "__pycache__", ".mesonpy*"))
    run(sys.executable, "-m", "pip", "wheel", copy, "--no-build-isolation", "--no-index", "--no-deps",
        "-w", folder, cwd=folder)
    return next(folder.glob("*.whl"))


def make_environment(folder, wheel):
    """A virtual environment with the wheel and cloudpickle; returns its path."""
    where = folder / "env"
    venv.create(where, symlinks=True)
    run(sys.executable, "-m", "pip", "--python", where / "bin/python", "install", "--no-index", "--no-deps", wheel,
        cwd=folder)
    packages = next(where.glob("lib/python*/site-packages"))
    (packages / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    return where


def test_wheel(home, clean, tmp_path):
    wheel = build_wheel(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    compiled = sorted(name.split("/")[-1].split(".")[0] for name in names
                      if not name.endswith((".py", ".pyi", "py.typed")) and "dist-info" not in name)
    assert compiled == ["_client", "libpcluster", "pcluster"]
    assert [name for name in names if name.endswith("dist-info/LICENSE")]
    sources = {str(path.relative_to(SOURCE / "python")) for path in (SOURCE / "python/pcluster").rglob("*.py*")}
    assert {name for name in names if name.endswith((".py", ".pyi"))} == {
        name for name in sources if name.endswith((".py", ".pyi"))}

    where = make_environment(tmp_path, wheel)
    home.exe = str(where / "bin/pcluster")
    ready = home.run("start", "-n", 2, "--daemonize")
    assert ready.returncode == 0, ready.stderr
    python = where / "bin/python"
    assert run(python, "-c", SESSION, cwd=home.work).splitlines() == [
        "[0, 1]", "['Hello, World', 'Hello, World']", str(where)]
    assert home.run("stop").returncode == 0
    # The environment need not be active.
    assert run(python, "-c", OWN_CLUSTER, cwd=home.work).splitlines() == [
        "[0, 1, 4, 9]", str([str(where)] * 2)]
    home.wait_empty()

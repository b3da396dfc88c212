# SPDX-License-Identifier: BSD-3-Clause
"""What `meson install` puts into a folder is complete: it works from there."""

import os
import shutil
import subprocess
import venv
from pathlib import Path

import cloudpickle
import pytest

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ["PCLUSTER_EXE"]).resolve().parents[1]
PROGRAM = """
#include <pcluster.h>
#include <stdio.h>
int main(void)
{
    struct pc_connect how = {0};
    struct pc_client *client;
    struct pc_err err;
    struct pc_engine *engines;
    size_t count;
    if (pc_client_open(&client, &how, &err) || pc_client_engines(client, &engines, &count, &err)) {
        puts(err.text);
        return 1;
    }
    printf("%zu engines\\n", count);
    pc_engines_free(engines);
    pc_client_close(client);
    return 0;
}
"""


def run(*command, **environment):
    """Runs a program to a good end; returns what it printed."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=300, check=False,
                          env=dict(os.environ, **environment))
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@pytest.fixture
def installed(tmp_path):
    """A folder with an installation below usr/local."""
    run("meson", "install", "-C", str(BUILD), "--no-rebuild", "--destdir", str(tmp_path))
    return tmp_path / "usr/local"


def test_nothing_is_missing(installed, tmp_path):
    files = {str(path.relative_to(installed)) for path in installed.rglob("*") if not path.is_dir()}
    names = {name.rpartition("/")[2] for name in files}
    assert {"bin/pcluster", "include/pcluster.h", "share/bash-completion/completions/pcluster.bash",
            "share/zsh/site-functions/_pcluster"} <= files
    assert {"libpcluster.so", "libpcluster.so.0", "pcluster.pc", "_client.abi3.so", "_client.pyi", "py.typed"} <= names
    assert {path.name for path in (SOURCE / "man").glob("*.[1-9]")} <= names
    package = next(installed.rglob("pcluster/__init__.py")).parent
    for path in (SOURCE / "python/pcluster").rglob("*.py"):
        assert (package / path.relative_to(SOURCE / "python/pcluster")).is_file()
    for unit in ("user/pcluster.service", "user/pcluster.socket", "system/pcluster@.service"):
        text = (installed / "lib/systemd" / unit).read_text(encoding="utf-8")
        assert ("ExecStart=/usr/local/bin/pcluster " in text) == unit.endswith("service")
    assert not [name for name in names if name.startswith(("test_", "fuzz_", "relay"))]
    for path in (installed / "bin/pcluster", package / "_client.abi3.so", next(installed.rglob("libpcluster.so.0"))):
        assert str(BUILD) not in run("readelf", "-d", str(path))


def test_a_program_in_c(home, start, installed, tmp_path):
    library = next(installed.rglob("libpcluster.so.0")).parent
    flags = {"PKG_CONFIG_PATH": str(next(installed.rglob("pcluster.pc")).parent),
             "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)}
    source, program = tmp_path / "count.c", str(tmp_path / "count")
    source.write_text(PROGRAM, encoding="utf-8")
    options = run("pkg-config", "--cflags", "--libs", "pcluster", **flags).split()
    run("gcc", "-Wall", "-Werror", "-o", program, str(source), *options)
    home.exe = str(installed / "bin" / "pcluster")
    start(2)
    assert run(program, LD_LIBRARY_PATH=str(library)) == "2 engines\n"


def test_in_a_virtual_environment(home, tmp_path):
    """A prefix that no linker and no Python knows: everything is found all the same."""
    where, build = tmp_path / "env", str(tmp_path / "build")
    venv.create(where, symlinks=True)
    (next(where.glob("lib/python*/site-packages")) / "cloudpickle").symlink_to(Path(cloudpickle.__file__).parent)
    run(str(SOURCE / "tools/build"), build, f"--prefix={where}", "-Dtests=false")
    run("meson", "install", "-C", build, "--no-rebuild")
    shutil.rmtree(build)
    home.exe = str(where / "bin/pcluster")
    ready = home.run("start", "-n", "2", "--daemonize")
    assert ready.returncode == 0, ready.stderr
    python = "from pcluster import Client; print(Client()[:].apply_sync(lambda: __import__('sys').prefix))"
    assert run(str(where / "bin/python"), "-c", python, PYTHONPATH="") == f"['{where}', '{where}']\n"
    assert home.run("stop").returncode == 0
    home.wait_empty()

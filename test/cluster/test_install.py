# SPDX-License-Identifier: BSD-3-Clause
"""What `meson install` puts into a folder is complete: it works from there."""

import os
import subprocess
from pathlib import Path

import pytest

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


def test_an_installation_is_complete(home, installed, tmp_path):
    names = {path.name for path in installed.rglob("*") if path.is_file()}
    assert {"pcluster", "pcluster.h", "pcluster.pc", "libpcluster.so.0", "pcluster.1",
            "pcluster-start.1", "__init__.py"} <= names | {p.name for p in installed.rglob("*.so*")}
    assert not [name for name in names if name.startswith(("test_", "fuzz_", "bench"))]

    library = next(installed.rglob("libpcluster.so.0")).parent
    package = next(installed.rglob("pcluster/__init__.py")).parents[1]
    flags = {"PKG_CONFIG_PATH": str(next(installed.rglob("pcluster.pc")).parent),
             "PKG_CONFIG_SYSROOT_DIR": str(tmp_path)}
    source, program = tmp_path / "count.c", str(tmp_path / "count")
    source.write_text(PROGRAM, encoding="utf-8")
    options = run("pkg-config", "--cflags", "--libs", "pcluster", **flags).split()
    run("gcc", "-Wall", "-Werror", "-o", program, str(source), *options)

    home.exe = str(installed / "bin" / "pcluster")
    ready = home.run("start", "-n", "2", "--daemonize")
    assert ready.returncode == 0, ready.stderr
    paths = {"LD_LIBRARY_PATH": str(library), "PYTHONPATH": str(package)}
    assert run(program, **paths) == "2 engines\n"
    python = "from pcluster import Client; print(Client()[:].apply_sync(lambda: 1))"
    assert run("/usr/bin/python3", "-c", python, **paths) == "[1, 1]\n"
    assert home.run("stop").returncode == 0
    home.wait_empty()

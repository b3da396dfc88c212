# SPDX-License-Identifier: BSD-3-Clause
"""The Debian packages: built, installed into a fresh Debian, used by an ordinary user, and removed.

The fresh Debian is a folder of its own, entered with a process and mount namespace of its own.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = {"pcluster", "python3-pcluster", "libpcluster0", "libpcluster-dev"}
PLACES = {
    "pcluster": {"/usr/bin/pcluster", "/usr/share/man/man1/pcluster.1.gz", "/lib/systemd/system/pcluster@.service",
                 "/usr/lib/systemd/user/pcluster.service", "/usr/lib/systemd/user/pcluster.socket",
                 "/usr/share/bash-completion/completions/pcluster.bash",
                 "/usr/share/zsh/vendor-completions/_pcluster"},
    "python3-pcluster": {"/usr/lib/python3/dist-packages/pcluster/_client.abi3.so"},
    "libpcluster0": {"/usr/lib/*/libpcluster.so.0"},
    "libpcluster-dev": {"/usr/include/pcluster.h", "/usr/lib/*/libpcluster.so", "/usr/lib/*/pkgconfig/pcluster.pc",
                        "/usr/share/man/man3/libpcluster.3.gz", "/usr/share/doc/libpcluster-dev/examples/hello.c"},
}
SESSION = """\
from pcluster import Client
c = Client()
c.ids
c[:].apply_sync(lambda: "Hello, World")
import os
set(c[:].apply_sync(os.getuid)) == {os.getuid()}
"""
ANSWERS = ["[0, 1]", "['Hello, World', 'Hello, World']", "True"]
OWN_CLUSTER = """\
import pcluster
with pcluster.Cluster(n=2) as rc:
    print(list(rc.load_balanced_view().map(lambda x: x ** 2, range(4))))
"""


def run(*command, **options):
    """Runs a program to a good end; returns what it printed."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=900,
                          check=False, **options)
    assert done.returncode == 0, (command, done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """The packages by name."""
    for program in ("dpkg-buildpackage", "dh", "lintian"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}: tools/setup package installs what is needed")
    folder = tmp_path_factory.mktemp("packages")
    run(SOURCE / "tools/package", folder)
    return {path.name.split("_")[0]: path for path in folder.glob("*.deb") if "-dbgsym_" not in path.name}


def mirror():
    """Where this machine gets its Debian from, as a list; else debootstrap knows one."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian"],
                          capture_output=True, text=True, check=False)
    return done.stdout.split()[:1]


@pytest.fixture
def root(tmp_path):
    """The folder of a fresh Debian 12, with a user."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a fresh Debian")
    if not shutil.which("debootstrap"):
        pytest.skip("there is no debootstrap: tools/setup package installs what is needed")
    folder = tmp_path / "root"
    done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(folder), *mirror()],
                          capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        pytest.skip("no fresh Debian could be made: " + " ".join((done.stdout + done.stderr).splitlines()[-1:]))
    shutil.copy("/etc/resolv.conf", folder / "etc")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def inside(folder, *command, **options):
    """Runs a program in there. It and all that it starts ends with it, and sees no other process."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    environment |= {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", f"--root={folder}", "--wd=/",
               *command, env=environment, **options)


def test_each_file_is_in_its_package(packages):
    assert set(packages) == PACKAGES
    for name, places in PLACES.items():
        listed = [line.split()[5].lstrip(".") for line in run("dpkg", "-c", packages[name]).splitlines()]
        for place in places:
            assert any(Path(path).match(place) for path in listed), (name, place)


def test_an_ordinary_user_of_a_fresh_debian(packages, root):
    (root / "packages").mkdir()
    for path in packages.values():
        shutil.copy(path, root / "packages")
    inside(root, "apt-get", "-q", "update")
    inside(root, "sh", "-c", "apt-get -q -y --no-install-recommends install /packages/*.deb")
    inside(root, "getent", "passwd", "pcluster")  # whom the service runs as
    inside(root, "useradd", "--create-home", "ann")
    script = (f"cd; pcluster start -n 2 --daemonize && python3 -i -q -c '' <<'E'\n{SESSION}E\n"
              f"pcluster stop && exec python3 -c '{OWN_CLUSTER}'")
    output = inside(root, "runuser", "-l", "ann", "-c", script).splitlines()
    assert output[0].startswith("ready: 2 engines"), output
    assert output[1:4] == ANSWERS and output[-1] == "[0, 1, 4, 9]", output
    inside(root, "apt-get", "-q", "-y", "purge", *sorted(PACKAGES))
    left = [path for path in root.rglob("*pcluster*") if root / "proc" not in path.parents
            and root / "packages" not in path.parents and root / "home" not in path.parents]
    assert [path for path in left if "dpkg" not in path.name and path.suffix != ".log"] == []

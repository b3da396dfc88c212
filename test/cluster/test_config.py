# SPDX-License-Identifier: BSD-3-Clause
"""Settings from files and the environment, and `pcluster config`, which says where they are from."""

import os
import subprocess

import pytest
from home import DEADLINE_S


def write(folder, text):
    """Writes a pcluster.conf; returns its path."""
    path = os.path.join(folder, "pcluster.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


@pytest.fixture
def etc(home):
    """Writes the system's file."""
    return lambda text: write(os.environ["PCLUSTER_ETC"], text)


@pytest.fixture
def profile(home):
    """Writes a profile's file."""

    def write_one(text, name="default"):
        folder = os.path.join(home.profiles, f"profile_{name}")
        os.makedirs(folder, 0o700, exist_ok=True)
        return write(folder, text)

    return write_one


def settings(home, *args):
    """{name: row} as `pcluster config --json` says."""
    return {row["name"]: row for row in home.json("config", *args)["settings"]}


def test_nothing_is_set(home):
    rows = settings(home)
    assert {row["source"] for row in rows.values()} == {"default"}
    assert rows["port"]["value"] == 0 and rows["daemonize"]["value"] is False
    assert rows["ip"]["value"] is None and rows["ip"]["shown"] == "127.0.0.1"
    said = home.json("config")
    assert said["command"] == "start"
    assert said["files"] == [os.path.join(home.profiles, "profile_default", "pcluster.conf"),
                             os.path.join(home.etc, "pcluster.conf")]
    assert "file" in settings(home, "engine") and "ip" not in settings(home, "engine")


def test_the_nearest_wins(home, etc, profile, monkeypatch):
    path = etc("engines = 2\nhwm = 2\nlog-level = error\n")
    nearer = profile("# this profile\nengines = 3\nhwm = 3\n")
    monkeypatch.setenv("PCLUSTER_ENGINES", "4")
    rows = settings(home)
    assert rows["engines"] == {"name": "engines", "value": 4, "shown": "4",
                               "source": "environment", "variable": "PCLUSTER_ENGINES"}
    assert (rows["hwm"]["value"], rows["hwm"]["file"], rows["hwm"]["line"]) == (3, nearer, 3)
    assert (rows["log-level"]["value"], rows["log-level"]["file"]) == ("error", path)
    text = home.run("config").stdout.splitlines()
    assert text[0].split() == ["setting", "value", "from"]
    assert any(line.split() == ["hwm", "3", f"{nearer},", "line", "3"] for line in text)
    assert any(line.split() == ["engines", "4", "PCLUSTER_ENGINES"] for line in text)
    assert f"{path}" in text


def test_profile_from_the_environment(home, profile, monkeypatch):
    profile("engines = 5\n", "other")
    assert settings(home, "--profile", "other")["engines"]["value"] == 5
    monkeypatch.setenv("PCLUSTER_PROFILE", "other")
    assert settings(home)["engines"]["value"] == 5
    assert settings(home)["profile"]["variable"] == "PCLUSTER_PROFILE"
    assert "'other'" in home.run("status").stderr
    monkeypatch.setenv("PCLUSTER_CLUSTER_ID", "x y")
    assert "'x y' is not a cluster id" in home.run("status").stderr


def test_profile_elsewhere(home, profile, monkeypatch):
    """The settings are those of its folder, and every command finds it there."""
    folder = os.path.join(home.work, "far")
    os.mkdir(folder, 0o700)
    write(folder, "engines = 1\ndaemonize = yes\n")
    profile("engines = 5\n")
    rows = settings(home, "--profile-dir", folder)
    assert rows["engines"]["file"] == os.path.join(folder, "pcluster.conf")
    assert rows["profile-dir"]["source"] == "command line"
    assert f"'pcluster start --profile-dir {home.work}/no'" in home.run(
        "status", "--profile-dir", "no").stderr
    done = home.run("start", "--profile-dir", folder)
    assert "1 engine at" in done.stdout, done.stderr
    for command in (["status"], ["sched"], ["exec", "1"], ["task", "list"], ["abort", "--all"]):
        assert home.run(*command).returncode == 11
        assert home.run(*command, "--profile-dir", folder).returncode == 0
    monkeypatch.setenv("PCLUSTER_PROFILE_DIR", folder)
    assert home.run("status").returncode == 0
    assert home.run("status", "--profile", "default").returncode == 11  # the line wins
    assert settings(home, "--profile", "default")["engines"]["value"] == 5
    assert settings(home)["engines"]["value"] == 1
    assert home.run("stop").returncode == 0


def test_what_is_for_the_line_only(home, monkeypatch):
    """Not from the environment either, and not listed."""
    monkeypatch.setenv("PCLUSTER_JSON", "maybe")
    monkeypatch.setenv("PCLUSTER_END_WITH", "me")
    assert not {"json", "end-with"} & set(settings(home))


def test_a_cluster_runs_by_its_file(home, profile, monkeypatch):
    import pcluster

    profile("engines = 1\nhwm = 7\ndaemonize = yes\n", "quiet")
    monkeypatch.setenv("PCLUSTER_PROFILE", "quiet")
    monkeypatch.setenv("PCLUSTER_CLUSTER_ID", "small")
    done = home.run("start", "--hwm", 9)
    assert done.returncode == 0, done.stderr
    assert "1 engine at" in done.stdout
    assert "hwm 9" in home.run("sched").stdout  # the line wins; and a setting changes nothing there
    with pcluster.Client() as client:
        assert (client.profile, client.ids) == ("quiet", [0])
    assert home.run("stop").returncode == 0


def test_a_flag_can_be_taken_back(home, profile):
    profile("daemonize = on\nno-nursery = true\n")
    rows = settings(home)
    assert rows["daemonize"]["value"] is True and rows["no-nursery"]["value"] is True
    done = home.run("start", "--daemonize=maybe")
    assert done.returncode == 2
    assert done.stderr == "pcluster start: --daemonize 'maybe' is neither 'yes' nor 'no'\n"


@pytest.mark.parametrize("command", ["start", "controller", "engine"])
@pytest.mark.parametrize("line, text", [
    ("colour = red", "there is no setting 'colour'; 'pcluster config' lists them"),
    ("targets = all", "there is no setting 'targets'; 'pcluster config' lists them"),
    ("engines = four", "engines 'four' is not a whole number"),
    ("engines = 0", "engines 0 is out of range: 1 to 10000 are possible"),
    ("scheme = best", "scheme 'best' is not one of: leastload lru plainrandom twobin weighted"),
    ("daemonize = maybe", "daemonize 'maybe' is neither 'yes' nor 'no'"),
    ("profile = x", "'profile' can't be set in a file: use --profile or PCLUSTER_PROFILE"),
    ("profile-dir = x",
     "'profile-dir' can't be set in a file: use --profile-dir or PCLUSTER_PROFILE_DIR"),
    ("end-with = 1", "'end-with' can't be set in a file: it is about one run, use --end-with"),
    ("json = yes", "'json' can't be set in a file: it is about one run, use --json"),
    ("engines", "'engines' is not of the form 'name = value'"),
])
def test_wrong_lines(home, etc, command, line, text):
    """Whoever reads the file says it, also of a setting that is none of his."""
    path = etc(f"# of this machine\n{line}\n")
    done = home.run(command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pcluster {command}: '{path}' line 2: {text}\n"
    assert not os.listdir(home.profiles)


def test_a_wrong_line_is_found_though_it_does_not_count(home, etc, profile):
    etc("engines = none\n")
    profile("engines = 2\n")
    assert "engines 'none' is not a whole number" in home.run("start").stderr
    assert home.run("config").returncode == 1
    assert "engines 'none' is not a whole number" in home.run("config").stderr


def test_a_wrong_variable(home, monkeypatch):
    monkeypatch.setenv("PCLUSTER_LOG_LEVEL", "loud")
    done = home.run("start")
    assert done.returncode == 2
    assert done.stderr == ("pcluster start: PCLUSTER_LOG_LEVEL 'loud' is not one of: "
                           "error warn info debug\n")
    assert home.run("list").returncode == 11  # has no such setting


def test_a_file_that_can_not_be_read(home):
    path = os.path.join(home.etc, "pcluster.conf")
    os.mkdir(path)
    done = home.run("start")
    assert done.returncode == 2
    assert done.stderr == f"pcluster start: '{path}' is not a file\n"


def test_a_file_that_only_others_may_read(home, etc):
    """Root may read anything: as somebody else, who does not go on without it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to stop being it")
    os.chmod(home.path, 0o755)
    path = etc("engines = 1\n")
    os.chmod(path, 0o600)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", home.exe]
    if subprocess.run([*command, "version"], capture_output=True, check=False).returncode != 0:
        pytest.skip("the executable is in a folder that is closed to others")
    done = subprocess.run([*command, "start", "-n", "1"], cwd="/", capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"pcluster start: can't read '{path}': Permission denied\n"


def test_a_command_without_settings(home):
    done = home.run("config", "stop")
    assert done.returncode == 2
    assert "'stop' is no command with settings: start, controller and engine are" in done.stderr

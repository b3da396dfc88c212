# SPDX-License-Identifier: BSD-3-Clause
"""What the command line says when nothing runs and when it is used wrongly."""

import os

import pytest

COMMANDS = ["start", "stop", "status", "list", "exec", "abort", "sched", "controller", "engine",
            "completion", "config", "bench", "install-service", "version"]


def test_help_lists_every_command(home):
    done = home.run("-h")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"\n  {name} " in done.stdout


def test_no_command_is_wrong_usage(home):
    done = home.run()
    assert done.returncode == 2
    assert "usage: pcluster COMMAND" in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(home, name):
    done = home.run(name, "-h")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: pcluster {name}")
    assert "-h, --help" in done.stdout
    assert home.run(name, "--help").stdout == done.stdout


def test_unknown_command(home):
    done = home.run("strat")
    assert done.returncode == 2
    assert done.stderr == "pcluster: no such command: 'strat'; 'pcluster -h' lists them\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_unknown_option(home, name):
    done = home.run(name, "--bogus")
    assert done.returncode == 2
    assert done.stderr.startswith(f"pcluster {name}: no such option: '--bogus'")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "-1", "100000", "10001", "99999999999999999999"])
@pytest.mark.parametrize("name", ["start", "engine"])
def test_number_of_engines_out_of_range(home, name, count):
    done = home.run(name, "-n", count)
    assert done.returncode == 2
    assert done.stderr == (
        f"pcluster {name}: -n {count} is out of range: 1 to 10000 are possible\n")
    assert not os.listdir(home.profiles)


@pytest.mark.parametrize("count", ["", "four", "1.5", "4x"])
def test_number_of_engines_is_no_number(home, count):
    done = home.run("start", "-n", count)
    assert done.returncode == 2
    assert done.stderr == f"pcluster start: -n '{count}' is not a whole number\n"


@pytest.mark.parametrize("args, text", [
    (["start", "-n"], "no value given for '-n'"),
    (["start", "--port"], "no value given for '--port'"),
    (["start", "--port", "65536"], "--port 65536 is out of range: 0 to 65535 are possible"),
    (["start", "--log-level", "loud"], "--log-level 'loud' is not one of: error warn info debug"),
    (["start", "--transport", "udp"], "--transport 'udp' is not one of: any unix tcp"),
    (["start", "more"], "too many arguments: 'more'"),
    (["exec"], "CODE|- is missing"),
    (["exec", "1", "2"], "too many arguments: '2'"),
])
def test_wrong_usage(home, args, text):
    done = home.run(*args)
    assert done.returncode == 2
    assert done.stderr.startswith(f"pcluster {args[0]}: {text}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["status"], ["stop"], ["exec", "1"]])
def test_no_such_profile(home, args):
    done = home.run(*args, "--profile", "nowhere")
    assert done.returncode == 11
    assert f"pcluster {args[0]}: " in done.stderr
    assert "'nowhere'" in done.stderr and "pcluster start" in done.stderr
    assert home.profiles in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["status"], ["stop"], ["exec", "1"]])
def test_no_such_file(home, args):
    done = home.run(*args, "--file", "/nowhere/x.json")
    assert done.returncode == 11
    assert "'/nowhere/x.json'" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("args", [["status"], ["stop"], ["exec", "1"], ["engine"]])
def test_file_that_is_no_connection_file(home, args):
    path = os.path.join(home.work, "x.json")
    with open(path, "w", encoding="ascii") as file:
        file.write('{"version": 1}')
    os.chmod(path, 0o600)
    done = home.run(*args, "--file", path)
    assert done.returncode == 1
    assert path in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["../x", ".x", "a b", "a/b", ""])
def test_bad_names(home, name):
    done = home.run("start", "-n", 1, "--profile", name)
    assert done.returncode == 1
    assert f"'{name}' is not a profile name" in done.stderr
    if name:
        done = home.run("start", "-n", 1, "--cluster-id", name)
        assert done.returncode == 1
        assert f"'{name}'" in done.stderr and "cluster id" in done.stderr
    assert not os.listdir(home.profiles)


def test_list_without_clusters(home):
    done = home.run("list")
    assert (done.returncode, done.stdout) == (11, "no cluster runs\n")
    assert home.json("list") == []


def test_stop_all_without_clusters(home):
    done = home.run("stop", "--all")
    assert (done.returncode, done.stderr) == (11, "pcluster stop: no cluster runs\n")


def test_version(home):
    versions = home.json("version")
    assert set(versions) == {"pcluster", "protocol", "python", "libuv", "libsodium", "cjson"}
    assert all(str(value)[0].isdigit() for value in versions.values())
    text = home.run("version").stdout
    for name, value in versions.items():
        assert f"{name:10} {value}\n" in text
    assert home.run("--version").stdout == text


def test_unknown_role(home):
    done = home.run("--role", "cook")
    assert (done.returncode, done.stderr) == (2, "pcluster: no such role: 'cook'\n")


@pytest.mark.parametrize("role", ["scheduler", "hub", "nursery"])
def test_role_started_by_hand(home, role):
    """Without its sockets a role ends."""
    assert home.run("--role", role).returncode == 1

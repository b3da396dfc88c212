# SPDX-License-Identifier: BSD-3-Clause
"""Completion in bash and zsh: real shells load the script, and say what they would offer."""

import os
import re
import select
import shlex
import shutil
import subprocess
import time

import pytest
from home import DEADLINE_S

BASH = r"""
set -u
source "$SCRIPT"
COMP_WORDS=({words})
COMP_CWORD={at}
_pcluster
printf '%s\n' "${{COMPREPLY[@]}}"
"""

# For a zsh on a terminal of its own. Control-X notes everything that would be offered for the line, and ends it.
ZSHRC = r"""
fpath=($FOLDER $fpath)
autoload -U compinit
compinit -u -D
compadd() {
  local -a offered  # not a name that a caller's -a may mean
  if [[ " ${(j. .)@} " != *' -'[OAD]* ]]; then
    builtin compadd -O offered "$@"
    print -rl -- "HIT:"$^offered >>$HITS
  fi
  builtin compadd "$@"
}
show() { _main_complete; compstate[insert]=; compstate[list]=; print DONE >>$HITS; }
zle -C show complete-word show
bindkey '^X' show
print READY >>$HITS
"""


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def drain(terminal, condition):
    """Takes what is written to a terminal, so that nobody has to wait for it, until the condition holds."""
    end = time.monotonic() + DEADLINE_S
    said = b""
    while not condition():
        if select.select([terminal], [], [], 0.01)[0]:
            said += os.read(terminal, 4096)
        assert time.monotonic() < end, said


@pytest.fixture(params=["bash", "zsh"])
def complete(request, home):
    """complete("start --sch") is the list of what the shell offers for the last word."""
    shell = request.param
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    folder = os.path.join(home.work, "scripts")
    os.mkdir(folder)
    script = os.path.join(folder, "_pcluster")
    done = home.run("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    with open(script, "w", encoding="utf-8") as file:
        file.write(done.stdout)
    path = os.path.dirname(home.exe) + os.pathsep + os.environ["PATH"]

    def in_bash(line):
        """As readline splits a line: '=' is a word of its own."""
        words = ["pcluster", *re.findall(r"=|[^\s=]+", line)]
        if not line or line[-1] in " =":
            words += [""] if not line or line[-1] == " " else []
        text = BASH.format(words=" ".join(map(shlex.quote, words)), at=len(words) - 1)
        ran = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=False,
                             cwd=home.work, env={**os.environ, "SCRIPT": script, "PATH": path})
        assert (ran.returncode, ran.stderr) == (0, "")
        return [word for word in ran.stdout.split("\n") if word]

    def in_zsh(line):
        hits = os.path.join(home.work, "hits")
        with open(os.path.join(folder, ".zshrc"), "w", encoding="ascii") as file:
            file.write(ZSHRC)
        open(hits, "w", encoding="ascii").close()
        terminal, inside = os.openpty()
        environment = {**os.environ, "FOLDER": folder, "PATH": path, "HITS": hits, "ZDOTDIR": folder, "TERM": "dumb"}
        with subprocess.Popen(["zsh", "-d", "-i"], stdin=inside, stdout=inside, stderr=inside, cwd=home.work,
                              env=environment, start_new_session=True) as shell:
            os.close(inside)
            try:
                drain(terminal, lambda: "READY" in read(hits))
                os.write(terminal, f"pcluster {line}\x18".encode())
                drain(terminal, lambda: "DONE" in read(hits))
            finally:
                shell.kill()
                os.close(terminal)
        return [found.rstrip("=") for found in re.findall(r"^HIT:(.+)$", read(hits), re.M)]

    return in_bash if shell == "bash" else in_zsh


def test_commands(home, complete):
    listed = re.findall(r"^  ([a-z-]+) ", home.run("-h").stdout, re.M)
    assert set(listed) <= set(complete(""))
    assert set(complete("st")) == {"start", "status", "stop"}
    assert set(complete("task ")) == {"list", "show", "result", "purge"}
    assert set(complete("engines re")) == {"restart"}


@pytest.mark.parametrize("command", ["start", "engine", "stop", "bench", "task list", "engines add"])
def test_options(home, complete, command):
    """Those that its help names."""
    text = home.run(*command.split(), "-h").stdout
    said = set(re.findall(r"^  (?:-\w, |    )(--[a-z-]+)", text, re.M))
    assert said and said <= set(complete(f"{command} --"))


def test_words(complete):
    assert set(complete("start --scheme ")) == {"leastload", "lru", "plainrandom", "twobin", "weighted"}
    assert set(complete("start --scheme=l")) == {"leastload", "lru"}
    assert set(complete("config ")) == {"start", "controller", "engine"}
    assert set(complete("task list --state ")) == {"waiting", "running", "done", "failed"}
    assert complete("start -n ") == []


def test_what_there_is(home, complete, monkeypatch):
    """Profiles, clusters, engines and tasks, of the profile that the line names."""
    for name in ("default", "other"):
        os.makedirs(os.path.join(home.profiles, f"profile_{name}"), 0o700)
    done = home.run("start", "-n", 2, "--daemonize", "--profile", "lab", "--cluster-id", "big")
    assert done.returncode == 0, done.stderr
    where = "--profile lab --cluster-id big"
    try:
        assert set(complete("status --profile ")) == {"default", "lab", "other"}
        assert set(complete("stop --profile lab --cluster-id ")) == {"big"}
        assert set(complete(f"exec {where} -t ")) == {"all", "0", "1"}
        assert set(complete(f"engines stop {where} ")) == {"all", "0", "1"}
        home.run("exec", *where.split(), "-t", 0, "1")
        row, = home.json("task", "list", *where.split())
        assert set(complete(f"task show {where} ")) == {row["msg_id"]}
        assert complete("engines stop ") == []  # no cluster there
    finally:
        home.run("stop", *where.split())


def test_files(home, complete):
    for name in ("one.json", "two.json"):
        open(os.path.join(home.work, name), "w", encoding="ascii").close()
    found = complete("status --file ")
    assert {"one.json", "two.json"} <= set(found)


def test_wrong_usage(home):
    done = home.run("completion", "fish")
    assert done.returncode == 2
    assert done.stderr.startswith("pcluster completion: there is no completion for 'fish'")
    assert home.run("completion").returncode == 2
    assert home.run("completion", "engines").stdout == ""  # and nothing on stderr: somebody is typing
    assert home.run("completion", "profiles").returncode == 0


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="there is no shellcheck")
def test_the_script_for_bash_is_clean(home):
    script = home.run("completion", "bash").stdout
    done = subprocess.run(["shellcheck", "-s", "bash", "-"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")

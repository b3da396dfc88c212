# SPDX-License-Identifier: BSD-3-Clause
"""The packages of the Python that engines are to look like.

The standard library is always that of the linked libpython: another build of the same minor
version has compiled modules that do not fit. Packages are those of the Python that was named; of
a virtual environment, the module site has found them already.
"""

import os
import site
import sys

_FOLDER = "lib/python{}.{}".format(*sys.version_info)


def _prefix_of(python):
    """Where an interpreter is installed; asks it when that can't be seen from its path."""
    prefix = os.path.dirname(os.path.dirname(os.path.realpath(python)))
    if os.path.isfile(os.path.join(prefix, _FOLDER, "os.py")):
        return prefix
    import subprocess

    command = [python, "-I", "-S", "-c", "import sys; sys.stdout.write(sys.base_prefix)"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10,
                          check=False)
    return os.fsdecode(done.stdout) or prefix


def _use_packages_of(base):
    others = set(site.getsitepackages([sys.base_prefix]))
    sys.path[:] = [folder for folder in sys.path if folder not in others]
    site.PREFIXES[:] = [base if prefix == sys.base_prefix else prefix for prefix in site.PREFIXES]
    if sys.prefix == sys.base_prefix:
        sys.prefix = sys.exec_prefix = base
    site.addsitedir(os.path.join(base, _FOLDER, "site-packages"))


def adopt(python, linked_python):
    """Makes the packages of `python` importable instead of those of the linked Python."""
    base = _prefix_of(python)
    if os.path.realpath(base) == os.path.realpath(sys.base_prefix):
        return
    if sys.base_prefix in site.PREFIXES:  # unless an environment that has only its own
        _use_packages_of(base)
    # Processes that multiprocessing starts anew are given our sys.path, with our library on it.
    import multiprocessing.spawn

    multiprocessing.spawn.set_executable(linked_python)

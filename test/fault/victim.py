# SPDX-License-Identifier: BSD-3-Clause
"""A client that submits tasks until it is killed, and prints the id of each, with its key.

usage: victim.py CONNECTION_FILE LEDGER NAME
"""

import sys

import pcluster
from workload import compute

UNFINISHED = 200


def connect(url_file):
    """A client, also when the wire is cut meanwhile."""
    while True:
        try:
            return pcluster.Client(url_file)
        except ConnectionError:  # in the middle of the handshake, say
            pass


def main():
    url_file, path, name = sys.argv[1:]
    with connect(url_file) as client:
        view = client.load_balanced_view().set_flags(retries=20)
        number = 0
        while True:
            key = f"{name}-{number}"
            try:
                result = view.apply_async(compute, path, key, 0.001, 3)
            except pcluster.error.NoEnginesRegistered:
                continue
            print(key, result.msg_ids[0], flush=True)
            number += 1
            if number % UNFINISHED == 0:
                client.wait(timeout=30)


if __name__ == "__main__":
    main()

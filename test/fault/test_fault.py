# SPDX-License-Identifier: BSD-3-Clause
"""The harness with fixed seeds: what is done to the cluster is the same each time, when it hits is not."""

import pytest
from harness import Run, temporary_home


@pytest.mark.parametrize("seed", range(6))
def test_fault(seed):
    with temporary_home() as home:
        print(Run(home, seed).go(seconds=7))

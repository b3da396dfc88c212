# SPDX-License-Identifier: BSD-3-Clause
"""Clusters that a program starts for itself.

    >>> with pcluster.Cluster(n=4) as rc:
    ...     rc[:].apply_sync(os.getpid)
"""

from .cluster import Cluster
from .processes import Controller, EngineSet

__all__ = ["Cluster", "Controller", "EngineSet"]

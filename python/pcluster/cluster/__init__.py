# SPDX-License-Identifier: BSD-3-Clause
"""Clusters that a program starts for itself.

    >>> with pcluster.Cluster(n=4) as rc:
    ...     rc[:].apply_sync(os.getpid)
"""

from .cluster import Cluster
from .manager import ClusterManager, clean_cluster_files
from .processes import Controller, EngineSet

__all__ = ["Cluster", "ClusterManager", "Controller", "EngineSet", "clean_cluster_files"]

# SPDX-License-Identifier: BSD-3-Clause
"""The clusters of many profiles, known by their cluster files."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, List, Optional, Tuple

from .. import error
from . import files
from .cluster import Cluster
from .files import PathLike


class ClusterManager:
    """Finds the clusters of this user that programs have started, and keeps new ones.

    Args:
        profile_dirs: where load_clusters() looks; default: all profiles
        config, parent: accepted and ignored
    """

    def __init__(
        self, *, profile_dirs: Optional[Iterable[PathLike]] = None, config: Any = None, parent: Any = None
    ) -> None:
        self.profile_dirs = None if profile_dirs is None else [os.path.abspath(one) for one in profile_dirs]
        self._clusters: Dict[str, Cluster] = {}

    @property
    def clusters(self) -> Dict[str, Cluster]:
        """The clusters by key, which is `profile:cluster_id`."""
        return self._clusters

    def load_clusters(
        self,
        *,
        profile_dirs: Optional[Iterable[PathLike]] = None,
        profile_dir: Optional[PathLike] = None,
        profiles: Optional[Iterable[str]] = None,
        profile: Optional[str] = None,
        init_default_clusters: bool = False,
    ) -> Dict[str, Cluster]:
        """Read the cluster files again, and drop what has been stopped.

        Clusters that were started on another machine, and files that can't be read, are passed over.

        Args:
            profile_dirs, profile_dir, profiles, profile: where to look; default: all profiles
            init_default_clusters: also a cluster that is not started for each profile that has none

        Returns:
            `clusters`
        """
        folders = [os.path.abspath(one) for one in profile_dirs or ()]
        folders += [os.path.abspath(profile_dir)] if profile_dir is not None else []
        folders += [files.profile_folder(name) for name in [*(profiles or ()), *([profile] if profile else [])]]
        if not folders:
            folders = files.all_profiles() if self.profile_dirs is None else self.profile_dirs
        for key, cluster in list(self._clusters.items()):
            if (cluster.controller or cluster.engines) and not cluster.running:
                del self._clusters[key]
        for path in files.in_profiles(folders):
            try:
                cluster = Cluster.from_file(path)
            except (OSError, error.ClusterError):
                continue
            known = self._clusters.get(_key(cluster))
            if cluster.running and (known is None or not known.running):
                self._clusters[_key(cluster)] = cluster
        if init_default_clusters:
            self._add_defaults(folders)
        return self._clusters

    def _add_defaults(self, folders: List[str]) -> None:
        taken = {cluster.profile_folder for cluster in self._clusters.values()}
        for folder in folders:
            if folder not in taken:
                self.new_cluster(profile_dir=folder, cluster_id="")

    def new_cluster(self, **options: Any) -> Tuple[str, Cluster]:
        """A new cluster, not started, and its key.

        Args:
            options: those of Cluster

        Returns:
            Its key, and the cluster.

        Raises:
            KeyError: there is one with this key
        """
        cluster = Cluster(**options)
        key = _key(cluster)
        if key in self._clusters:
            raise KeyError(f"there is a cluster {key!r} already")
        self._clusters[key] = cluster
        return key, cluster

    def get_cluster(self, key: str) -> Cluster:
        """Looks a cluster up.

        Args:
            key: `profile:cluster_id`

        Returns:
            The cluster.

        Raises:
            KeyError: there is none
        """
        return self._clusters[key]

    def remove_cluster(self, key: str) -> None:
        """Forget a cluster, which goes on as it is.

        Args:
            key: `profile:cluster_id`

        Raises:
            KeyError: there is none
        """
        del self._clusters[key]


def _key(cluster: Cluster) -> str:
    return f"{files.profile_name(cluster.profile_folder)}:{cluster.cluster_id}"


def clean_cluster_files(profile_dirs: Optional[Iterable[PathLike]] = None, force: bool = False) -> List[str]:
    """Remove the files of clusters that have ended without a word, and files that can't be read.

    Args:
        profile_dirs: where; default: all profiles
        force: also the files of clusters that run, or that were started on another machine

    Returns:
        the paths of what was removed
    """
    removed = []
    for path in files.in_profiles(files.all_profiles() if profile_dirs is None else profile_dirs):
        if force or _is_stale(path):
            files.remove(path)
            removed.append(path)
    return removed


def _is_stale(path: str) -> bool:
    try:
        return not Cluster.from_file(path).running
    except error.ForeignCluster:
        return False
    except (OSError, error.ClusterError):
        return True

"""Real deployments on the loopback: a primary with replicas under three Sentinels, and a Cluster of three."""

from __future__ import annotations

from tests.deployments.cluster import ClusterOfThree as ClusterOfThree
from tests.deployments.node import Node as Node
from tests.deployments.sentinel import SentinelTrio as SentinelTrio

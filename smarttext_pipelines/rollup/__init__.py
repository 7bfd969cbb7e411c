"""One protocol for every metric: lock, read, assert, merge, record, in one transaction of exactly its days."""

from smarttext_pipelines.rollup.write import RolledUp, SparkPlace, roll_up

__all__ = ["RolledUp", "SparkPlace", "roll_up"]

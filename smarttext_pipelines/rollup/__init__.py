"""One protocol for every metric: lock, read, assert, merge, record, in one transaction of exactly its days."""

from smarttext_pipelines.engines.spark_session import LakeFile, SparkPlace
from smarttext_pipelines.rollup.shared_read import SharedRead
from smarttext_pipelines.rollup.write import RolledUp, roll_up

__all__ = ["LakeFile", "RolledUp", "SharedRead", "SparkPlace", "roll_up"]

"""Where the files of the lake are stored."""

from smarttext_pipelines.archive.target import ArchiveTarget


class LakeTarget(ArchiveTarget):
    """The files of the lake below one URL; keys are paths relative to it."""

    kind = "lake"
    setting = "SMARTTEXT_LAKE_URL"

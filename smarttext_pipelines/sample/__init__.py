"""Deterministic sample data: what a SmartText installation would have written, with all its peculiarities.

Same spec, same rows. Nothing here is read by the pipeline itself.
"""

from smarttext_pipelines.sample.follow import follow
from smarttext_pipelines.sample.load import load_sample
from smarttext_pipelines.sample.profiles import SHARED_SENDER, sample_businesses
from smarttext_pipelines.sample.sample_events import sample_day
from smarttext_pipelines.sample.spec import SampleSpec

__all__ = ["SHARED_SENDER", "SampleSpec", "follow", "load_sample", "sample_businesses", "sample_day"]

"""The Dagster graph: assets, checks, jobs, schedules and sensors, put together by ``definitions``."""

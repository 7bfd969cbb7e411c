"""The Dagster graph. Together with ``definitions`` the only place that imports dagster."""

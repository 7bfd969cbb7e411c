"""What an application imports to report its events. Loads neither dagster, pandas nor ibis."""

__all__: list[str] = []

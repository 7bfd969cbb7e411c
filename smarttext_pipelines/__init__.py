"""SmartText pipelines: event rows in, daily statistics, rates and spend out. Imports nothing."""

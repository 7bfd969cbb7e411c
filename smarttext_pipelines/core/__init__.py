"""What the numbers mean, as pure functions: no I/O, no clock, no SQL, no dagster."""

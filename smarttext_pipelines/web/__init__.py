"""The dashboard: what the pipeline, the guard and alerting wrote, in the browser; it computes no number of its own."""

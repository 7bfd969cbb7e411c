"""The numbers of today for machines: Prometheus' text format."""

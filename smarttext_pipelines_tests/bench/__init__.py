"""Benchmarks: ratios measured in one run on the same data. They print and never judge; no test times anything."""

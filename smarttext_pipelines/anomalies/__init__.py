"""Anomalies: what is unusual among the daily series, said in words."""

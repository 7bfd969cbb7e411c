"""The event lake: days of events as Parquet for engines that read files, written again when a day gets more rows."""

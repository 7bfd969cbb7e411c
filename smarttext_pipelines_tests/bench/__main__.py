"""``make bench``: prints ratios of one run on the same data; asserts nothing. Names of benchmarks may follow."""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from smarttext_pipelines.database.embedded import embedded_server
from smarttext_pipelines_tests.bench import (
    alerts,
    anomalies,
    answers,
    archive,
    backfill,
    customers,
    day,
    graph,
    growth,
    guardrail,
    lake,
    load,
    pages,
    receiver,
    storage,
    tracking,
    web,
)
from smarttext_pipelines_tests.conftest import Server

BENCHMARKS = {
    "day": day.measure,
    "customers": customers.measure,
    "growth": growth.measure,
    "backfill": backfill.measure,
    "load": load.measure,
    "graph": graph.measure,
    "storage": storage.measure,
    "alerts": alerts.measure,
    "guardrail": guardrail.measure,
    "tracking": tracking.measure,
    "archive": archive.measure,
    "lake": lake.measure,
    "receiver": receiver.measure,
    "web": web.measure,
    "pages": pages.measure,
    "answers": answers.measure,
    "anomalies": anomalies.measure,
}


@contextmanager
def _server() -> Iterator[Server]:
    given = os.environ.get("SMARTTEXT_TEST_DATABASE_URL")
    if given:
        yield Server(given)
        return
    with tempfile.TemporaryDirectory(prefix="smarttext-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded_server(Path(folder)) as embedded, Server(embedded.url("postgres")).connect() as connection:
            connection.execute("ALTER SYSTEM SET max_connections = 100")
        with embedded_server(Path(folder)) as embedded:
            yield Server(embedded.url("postgres"))


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which; default all")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, such as 0.1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too, with its figures")
    options = parser.parse_args()
    console = Console(highlight=False)
    table = Table("benchmark", "what", "measured", "limit", title=f"scale {options.scale:g}")
    found: list[dict[str, object]] = []
    with _server() as server:
        for name in options.names or BENCHMARKS:
            with console.status(f"{name} …"):
                lines = BENCHMARKS[name](server, options.scale)
            table.add_section()
            for line in lines:
                table.add_row(name, line.what, line.measured, line.limit)
                found.append({"benchmark": name, **asdict(line)})
            if options.json:  # after each, so that what ends early has written what it had
                machine = {
                    "processors": os.cpu_count(),
                    "system": platform.platform(),
                    "python": platform.python_version(),
                }
                told = {"at": datetime.now(UTC).isoformat(), "scale": options.scale, **machine, "lines": found}
                options.json.write_text(json.dumps(told, indent=1) + "\n")
    console.print(table)


if __name__ == "__main__":
    main()

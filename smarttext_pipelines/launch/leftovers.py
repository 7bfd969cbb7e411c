"""``python -m smarttext_pipelines.launch.leftovers SOCKET`` ends the records of runs that died with an earlier ``up``.

Dagster cannot tell that such a run is dead, and each would hold one of the four places for ever. A run belongs to
us if it was launched through our code server, whose socket has one user at a time.
"""

import json
import sys

import dagster as dg

_ALIVE = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_LAUNCHED_THROUGH = ".dagster/grpc_info"


def main(code_server: str) -> None:
    """Mark every run as failed that was launched through this code server and never ended."""
    with dg.DagsterInstance.get() as instance:
        for run in instance.get_runs(dg.RunsFilter(statuses=_ALIVE)):
            if json.loads(run.tags.get(_LAUNCHED_THROUGH, "{}")).get("socket") == code_server:
                instance.report_run_failed(
                    run, "The process of this run ended when 'smarttext up' was stopped or killed."
                )


if __name__ == "__main__":
    main(sys.argv[1])

"""The dashboard's two processes: the web server, and the sampler that counts today for it."""

from smarttext_pipelines.launch.dagster_services import WebAddress
from smarttext_pipelines.launch.processes import Children

_CLI = "smarttext_pipelines.cli"


def start_dashboard(children: Children, address: WebAddress) -> None:
    """Start both; whoever opens the page before they are ready loads it again."""
    children.start("sampler", [_CLI, "sampler"], grace=3)
    children.start("web", [_CLI, "web", "--host", address.host, "--port", str(address.port)], grace=3)

"""One Sail server for all tests of a process."""

from collections.abc import Iterator

import pytest

from smarttext_pipelines_tests.sail import Sail, running_sail


@pytest.fixture(scope="session")
def sail() -> Iterator[Sail]:
    with running_sail() as server:
        yield server

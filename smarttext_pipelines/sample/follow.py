"""Goes on writing the sample as time passes, from where ``load_sample`` stopped. Draws nothing itself."""

import logging
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from smarttext_pipelines.core.errors import DatabaseError, SchemaError
from smarttext_pipelines.sample.event_files import visible
from smarttext_pipelines.sample.load import insert_new, transaction
from smarttext_pipelines.sample.profiles import sample_businesses
from smarttext_pipelines.sample.sample_events import cut, draw_day
from smarttext_pipelines.sample.spec import LONGEST_SPAN, SampleSpec

LOOK_SECONDS = 10.0

_logger = logging.getLogger(__name__)


class Upcoming:
    """The rows that are not written yet: those of the days that have begun, later than the last look."""

    def __init__(self, spec: SampleSpec) -> None:
        self._spec = spec
        self._seen = spec.until
        self._next_day = max(spec.first, (spec.until.astimezone(UTC) - LONGEST_SPAN).date())
        self._drawn: dict[date, dict[str, pa.Table]] = {}

    def due(self, moment: datetime) -> dict[str, pa.Table]:
        """Return the rows up to a moment; the same ones again until they are marked as written."""
        while self._next_day <= moment.astimezone(UTC).date():
            self._drawn[self._next_day] = cut(draw_day(self._spec, self._next_day), after=self._seen)
            self._next_day += timedelta(days=1)
        parts = [cut(drawn, until=moment) for drawn in self._drawn.values()]
        return {name: visible(pa.concat_tables([part[name] for part in parts])) for name in (parts[0] if parts else ())}

    def written(self, moment: datetime) -> None:
        """Forget the rows up to a moment."""
        self._seen = max(self._seen, moment)
        rest = {day: cut(drawn, after=self._seen) for day, drawn in self._drawn.items()}
        self._drawn = {day: drawn for day, drawn in rest.items() if any(map(len, drawn.values()))}


def follow(url: str, spec: SampleSpec, now: Callable[[], datetime], wait: Callable[[float], bool]) -> None:
    """Write the rows since ``spec.until`` every ten seconds, until ``wait`` returns true.

    Rows that are there already are left alone. What one look cannot write because the database is away, the next does.
    """
    upcoming = Upcoming(spec)
    while True:
        moment = now()
        try:
            _write(url, spec, upcoming.due(moment))
        except SchemaError:
            raise
        except DatabaseError as error:
            _logger.warning("%s; trying again in %.0f s", error, LOOK_SECONDS)
        else:
            upcoming.written(moment)
        if wait(LOOK_SECONDS):
            return


def _write(url: str, spec: SampleSpec, due: dict[str, pa.Table]) -> None:
    if not any(map(len, due.values())):
        return
    with transaction(url) as cursor:
        insert_new(cursor, "businesses", sample_businesses(spec))
        for name, rows in due.items():
            insert_new(cursor, name, rows)

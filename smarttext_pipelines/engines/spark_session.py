"""A session of Spark Connect: opened for one transaction, patient for a bounded time, and its errors in one line.

An error of Spark can quote a value of a row, such as a telephone number: only its class is told.
"""

import queue
import re
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from smarttext_pipelines.core.days import DayRange
from smarttext_pipelines.core.errors import DatabaseError, EngineError, SettingsError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

CONNECT_SECONDS = 10
QUERY_SECONDS = 3600
"""How long a query may take; locks of the rolled-up days and a snapshot wait for it."""

_RETRIES, _LONGEST_WAIT_MS = 4, 2000
_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_QUOTING_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
"""What PySpark writes every error to, with the value that caused it."""

_CONDITION = re.compile(r"[A-Z][A-Z0-9_.]{2,80}")
_EVERY_SESSION = {"spark.sql.session.timeZone": "UTC", "spark.sql.ansi.enabled": "true"}


@dataclass(frozen=True)
class LakeFile:
    """A file of the event lake: one day of one table, with every row there is, live or archived.

    Attributes:
        day: Day of the lake: of UTC, and for ``api_usage`` its ``reset_date`` where it has one.
        url: Where the cluster finds it.
        rows: What the lake's manifest says that it holds.
    """

    day: date
    url: str
    rows: int


LakeFiles = Callable[[Connection, str, DayRange], Sequence[LakeFile]]
"""Finds the files of a table for days that are current in the snapshot of a transaction; other days have none."""


def no_lake(_connection: Connection, _table: str, _days: DayRange) -> Sequence[LakeFile]:
    """Return no file: where there is no lake, the live rows alone are shipped."""
    return ()


@dataclass(frozen=True)
class SparkPlace:
    """Where Spark is and what it is for.

    Attributes:
        remote: ``sc://HOST:PORT``, with parameters that are no secret.
        token: What it is asked with.
        min_rows: A window with fewer event rows than that stays with PostgreSQL or DuckDB.
        lake_files: The event lake.
        query_seconds: How long a query may take.
    """

    remote: str
    token: str | None = field(default=None, repr=False)
    min_rows: int = 0
    lake_files: LakeFiles = no_lake
    query_seconds: float = QUERY_SECONDS

    @property
    def name(self) -> str:
        """What messages call it: its host and port."""
        return "Spark at " + self.remote.removeprefix("sc://").partition("/")[0]


@contextmanager
def importing_pyspark() -> Iterator[None]:
    """Let PySpark be imported in any process, without its warning of pandas 3, through which none of our rows goes.

    It takes one that was started with ``python -c``, as those of a pool are, for its own doctests, and ends it.
    """
    main = sys.modules["__main__"]
    is_bare = getattr(main, "__spec__", None) is None and not hasattr(main, "__file__")
    if is_bare:
        main.__file__ = "-c"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if is_bare:
            del main.__file__


@contextmanager
def open_session(place: SparkPlace) -> "Iterator[SparkSession]":
    """Give a session of its own, whose days are those of UTC and whose overflows are errors.

    Raises:
        SettingsError: PySpark is not installed, or the URL or the token is wrong.
        DatabaseError: Nothing answers there.
        EngineError: It answers with an error.
    """
    try:
        with importing_pyspark():
            from pyspark.logger import PySparkLogger
            from pyspark.sql.connect.client import DefaultChannelBuilder
            from pyspark.sql.connect.client.retries import DefaultPolicy
            from pyspark.sql.connect.session import SparkSession
    except ImportError:
        message = "SMARTTEXT_SPARK_REMOTE needs a package: pip install 'smarttext_pipelines[spark]'"
        raise SettingsError(message) from None
    for name in _QUOTING_LOGGERS:
        PySparkLogger.getLogger(name).disabled = True
    with told(place):
        channels = DefaultChannelBuilder(place.remote)
        if place.token:
            channels.set(DefaultChannelBuilder.PARAM_TOKEN, place.token)
        _require_answer(place, channels)
        session = SparkSession.builder.channelBuilder(channels).create()
    try:
        longest = _LONGEST_WAIT_MS
        policy = DefaultPolicy(max_retries=_RETRIES, max_backoff=longest, max_server_retry_delay=longest)
        session.client.set_retry_policies([policy])
        with told(place):
            for name, value in _EVERY_SESSION.items():
                session.conf.set(name, value)
        yield session
    finally:
        session.stop()


def spark_version(place: SparkPlace) -> str:
    """Return the version of Spark that answers; raise as ``open_session`` does."""
    with open_session(place) as session, bounded(place, session):
        session.sql("SELECT 1 AS one").toArrow()
        return str(session.version)


@contextmanager
def told(place: SparkPlace) -> Iterator[None]:
    """Turn what PySpark and gRPC raise into one line without a value of a row."""
    import grpc
    from pyspark.errors import PySparkException

    try:
        yield
    except PySparkException as error:
        if (condition := _condition(error)) in ("INVALID_CONNECT_URL", "CANNOT_PARSE_CONNECT_URL"):
            msg = "SMARTTEXT_SPARK_REMOTE cannot be used; write sc://HOST:PORT, parameters as /;NAME=VALUE behind it"
            raise SettingsError(msg) from None
        status = getattr(error, "getGrpcStatusCode", lambda: None)()
        raise _error(place, status.name if status else "", condition) from None
    except grpc.RpcError as error:
        raise _error(place, error.code().name if isinstance(error, grpc.Call) else "", "") from None


@contextmanager
def bounded(place: SparkPlace, session: "SparkSession") -> Iterator[None]:
    """Stop what the session computes when it takes too long, and say so."""
    is_late = threading.Event()

    def stop() -> None:
        is_late.set()
        with suppress(Exception):
            session.interruptAll()
        with suppress(Exception):
            session.client.close()

    timer = threading.Timer(place.query_seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        with told(place):
            yield
    except Exception:
        if is_late.is_set():
            raise _failed(place, f"did not answer within {place.query_seconds:,.0f} s") from None
        raise
    finally:
        timer.cancel()


def _require_answer(place: SparkPlace, channels: Any) -> None:
    """Try to connect once; PySpark by itself tries for minutes."""
    import grpc

    states: queue.SimpleQueue[grpc.ChannelConnectivity] = queue.SimpleQueue()
    channel = channels.toChannel()
    until = time.monotonic() + CONNECT_SECONDS
    found = None
    try:
        channel.subscribe(states.put, try_to_connect=True)
        while found not in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
            found = states.get(timeout=max(until - time.monotonic(), 0.01))
    except queue.Empty:
        pass
    finally:
        channel.close()
    if found is not grpc.ChannelConnectivity.READY:
        how = "with TLS" if channels.secure else "without TLS"
        msg = f"{place.name} does not answer {how}; check SMARTTEXT_SPARK_REMOTE, and that Spark Connect runs there"
        raise DatabaseError(msg)


def _error(place: SparkPlace, status: str, condition: str) -> Exception:
    if status in _REFUSED:
        return SettingsError(f"{place.name} refused the token ({status}); set SMARTTEXT_SPARK_TOKEN")
    if status == "UNAVAILABLE" or condition == "RETRIES_EXCEEDED":
        return DatabaseError(f"{place.name} cannot be reached any more; nothing was written")
    return _failed(place, f"failed with {condition or status or 'no reason'}")


def _failed(place: SparkPlace, reason: str) -> EngineError:
    return EngineError(f"{place.name} {reason}; nothing was written", reason)


def _condition(error: Any) -> str:
    """Return the class of an error, such as ``CAST_INVALID_INPUT``, or that of Java, or what PySpark calls it."""
    with suppress(Exception):
        found = error.getCondition() or ""
        if _CONDITION.fullmatch(found):
            return str(found)
    return type(error).__name__

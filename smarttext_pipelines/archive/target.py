"""Where archive files are stored: a directory, or an object store that fsspec supports.

Every file is read back from the target before anything relies on it, and is readable by its owner alone.
No key, however it is written, leads to anything outside, and only regular files are opened.
"""

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import fsspec
from fsspec.implementations.local import LocalFileSystem

from smarttext_pipelines.core.errors import ArchiveError, DamagedFileError, SettingsError, SmartTextError

CHUNK_BYTES = 1 << 22
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}


class ArchiveTarget:
    """The files below one URL; keys are paths relative to it.

    Attributes:
        kind: What messages call it.
        setting: The setting that says where it is.
    """

    kind = "archive"
    setting = "SMARTTEXT_ARCHIVE_URL"

    def __init__(self, url: str) -> None:
        """Prepare for a directory or a URL; nothing is created or connected yet.

        Raises:
            SettingsError: The URL names a file system that is not installed or does not exist.
        """
        parts = urlsplit(url)
        self.name = _without_credentials(url)
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError:
            extra = _EXTRAS.get(parts.scheme, parts.scheme)
            msg = f"{self.setting} {self.name} needs a package: pip install 'smarttext_pipelines[{extra}]'"
            raise SettingsError(msg) from None
        except ValueError as error:
            msg = f"{self.setting} {self.name} cannot be used: {error}"
            raise SettingsError(msg) from None
        self.is_local = isinstance(self._files, LocalFileSystem)

    def temporary(self, folder: str, name: str) -> Path:
        """Return where a file is written before it is published: next to its final path, or on this machine."""
        if not self.is_local:
            return Path(tempfile.gettempdir()) / f"smarttext-{name}.tmp"
        with self._told("make", folder):
            place = self._inside(folder)
            for parent in (*reversed(place.parents), place):
                parent.mkdir(mode=0o700, exist_ok=True)
            return place / f"{name}.tmp"

    @contextmanager
    def created(self, path: Path) -> Iterator["HashedFile"]:
        """Give a new file that only its owner can read; at the end its bytes are on the disk, not in a cache."""
        with self._told("write", path.name):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with self.opened(os.fdopen(descriptor, "wb")) as file:
                hashed = HashedFile(file)
                yield hashed
                file.flush()
                os.fsync(file.fileno())
                if hasattr(os, "posix_fadvise"):
                    # What is read back next comes from the disk.
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def opened(self, file: IO[bytes]) -> IO[bytes]:
        """Return the open file; a subclass can wrap it."""
        return file

    def publish(self, path: Path, key: str, sha256: str) -> None:
        """Give a written file its final name; an object is put, got back and compared.

        Raises:
            ArchiveError: The target refused, or what it gives back is not what was put.
        """
        with self._told("write", key):
            if self.is_local:
                place = self._inside(key)
                path.rename(place)
                self._sync_folder(place)
                return
            self._files.invalidate_cache()
            self._files.put_file(str(path), self._path(key))
        self.require(key, sha256)
        path.unlink(missing_ok=True)

    def require(self, key: str, sha256: str) -> None:
        """Hash a file in the target.

        Raises:
            ArchiveError: It is missing, cannot be read, or is not the file that was verified.
        """
        with self._told("read", key), self._open(key) as file:
            found = _sha256(file)
        _compare(key, sha256, found)

    def fetch(self, key: str, sha256: str, into: Path) -> Path:
        """Return a local path of a file whose bytes are those that were verified.

        Args:
            key: Path of the file below the URL.
            sha256: What its bytes must hash to.
            into: Folder for a copy where the target is not on this machine.

        Raises:
            ArchiveError: It is missing, cannot be read, or is damaged.
        """
        if self.is_local:
            self.require(key, sha256)
            return self._inside(key)
        copy = into / hashlib.sha256(key.encode()).hexdigest()
        digest = hashlib.sha256()
        with self._told("read", key), self._open(key) as file, copy.open("wb") as local:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                local.write(chunk)
        _compare(key, sha256, digest.hexdigest())
        return copy

    def remove(self, key: str) -> None:
        """Remove a file; one that is not there is fine."""
        with self._told("remove", key), suppress(FileNotFoundError):
            if self.is_local:
                self._inside(key).unlink()
            else:
                self._files.rm_file(self._path(key))

    def discard(self, path: Path) -> None:
        """Remove a temporary file; one that is not there is fine."""
        with self._told("remove", path.name):
            path.unlink(missing_ok=True)

    def _open(self, key: str) -> Any:
        self._files.invalidate_cache()
        if self.is_local:
            return self.opened(_open_regular(self._inside(key)))
        return self._files.open(self._path(key), "rb", block_size=CHUNK_BYTES)

    def _path(self, key: str) -> str:
        """Return what the store calls a key; raise ArchiveError for one that leaves the archive."""
        if not _is_relative(key):
            msg = f"{_short(key)} leads out of the {self.kind} {self.name}; nothing was opened"
            raise ArchiveError(msg)
        return f"{self._root.rstrip('/')}/{key}"

    def _inside(self, key: str) -> Path:
        """Return the local path of a key; raise ArchiveError for one that leaves the archive, also by a link."""
        path = Path(self._path(key))
        if Path(self._root).resolve() / key != path.resolve():
            msg = f"{_short(key)} is a link, or lies behind one, in the {self.kind} {self.name}; nothing was opened"
            raise ArchiveError(msg)
        return path

    @staticmethod
    def _sync_folder(path: Path) -> None:
        # A name is on the disk when its folder is; so are the folders that were made for it.
        for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def _told(self, verb: str, key: str) -> Iterator[None]:
        """Turn any error of the file system into one line; object stores raise their own."""
        try:
            yield
        except SmartTextError:
            raise
        except Exception as error:  # noqa: BLE001
            if isinstance(error, FileNotFoundError) and verb == "read":
                msg = f"{key} is missing in the {self.kind} {self.name}; check {self.setting}"
                raise DamagedFileError(msg) from None
            reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
            msg = f"the {self.kind} {self.name} cannot {verb} {key}: {reason}; nothing was deleted"
            raise ArchiveError(msg) from None


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if not parts.scheme or "@" not in url:
        return url
    # A secret may hold a slash, a number sign or a question mark: then the part before it is KEY:SECRET, not a host.
    host = parts.netloc.rpartition("@")[2]
    is_whole = "@" in parts.netloc or not re.fullmatch(r"[^:]*:(?!\d+$).+", host)
    rest = url.partition("://")[2]
    return f"{parts.scheme}://" + (rest.replace(parts.netloc, host, 1) if is_whole else rest.rpartition("@")[2])


class HashedFile:
    """A file that knows the SHA-256 and the number of the bytes that were written to it."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to ``file``."""
        self._file, self._digest, self.bytes = file, hashlib.sha256(), 0
        self.closed = False

    def write(self, data: Any) -> int:
        """Write and hash."""
        view = memoryview(data)
        self._digest.update(view)
        self.bytes += view.nbytes
        self._file.write(view)
        return view.nbytes

    def flush(self) -> None:
        """Hand on."""
        self._file.flush()

    def tell(self) -> int:
        """Return the number of bytes."""
        return self.bytes

    def close(self) -> None:
        """Leave the file open; who opened it closes it."""

    @property
    def sha256(self) -> str:
        """Hash of what was written, not of what the disk holds."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Return that it is not."""
        return False

    def writable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is not."""
        return False


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a local file."""
    with path.open("rb") as file:
        return _sha256(file)


def _open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading without waiting for it; raise DamagedFileError where it is none."""
    if not stat.S_ISREG(path.lstat().st_mode):
        msg = f"{path.name} is damaged: it is no regular file"
        raise DamagedFileError(msg)
    # Should it be another one by now, nothing is waited for, and no link is followed.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb")


def _is_relative(key: str) -> bool:
    return bool(key) and not any(part in ("", ".", "..") for part in key.split("/")) and not set(key) & set("\\:\0")


def _short(key: str) -> str:
    return repr(key if len(key) <= 80 else f"{key[:79]}…")


def _sha256(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _compare(key: str, expected: str, found: str) -> None:
    if found != expected:
        msg = f"{key} is damaged: its SHA-256 is {found[:12]}…, {expected[:12]}… was verified"
        raise DamagedFileError(msg)

"""Downloads the official files of the latest years from the catalogue of data.gouv.fr.

The catalogue lists every file with its size and checksum. A file is written as `NAME.part`, resumed after an
interruption, compared with its checksum, and only then renamed. A present file that matches is not downloaded again.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from include.accidents.data.columns import Table
from include.accidents.data.files import is_sample, recognise
from include.accidents.errors import InputError, SettingsError

CATALOGUE_URL: Final = "https://www.data.gouv.fr"
DATASET: Final = "bases-de-donnees-annuelles-des-accidents-corporels-de-la-circulation-routiere-annees-de-2005-a-2024"
"""The data set's slug. The catalogue redirects slugs of former years to the present one."""

MAX_BYTES: Final = 1 << 30
"""No file is larger than 1 GiB (the real ones have some 10 MB): a larger one is not one of them."""

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes received, and its whole size in bytes (None: unknown)."""

_ATTEMPTS: Final = 5
_BACKOFF: Final = 0.5  # seconds before the second attempt; doubled before each further one
_TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_DIGESTS: Final = frozenset({"md5", "sha1", "sha256", "sha512"})
_LATER: Final = "try again later, or put the files into the folder by hand."

T = TypeVar("T")

log = logging.getLogger(__name__)


class DownloadError(InputError):
    """The official files cannot be downloaded from the catalogue."""


class _TransientError(Exception):
    """A failure that may pass: the request is tried again."""


class _CorruptError(Exception):
    """What arrived is not what the catalogue describes."""


@dataclass(frozen=True)
class Resource:
    """One file as the catalogue lists it; `size` in bytes, `checksum` as algorithm and lower-case digest."""

    table: Table
    year: int
    name: str
    url: str
    size: int | None
    checksum: tuple[str, str] | None
    modified: str


@dataclass
class _Part:
    """A partial file: the bytes received, and the validator of the file's version."""

    path: Path
    validator: str | None = field(default=None)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.validator = None


def reachable(base_url: str = CATALOGUE_URL, timeout: float = 3.0) -> bool:
    """Ask the catalogue for an answer.

    Returns
    -------
    Whether it answers within `timeout` seconds, including the look-up of its name.

    Raises
    ------
    SettingsError
        The address is not valid.
    """
    address = _dataset_url(base_url)
    answered = threading.Event()

    def ask() -> None:
        try:
            with httpx.stream("GET", address, timeout=timeout) as response:
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    answered.set()
        except (httpx.HTTPError, OSError) as error:
            log.debug("%s does not answer: %s", address, error)

    # A thread, because httpx has no timeout for the resolver, which can take half a minute to give up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


def download(
    folder: Path,
    *,
    years: int = 2,
    base_url: str = CATALOGUE_URL,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> list[Path]:
    """Fetch the four files of each of the latest complete years into a folder.

    Parameters
    ----------
    folder
        Where the files go, under the publisher's names; created if absent.
    years
        How many years, the newest that have all four files.
    base_url
        The catalogue's address. Over https, nothing is fetched over http.
    timeout
        Seconds without a byte after which an attempt counts as failed.
    progress
        Called as the bytes arrive.

    Returns
    -------
    The files, by year and table.

    Raises
    ------
    DownloadError
        The catalogue or a file cannot be downloaded, or is not what it should be. Complete files stay, and an
        unfinished one stays as `NAME.part`.
    SettingsError
        The address is not valid.
    """
    address = _dataset_url(base_url)
    if years < 1:
        raise SettingsError(f"{years} years are too few.", "ask for one year at least.")
    if is_sample(folder):
        raise DownloadError(f"{folder} holds a generated sample.", "download into another folder.")
    with _client(address, timeout) as client:
        resources = _newest(_resources(_catalogue(client, address)), years, address)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return [_fetch(client, resource, folder, progress or (lambda *_: None)) for resource in resources]
        except OSError as error:
            raise DownloadError(
                f"The files cannot be written to {folder}: {error}.", "make room, or choose another folder."
            ) from error


# --- the catalogue


def _dataset_url(base_url: str) -> httpx.URL:
    """Return the address of the data set in the catalogue's API."""
    try:
        url = httpx.URL(base_url.rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in {"http", "https"} or not url.host:
        raise SettingsError(
            f"The catalogue's address {base_url!r} is not an http or https address.",
            f"set ACCIDENTS_CATALOGUE_URL to one such as {CATALOGUE_URL}, or leave it unset.",
        )
    return url.copy_with(path=f"{url.path.rstrip('/')}/api/1/datasets/{DATASET}/")


def _client(address: httpx.URL, timeout: float) -> httpx.Client:
    """Return a client that follows redirects, except from https to http."""

    def check(request: httpx.Request) -> None:
        if address.scheme == "https" and request.url.scheme != "https":
            raise DownloadError(
                f"{address.host} sends the download to {request.url}, which is not protected by https.",
                "report it to the publisher, and download the file by hand from a source that you trust.",
            )

    return httpx.Client(
        timeout=timeout,
        follow_redirects=True,
        max_redirects=5,
        # A compressed transfer could be neither resumed nor measured.
        headers={"Accept-Encoding": "identity"},
        event_hooks={"request": [check]},
    )


def _catalogue(client: httpx.Client, address: httpx.URL) -> Mapping[str, Any]:
    """Return the data set's entry in the catalogue."""

    def ask() -> Mapping[str, Any]:
        response = _checked(client.get(address), str(address))
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not isinstance(answer.get("resources"), list):
            raise DownloadError(f"{address} does not answer with a catalogue entry.", _LATER)
        return answer

    return _persistently(ask, str(address))


def _resources(catalogue: Mapping[str, Any]) -> Iterable[Resource]:
    """Yield the resources of the catalogue that are one of the four files of a year."""
    for entry in catalogue["resources"]:
        if isinstance(entry, dict) and (resource := _resource(entry)) is not None:
            yield resource


def _resource(entry: Mapping[str, Any]) -> Resource | None:
    # `latest` is the address that stays when the publisher replaces a file.
    url = str(entry.get("latest") or entry.get("url") or "")
    title = str(entry.get("title") or "")
    names = (title, str(entry.get("url") or "").rpartition("/")[2], f"{title}.csv")
    for name in names:
        recognised = recognise(name)
        if recognised is not None and url:
            size = entry.get("filesize")
            return Resource(
                *recognised,
                name=name,
                url=url,
                size=size if isinstance(size, int) and size > 0 else None,
                checksum=_checksum(entry.get("checksum")),
                modified=str(entry.get("last_modified") or ""),
            )
    return None


def _checksum(entry: object) -> tuple[str, str] | None:
    if not isinstance(entry, dict):
        return None
    algorithm = str(entry.get("type")).lower().replace("-", "")
    return (algorithm, str(entry.get("value")).lower()) if algorithm in _DIGESTS else None


def _newest(resources: Iterable[Resource], years: int, address: httpx.URL) -> list[Resource]:
    """Return the four resources of each of the latest years that have all four."""
    by_year: dict[int, dict[Table, Resource]] = {}
    # A file that was published twice counts as last modified (ISO dates sort as text).
    for resource in sorted(resources, key=lambda resource: resource.modified):
        by_year.setdefault(resource.year, {})[resource.table] = resource
    complete = sorted(year for year, tables in by_year.items() if len(tables) == len(Table))[-years:]
    if not complete:
        raise DownloadError(f"{address} lists no year with all of the four files.", _LATER)
    return [by_year[year][table] for year in complete for table in Table]


# --- one file


def _fetch(client: httpx.Client, resource: Resource, folder: Path, progress: Progress) -> Path:
    """Return one file, from the folder if it is present, else from the network."""
    target = folder / resource.name
    if target.exists() and _matches(target, resource):
        log.info("%s is already there", target)
        progress(resource.name, target.stat().st_size, resource.size)
        return target
    if resource.size is not None and resource.size > MAX_BYTES:
        raise _too_large(resource, resource.size)
    part = _Part(target.with_name(f"{target.name}.part"))
    try:
        _fetch_checked(client, resource, part, progress)
    except _CorruptError as first:
        log.warning("%s: %s; fetching it once more", resource.name, first)
        part.discard()
        try:
            _fetch_checked(client, resource, part, progress)
        except _CorruptError as second:
            part.discard()
            raise DownloadError(
                f"{resource.url} gives another file than the catalogue describes: {second}.", _LATER
            ) from second
    part.path.replace(target)
    return target


def _fetch_checked(client: httpx.Client, resource: Resource, part: _Part, progress: Progress) -> None:
    """Complete the partial file, in as many requests as needed, and compare it with the catalogue."""
    if not (part.path.exists() and _matches(part.path, resource)):
        _persistently(lambda: _receive(client, resource, part, progress), resource.url, advance=lambda: part.size)
    if not _matches(part.path, resource):
        raise _CorruptError(f"{part.size:,} bytes arrived, without the size and checksum expected")


def _receive(client: httpx.Client, resource: Resource, part: _Part, progress: Progress) -> None:
    """Send one request for the rest of the partial file."""
    headers = _range(resource, part)
    with client.stream("GET", resource.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _CorruptError(f"the server has no bytes after the first {part.size:,}")
        _checked(response, resource.url)
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT and bool(headers)
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {part.size}-"):
            raise _CorruptError("the server sent another range than the one asked for")
        part.validator = _strong_validator(response)
        _append(response, resource, part, progress, resumed=resumed)


def _range(resource: Resource, part: _Part) -> dict[str, str]:
    """Return the headers that ask for the rest of a file; none to ask for the whole file."""
    if part.size == 0:
        return {}
    if part.validator is not None:
        return {"Range": f"bytes={part.size}-", "If-Range": part.validator}
    # A partial file of an earlier run has no validator: only a checksum can show whether both parts fit.
    return {"Range": f"bytes={part.size}-"} if resource.checksum else {}


def _strong_validator(response: httpx.Response) -> str | None:
    """Return the file's version for If-Range, which accepts no weak ETag."""
    tag = response.headers.get("ETag")
    return None if tag is None or tag.startswith("W/") else tag


def _append(response: httpx.Response, resource: Resource, part: _Part, progress: Progress, *, resumed: bool) -> None:
    """Append a response's body to the partial file, or overwrite it when the server sends the whole file."""
    with part.path.open("ab" if resumed else "wb") as file:
        size = file.tell()
        # Bytes are written as they arrive: of chunks of a fixed size, an interruption would lose a part.
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_BYTES:
                part.discard()
                raise _too_large(resource, size)
            file.write(chunk)
            progress(resource.name, size, resource.size)


def _matches(path: Path, resource: Resource) -> bool:
    """Return whether a file has the checksum that the catalogue gives, or without one the size that it gives."""
    if resource.checksum is None:
        return resource.size in {None, path.stat().st_size}
    algorithm, expected = resource.checksum
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


# --- requests


def _checked(response: httpx.Response, address: str) -> httpx.Response:
    """Return the response, if it was successful."""
    if response.status_code in _TRANSIENT:
        raise _TransientError(f"status {response.status_code}")
    if not response.is_success:
        raise DownloadError(
            f"{address} answers with status {response.status_code} instead of the file.",
            "see whether the publisher moved the data set, or put the files into the folder by hand.",
        )
    return response


def _persistently(call: Callable[[], T], address: str, advance: Callable[[], int] = lambda: 0) -> T:
    """Return the result of the call when it succeeds, with growing pauses; DownloadError after `_ATTEMPTS`."""
    # Attempts are counted again after each one that received more bytes (`advance`). So a long file over a bad line is
    # completed, and a server that always fails at one place is given up.
    failures, furthest = 0, advance()
    while True:
        try:
            return call()
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
            raise DownloadError(f"{address} cannot be fetched: {error}.", _LATER) from error
        except (httpx.TransportError, _TransientError) as error:
            reached = advance()
            failures, furthest = (1, reached) if reached > furthest else (failures + 1, furthest)
            reason = str(error) or type(error).__name__
            if failures >= _ATTEMPTS:
                raise DownloadError(
                    f"{address} could not be fetched in {_ATTEMPTS} attempts: {reason}.",
                    f"check the network and {_LATER}",
                ) from error
            log.warning("%s: %s; trying again", address, reason)
            time.sleep(_BACKOFF * 2 ** (failures - 1))


def _too_large(resource: Resource, size: int) -> DownloadError:
    return DownloadError(
        f"{resource.url} has {size:,} bytes or more, where at most {MAX_BYTES:,} are expected.",
        "see whether the catalogue's entry is right, and put the files into the folder by hand.",
    )

"""Fetching the official files, against a local publisher that can misbehave in every way a network does."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from include.accidents.data import download as module
from include.accidents.data.columns import Table
from include.accidents.data.download import DATASET, DownloadError, download, reachable
from include.accidents.data.files import find
from include.accidents.errors import SettingsError
from include.accidents.synthetic.sample import write_sample

CATALOGUE = f"/api/1/datasets/{DATASET}/"


@dataclass
class Publisher:
    """A catalogue of files, what it was asked, and what goes wrong."""

    files: dict[str, bytes] = field(default_factory=dict)
    resources: list[dict[str, object]] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # path and Range
    cuts: list[int] = field(default_factory=list)  # bytes after which the next bodies of files end
    statuses: list[int] = field(default_factory=list)  # what the next requests get instead
    wrong: dict[str, list[bytes]] = field(default_factory=dict)  # what is sent instead of a file, once each
    ranges: bool = True
    tags: bool = True
    catalogue: bytes | None = None
    hang: threading.Event | None = None
    url: str = ""

    def publish(self, name: str, content: bytes, **changes: object) -> None:
        self.files[name] = content
        self.resources.append(
            {
                "id": name,
                "title": name,
                "url": f"{self.url}/files/{name}",
                "latest": f"{self.url}/datasets/r/{name}",
                "filesize": len(content),
                "checksum": {"type": "sha1", "value": hashlib.sha1(content).hexdigest()},  # noqa: S324
                "format": "csv",
                "mime": "text/csv",
            }
            | changes
        )

    def fetched(self) -> list[str]:
        """Names of the files that were asked for, redirects apart."""
        return [path.rpartition("/")[2] for path, _ in self.requests if path.startswith("/files/")]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for an acknowledgement
    publisher: Publisher

    def do_GET(self) -> None:
        publisher = self.publisher
        publisher.requests.append((self.path, self.headers["Range"]))
        if publisher.hang is not None:
            publisher.hang.wait(20)
            self.close_connection = True
        elif publisher.statuses:
            self.answer(publisher.statuses.pop(0), b"not now")
        elif self.path == CATALOGUE:
            listed = json.dumps({"title": "BAAC", "resources": publisher.resources}).encode()
            self.answer(200, listed if publisher.catalogue is None else publisher.catalogue)
        elif self.path.startswith("/datasets/r/"):
            self.answer(302, b"", {"Location": f"/files/{self.path.rpartition('/')[2]}"})
        else:
            self.send_file(self.path.rpartition("/")[2])

    def send_file(self, name: str) -> None:
        publisher = self.publisher
        content = publisher.files[name]
        if publisher.wrong.get(name):
            content = publisher.wrong[name].pop(0)
        tag = f'"{hashlib.md5(content).hexdigest()}"'  # noqa: S324
        headers = {"ETag": tag} if publisher.tags else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        if asked is None or not publisher.ranges or self.headers["If-Range"] not in {None, tag}:
            self.answer(200, content, headers)
        elif (start := int(asked[1])) >= len(content):
            self.answer(416, b"")
        else:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(206, content[start:], headers)

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.publisher.cuts and self.path.startswith("/files/"):
            body = body[: self.publisher.cuts.pop(0)]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    """A publisher of 2021, 2022 and 2023, other resources among them."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(module, "_BACKOFF", 0.001)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"publisher": Publisher()}))
    server.daemon_threads = True
    running = server.RequestHandlerClass.publisher
    running.url = f"http://127.0.0.1:{server.server_port}"
    running.publish("description-des-bases-2023.pdf", b"pdf")
    running.publish("vehicules-immatricules-baac-2023.csv", b"registrations")
    for first, year in (("carcteristiques", 2021), ("carcteristiques", 2022), ("caract", 2023)):
        for stem in (first, "lieux", "vehicules", "usagers"):
            running.publish(f"{stem}-{year}.csv", f"{stem} {year} ".encode() * 5000)
    running.publish("caract-2024.csv", b"alone")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield running
    if running.hang is not None:
        running.hang.set()
    server.shutdown()
    server.server_close()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- what arrives


def test_the_two_latest_years_that_have_all_four_files_arrive_whole(publisher: Publisher, tmp_path: Path) -> None:
    paths = download(tmp_path, base_url=publisher.url)
    assert [path.name for path in paths[:5]] == [
        "carcteristiques-2022.csv",
        "lieux-2022.csv",
        "vehicules-2022.csv",
        "usagers-2022.csv",
        "caract-2023.csv",
    ]
    assert contents(tmp_path) == {path.name: publisher.files[path.name] for path in paths}
    assert list(find(tmp_path)) == [2022, 2023]


def test_the_folder_is_created_and_the_number_of_years_can_be_chosen(publisher: Publisher, tmp_path: Path) -> None:
    assert len(download(tmp_path / "a" / "b", years=1, base_url=publisher.url)) == 4
    assert len(download(tmp_path / "c", years=9, base_url=publisher.url)) == 12
    with pytest.raises(SettingsError, match="0 years"):
        download(tmp_path / "d", years=0, base_url=publisher.url)


def test_progress_reaches_the_size_of_every_file(publisher: Publisher, tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int | None]] = {}
    download(tmp_path, base_url=publisher.url, progress=lambda name, *sizes: seen.update({name: sizes}))
    assert seen == {name: (len(content), len(content)) for name, content in contents(tmp_path).items()}


def test_what_is_there_already_is_not_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
    download(tmp_path, base_url=publisher.url)
    publisher.requests.clear()
    paths = download(tmp_path, base_url=publisher.url)
    assert len(paths) == 8
    assert [path for path, _ in publisher.requests] == [CATALOGUE]


def test_only_a_file_that_differs_from_the_catalogue_is_fetched_again(publisher: Publisher, tmp_path: Path) -> None:
    download(tmp_path, base_url=publisher.url)
    (tmp_path / "lieux-2023.csv").write_bytes(b"damaged")
    publisher.requests.clear()
    download(tmp_path, base_url=publisher.url)
    assert publisher.fetched() == ["lieux-2023.csv"]
    assert (tmp_path / "lieux-2023.csv").read_bytes() == publisher.files["lieux-2023.csv"]


def test_a_file_published_twice_counts_as_last_modified(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("Usagers_2023.csv", b"revised", last_modified="2026-01-02")
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "Usagers_2023.csv").read_bytes() == b"revised"
    assert not (tmp_path / "usagers-2023.csv").exists()


def test_a_file_is_also_recognised_by_the_end_of_its_address(publisher: Publisher, tmp_path: Path) -> None:
    next(r for r in publisher.resources if r["title"] == "lieux-2023.csv")["title"] = "Les lieux"
    assert tmp_path / "lieux-2023.csv" in download(tmp_path, years=1, base_url=publisher.url)


def test_without_a_checksum_the_size_decides(publisher: Publisher, tmp_path: Path) -> None:
    for resource in publisher.resources:
        resource["checksum"] = None
    publisher.wrong["caract-2023.csv"] = [b"short"]
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "caract-2023.csv").read_bytes() == publisher.files["caract-2023.csv"]


# --- interruptions


def test_a_connection_cut_in_the_middle_is_resumed_where_it_ended(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [30_000, 20_000]
    download(tmp_path, years=1, base_url=publisher.url)
    ranges = [asked for path, asked in publisher.requests if path.endswith("files/caract-2023.csv")]
    assert ranges == [None, "bytes=30000-", "bytes=50000-"]
    assert (tmp_path / "caract-2023.csv").read_bytes() == publisher.files["caract-2023.csv"]


def test_many_cuts_are_survived_as_long_as_each_attempt_gets_further(publisher: Publisher, tmp_path: Path) -> None:
    publisher.cuts = [4000] * 12
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "caract-2023.csv").read_bytes() == publisher.files["caract-2023.csv"]


def test_what_a_former_run_left_is_continued(publisher: Publisher, tmp_path: Path) -> None:
    whole = publisher.files["caract-2023.csv"]
    (tmp_path / "caract-2023.csv.part").write_bytes(whole[:12_345])
    download(tmp_path, years=1, base_url=publisher.url)
    assert ("/files/caract-2023.csv", "bytes=12345-") in publisher.requests
    assert (tmp_path / "caract-2023.csv").read_bytes() == whole
    assert not list(tmp_path.glob("*.part"))


def test_a_whole_part_is_only_renamed(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "caract-2023.csv.part").write_bytes(publisher.files["caract-2023.csv"])
    download(tmp_path, years=1, base_url=publisher.url)
    assert "caract-2023.csv" not in publisher.fetched()
    assert (tmp_path / "caract-2023.csv").exists()


@pytest.mark.parametrize("left", [b"another beginning", b"longer than the file " * 10_000])
def test_a_part_of_another_file_is_thrown_away(publisher: Publisher, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "caract-2023.csv.part").write_bytes(left)
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "caract-2023.csv").read_bytes() == publisher.files["caract-2023.csv"]


def test_a_file_replaced_between_two_attempts_is_fetched_from_its_beginning(
    publisher: Publisher, tmp_path: Path
) -> None:
    name = "caract-2023.csv"
    publisher.wrong[name] = [b"yesterday's file, " * 5000]
    publisher.cuts = [30_000]
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / name).read_bytes() == publisher.files[name]
    assert publisher.fetched().count(name) == 2  # If-Range told the server at once


@pytest.mark.parametrize("tags", [True, False])
def test_a_server_that_knows_no_ranges_sends_the_whole_again(publisher: Publisher, tmp_path: Path, tags: bool) -> None:
    publisher.ranges, publisher.tags = False, tags
    publisher.cuts = [30_000, 40_000]
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "caract-2023.csv").read_bytes() == publisher.files["caract-2023.csv"]


def test_a_server_that_never_gets_further_than_before_is_given_up(publisher: Publisher, tmp_path: Path) -> None:
    publisher.ranges = False
    publisher.cuts = [30_000, 20_000] * 25
    with pytest.raises(DownloadError, match=r"caract-2023\.csv could not be fetched in 5 attempts"):
        download(tmp_path, years=1, base_url=publisher.url)
    assert contents(tmp_path).keys() == {"caract-2023.csv.part"}


def test_a_server_that_is_busy_for_a_moment_is_asked_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.statuses = [503, 429]
    assert len(download(tmp_path, base_url=publisher.url)) == 8


def test_a_server_that_stays_broken_is_reported_with_its_address_and_a_remedy(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.statuses = [500] * 50
    with pytest.raises(DownloadError, match=rf"{publisher.url}/api.*5 attempts: status 500.*by hand"):
        download(tmp_path, base_url=publisher.url)
    assert len(publisher.requests) == 5


def test_a_server_that_hangs_is_given_up(publisher: Publisher, tmp_path: Path) -> None:
    publisher.hang = threading.Event()
    started = time.monotonic()
    with pytest.raises(DownloadError, match="could not be fetched in 5 attempts"):
        download(tmp_path, base_url=publisher.url, timeout=0.1)
    assert time.monotonic() - started < 5


# --- what is refused


def test_a_wrong_checksum_once_is_mended_by_fetching_again(publisher: Publisher, tmp_path: Path) -> None:
    publisher.wrong["lieux-2023.csv"] = [b"damaged on the way"]
    download(tmp_path, years=1, base_url=publisher.url)
    assert (tmp_path / "lieux-2023.csv").read_bytes() == publisher.files["lieux-2023.csv"]


def test_a_wrong_checksum_twice_is_an_error_and_leaves_only_whole_files(publisher: Publisher, tmp_path: Path) -> None:
    publisher.wrong["lieux-2023.csv"] = [b"damaged", b"damaged", b"not asked for"]
    with pytest.raises(DownloadError, match=r"lieux-2023\.csv gives another file.*checksum.*by hand"):
        download(tmp_path, years=1, base_url=publisher.url)
    assert contents(tmp_path).keys() == {"caract-2023.csv"}
    assert publisher.wrong["lieux-2023.csv"] == [b"not asked for"]


def test_a_file_that_is_gone_is_reported_at_once(publisher: Publisher, tmp_path: Path) -> None:
    publisher.resources = [r | {"latest": f"{publisher.url}/gone"} for r in publisher.resources]
    publisher.files["gone"] = b""
    publisher.statuses = []
    original = Handler.send_file

    def gone(handler: Handler, name: str) -> None:
        handler.answer(404, b"") if name == "gone" else original(handler, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "send_file", gone)
        with pytest.raises(DownloadError, match="/gone answers with status 404"):
            download(tmp_path, base_url=publisher.url)
    assert [path for path, _ in publisher.requests] == [CATALOGUE, "/gone"]


def test_an_absurd_size_is_refused_before_anything_is_fetched(publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish("caract-2023.csv", b"huge", filesize=5 << 30, last_modified="2026")
    with pytest.raises(DownloadError, match=r"5,368,709,120 bytes"):
        download(tmp_path, years=1, base_url=publisher.url)
    assert publisher.fetched() == []


def test_a_body_without_end_is_stopped_and_thrown_away(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100_000)
    publisher.wrong["caract-2023.csv"] = [b"more and more" * 20_000]
    with pytest.raises(DownloadError, match="at most 100,000"):
        download(tmp_path, years=1, base_url=publisher.url)
    assert contents(tmp_path) == {}


def test_a_redirect_from_https_to_http_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(302, headers={"Location": "http://elsewhere.example/files"}, request=request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", answer)
    with pytest.raises(DownloadError, match=r"http://elsewhere\.example/files, which is not protected by https"):
        download(tmp_path, base_url="https://catalogue.example")
    assert asked == [f"https://catalogue.example{CATALOGUE}"]


def test_a_catalogue_in_http_may_redirect(publisher: Publisher, tmp_path: Path) -> None:
    download(tmp_path, years=1, base_url=publisher.url)
    assert ("/datasets/r/caract-2023.csv", None) in publisher.requests


@pytest.mark.parametrize("answer", [b"<html>log in</html>", b"[]", b'{"resources": 3}'])
def test_an_answer_that_is_no_catalogue_is_refused(publisher: Publisher, tmp_path: Path, answer: bytes) -> None:
    publisher.catalogue = answer
    with pytest.raises(DownloadError, match="does not answer with a catalogue entry"):
        download(tmp_path, base_url=publisher.url)


def test_entries_of_the_catalogue_that_make_no_sense_are_passed_over(publisher: Publisher, tmp_path: Path) -> None:
    publisher.resources += [{}, {"title": None, "url": None}, {"title": "../lieux-2025.csv", "url": "x"}]
    publisher.catalogue = json.dumps({"resources": ["text", 3, *publisher.resources]}).encode()
    assert len(download(tmp_path, base_url=publisher.url)) == 8


def test_a_catalogue_without_a_complete_year_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    publisher.resources = [r for r in publisher.resources if "usagers" not in str(r["title"])]
    with pytest.raises(DownloadError, match="no year with all of the four files"):
        download(tmp_path, base_url=publisher.url)


def test_real_files_are_not_put_beside_a_sample(publisher: Publisher, tmp_path: Path) -> None:
    write_sample(tmp_path, years=(2022,), accidents_per_year=5)
    with pytest.raises(DownloadError, match="generated sample"):
        download(tmp_path, base_url=publisher.url)
    assert publisher.requests == []


def test_a_folder_that_cannot_be_written_to_is_named(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DownloadError, match=r"cannot be written to .*file"):
        download(tmp_path / "file", base_url=publisher.url)


# --- whether there is a network


def test_a_publisher_that_answers_is_reachable(publisher: Publisher) -> None:
    assert reachable(publisher.url)
    assert reachable(f"{publisher.url}/")


def test_a_publisher_that_is_broken_is_not(publisher: Publisher) -> None:
    publisher.statuses = [502]
    assert not reachable(publisher.url)


def test_a_refused_connection_is_noticed_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    started = time.monotonic()
    assert not reachable(f"http://127.0.0.1:{port}")
    assert time.monotonic() - started < 2


def test_a_server_that_accepts_and_says_nothing_is_noticed_in_time(publisher: Publisher) -> None:
    publisher.hang = threading.Event()
    started = time.monotonic()
    assert not reachable(publisher.url, timeout=0.3)
    assert time.monotonic() - started < 2


def test_a_resolver_that_hangs_is_noticed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def never(*_: object, **__: object) -> None:
        answered.wait(10)
        raise socket.gaierror("no answer")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", never)
    started = time.monotonic()
    assert not reachable("https://catalogue.example", timeout=0.3)
    assert time.monotonic() - started < 2
    answered.set()


@pytest.mark.parametrize("address", ["", "www.data.gouv.fr", "ftp://data.example", "http://", "nonsense:"])
def test_an_address_that_is_none_is_a_wrong_setting(address: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ACCIDENTS_CATALOGUE_URL"):
        reachable(address)
    with pytest.raises(SettingsError, match="not an http or https address"):
        download(tmp_path, base_url=address)


def test_the_files_of_every_table_are_asked_for(publisher: Publisher, tmp_path: Path) -> None:
    found = find(Path(download(tmp_path, years=1, base_url=publisher.url)[0]).parent)
    assert set(found[2023]) == set(Table)

"""Who is told of a failed task: a mail server and a web server that really listen."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_string
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import StreamRequestHandler, TCPServer
from types import SimpleNamespace
from typing import Any

import pytest

from dags.common import notify_failure

CONTEXT: dict[str, Any] = {
    "ti": SimpleNamespace(
        dag_id="pipeline", run_id="run 1", task_id="train_model", rendered_map_index="MLP", log_url="http://airflow/log"
    ),
    "exception": ValueError("Input X contains <NaN>"),
}


class Mailbox(StreamRequestHandler):
    """The least of SMTP that a client needs to leave a mail."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            word = line[:4].upper().strip()
            if word == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = list(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                self.server.received.append("".join(lines))  # type: ignore[attr-defined]
            if word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            self.wfile.write(b"250 fine\r\n")


class Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers["Authorization"], json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.server.answer)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def servers() -> Iterator[tuple[Any, Any]]:
    made: list[Any] = [TCPServer(("127.0.0.1", 0), Mailbox), HTTPServer(("127.0.0.1", 0), Webhook)]
    for server in made:
        server.received, server.answer = [], 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made[0], made[1]
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connections(servers: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    mail, web = (server.server_address[1] for server in servers)
    extra = {"to": "team@example.org", "from_email": "airflow@example.org", "disable_ssl": True, "disable_tls": True}
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mail, "extra": extra}
    webhook = {"conn_type": "http", "host": f"http://127.0.0.1:{web}/hook", "password": "word"}
    monkeypatch.setenv("AIRFLOW_CONN_ACCIDENTS_SMTP", json.dumps(smtp))
    monkeypatch.setenv("AIRFLOW_CONN_ACCIDENTS_WEBHOOK", json.dumps(webhook))
    return servers


def test_a_failure_is_told_by_mail_and_by_webhook(connections: tuple[Any, Any]) -> None:
    mail, web = connections
    notify_failure(CONTEXT)
    (letter,) = [message_from_string(text) for text in mail.received]
    assert (letter["To"], letter["Subject"]) == ("team@example.org", "pipeline: train_model failed")
    parts = [part.get_payload(decode=True).decode() for part in letter.walk() if not part.is_multipart()]
    assert "Input X contains &lt;NaN&gt;" in "".join(parts)
    ((authorization, told),) = web.received
    assert authorization == "Bearer word"
    assert told["instance"] == "MLP"
    assert told["reason"] == "Input X contains <NaN>"


def test_a_server_that_refuses_changes_nothing_and_the_other_is_told(connections: tuple[Any, Any]) -> None:
    mail, web = connections
    web.answer = 500
    notify_failure(CONTEXT)
    assert len(mail.received) == len(web.received) == 1


def test_without_connections_nobody_is_told(servers: tuple[Any, Any]) -> None:
    notify_failure(CONTEXT)
    assert [server.received for server in servers] == [[], []]

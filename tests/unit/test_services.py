"""Calls to services that are just being restarted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest

from include.accidents.pipeline import services
from ops.airflow_api import Airflow


class Restarting(BaseHTTPRequestHandler):
    """What a proxy says while the service behind it restarts: a page, with status 200."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>back soon</html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def restarting() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Restarting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_an_answer_that_is_no_json_is_an_error_that_is_tried_again(restarting: str) -> None:
    with pytest.raises(httpx.TransportError, match="not JSON"):
        services.reload_model(restarting, "key", "Tree", "1")
    with pytest.raises(ValueError, match="Expecting value"):
        Airflow(restarting, "admin", "secret").write_note("run", "note")

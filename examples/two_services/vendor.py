"""A stand-in for an LLM vendor, which reports the headers it received."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

seen: list[dict[str, str]] = []


class Vendor(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        seen.append({name.lower(): value for name, value in self.headers.items()})
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(" ".join(asked["passages"]) or "I do not know.")

    def do_GET(self) -> None:
        self._answer(json.dumps(seen))

    def _answer(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Vendor).serve_forever()

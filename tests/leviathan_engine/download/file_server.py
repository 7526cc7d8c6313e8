"""`python3 file_server.py FILE`: serves one file on the loopback as fast as the kernel can (sendfile), with ranges.

Prints its port. A process for each connection, so that a client's rate is not this server's.
"""

import http.server
import os
import re
import socketserver
import sys
from pathlib import Path


class Server(socketserver.ForkingMixIn, http.server.HTTPServer):
    """A child for each connection."""

    max_children = 64


class Handler(http.server.BaseHTTPRequestHandler):
    """GET of the one file, whatever the path."""

    protocol_version = "HTTP/1.1"
    path_of_file = Path()

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        with self.path_of_file.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            first, last, status = 0, size - 1, 200
            if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                first, last, status = int(wanted[1]), min(int(wanted[2]), last), 206
            self.send_response(status)
            self.send_header("Content-Length", str(last + 1 - first))
            if status == 206:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.end_headers()
            self.wfile.flush()
            while first <= last:
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, last + 1 - first)


if __name__ == "__main__":
    Handler.path_of_file = Path(sys.argv[1])
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)  # noqa: T201
        server.serve_forever()

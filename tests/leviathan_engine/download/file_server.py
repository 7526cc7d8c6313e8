"""`python3 file_server.py FILE [MB_PER_S]`: serves one file on the loopback (sendfile), with ranges.

As fast as the kernel can, or so fast over all connections together. Prints its port. A process for each connection,
so that a client's rate is not this server's.
"""

import http.server
import multiprocessing
import os
import re
import socketserver
import sys
import time
from pathlib import Path

#: Bytes sent between two looks at the clock, and seconds that a late sender may catch up.
STEP, CREDIT_S = 256 << 10, 0.05


class Server(socketserver.ForkingMixIn, http.server.HTTPServer):
    """A child for each connection."""

    max_children = 64


class Handler(http.server.BaseHTTPRequestHandler):
    """GET of the one file, whatever the path."""

    protocol_version = "HTTP/1.1"
    path_of_file = Path()
    rate = 0.0
    #: When the next byte of any connection is due, by the monotonic clock; shared by all children.
    due = multiprocessing.Value("d", 0.0)

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
                count = last + 1 - first
                if self.rate:
                    count = min(STEP, count)
                    self._wait(count)
                first += os.sendfile(self.connection.fileno(), file.fileno(), first, count)

    def _wait(self, count: int) -> None:
        """Wait until `count` bytes more keep to the rate."""
        with self.due.get_lock():
            begin = max(self.due.value, time.monotonic() - CREDIT_S)
            self.due.value = begin + count / self.rate
        time.sleep(max(0.0, begin - time.monotonic()))


if __name__ == "__main__":
    Handler.path_of_file = Path(sys.argv[1])
    Handler.rate = 1e6 * float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)  # noqa: T201
        server.serve_forever()

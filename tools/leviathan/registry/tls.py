"""Whether a server speaks TLS, for the words when it was asked without."""

import socket
import ssl


def speaks_tls(host: str, port: int, timeout_s: float = 5.0) -> bool:
    """Whether a TLS handshake with `host`:`port` succeeds within `timeout_s` seconds; no certificate is looked at.

    Nothing is sent over the connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host, port), timeout_s) as plain:
            with context.wrap_socket(plain, server_hostname=host):
                return True
    except (OSError, ValueError):  # ssl.SSLError is an OSError; ValueError: a name that SNI cannot carry
        return False

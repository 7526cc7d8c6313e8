"""HTTP for the downloader: proxies from the environment, byte ranges, and a token that is sent to one host only.

Proxies are urllib's: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in upper or lower case.
"""

import contextlib
import functools
import http.client
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from .errors import DownloadError, TransientError

#: Transient statuses: the same request may succeed later.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: Maximum bytes of a document.
MOST = 32 << 20
#: Maximum wait in seconds, if a server's Retry-After asks for more.
LONGEST_WAIT_S = 300.0


@dataclass(frozen=True)
class Web:
    """Makes requests.

    Arguments: `token`, sent as a bearer token only to `token_host` (host and port of a URL), also after a redirect;
    `silence_s`, seconds without a byte after which a request fails.
    """

    token: str = ""
    token_host: str = ""
    silence_s: float = 60.0

    @contextlib.contextmanager
    def open(self, url: str, method: str = "GET", **headers: str) -> Iterator[http.client.HTTPResponse]:
        """Yields the response to a request, after redirects; names of `headers` have underscores for hyphens.

        Errors: TransientError, also from the body of the `with`; DownloadError for permanent errors.
        """
        try:
            with self._opened(url, method, {name.replace("_", "-"): value for name, value in headers.items()}) as found:
                yield found
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(url, error) from None
        except (TimeoutError, http.client.HTTPException, ConnectionError) as error:
            raise TransientError(f"{host_of(url)}: {_words(error)}") from None
        except urllib.error.URLError as error:
            raise _unreached(url, error.reason) from None
        except ssl.SSLError as error:
            raise _unreached(url, error) from None

    def document(self, url: str) -> tuple[Any, str]:
        """Returns the JSON at `url`, and the address of the next page (RFC 8288, rel="next"), empty on the last page.

        Errors: TransientError, DownloadError.
        """
        with self.open(url) as answer:
            body = answer.read(MOST + 1)
            link = answer.headers.get("Link", "")
        if len(body) > MOST:
            raise DownloadError(f"{url}: the answer is larger than {MOST >> 20} MiB", "check the address")
        try:
            return json.loads(body), _next(url, link)
        except ValueError:
            raise DownloadError(f"{url}: expected JSON, got {body[:80]!r}", "check the address") from None

    def _opened(self, url: str, method: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(url, method=method, headers={"User-Agent": "leviathan", **headers})
        if self.token and host_of(url) == self.token_host:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        handler = urllib.request.HTTPSHandler(context=tls(os.environ.get("SSL_CERT_FILE", "")))
        opener = urllib.request.build_opener(_Redirects(self), handler)
        found = opener.open(request, timeout=self.silence_s)
        assert isinstance(found, http.client.HTTPResponse)
        return found


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps method and range, drops the token unless the new address is on the token's host, refuses other schemes."""

    def __init__(self, web: Web) -> None:
        self.web = web

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme != "https"):
            raise DownloadError(
                f"{req.full_url} redirects to {new.scheme}://…, which is not allowed", "check the address"
            )
        request = urllib.request.Request(newurl, method=req.get_method(), headers=dict(req.headers))
        if self.web.token and host_of(newurl) == self.web.token_host:
            request.add_unredirected_header("Authorization", f"Bearer {self.web.token}")
        return request


@functools.cache
def tls(authorities: str) -> ssl.SSLContext:
    """Returns the TLS context: $SSL_CERT_FILE, the system's authorities, or those of the package certifi if installed.

    Cached for each value of the variable, `authorities`: reading them takes as long as downloading 30 MB.
    """
    context = ssl.create_default_context()
    if not authorities and not context.cert_store_stats()["x509_ca"]:
        with contextlib.suppress(ImportError, OSError):
            import certifi  # noqa: PLC0415 - only on a system without authorities

            context.load_verify_locations(certifi.where())
    return context


def host_of(url: str) -> str:
    """Returns host and port of a URL."""
    return urlsplit(url).netloc.rpartition("@")[2].lower()


def _refused(url: str, error: urllib.error.HTTPError) -> Exception:
    detail = " ".join(error.read(300).decode("utf-8", "replace").split())[:160]
    text = f"{url}: {error.code} {error.reason}{f' ({detail})' if detail else ''}"
    if error.code in PASSING:
        return TransientError(text, _retry_after(error.headers.get("Retry-After", "")))
    if error.code in (401, 403):
        return DownloadError(text, "accept the model's terms with your account, and put a token of it into the Secret")
    if error.code == 416:
        return DownloadError(text, "the file is shorter than the server's file list says: choose another source")
    return DownloadError(text, "check the repository, the revision and the file names")


def _unreached(url: str, reason: object) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f"{host_of(url)}: the certificate is not trusted ({reason.verify_message})",
            "set SSL_CERT_FILE to the PEM file of the certificate authority",
        )
    return TransientError(f"{host_of(url)}: {_words(reason)}")


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "timed out: no byte was received"
    return " ".join(str(error).split()) or type(error).__name__


def _retry_after(text: str) -> float:
    """Returns the seconds of a Retry-After header, 0 if it is a date."""
    return min(float(text), LONGEST_WAIT_S) if text.isdigit() else 0.0


def _next(url: str, link: str) -> str:
    for entry in link.split(","):
        address, _, parameters = entry.partition(";")
        if 'rel="next"' in parameters:
            found = urljoin(url, address.strip().strip("<>"))
            return found if host_of(found) == host_of(url) else ""
    return ""

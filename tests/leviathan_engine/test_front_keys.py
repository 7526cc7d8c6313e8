"""API keys: how they are written, which one a request carries, and what each may use."""

import pytest

from leviathan_engine.errors import UsageError
from leviathan_engine.front.access.api_keys import ApiKey, parse_keys
from leviathan_engine.front.access.key_ring import KeyRing
from leviathan_engine.front.access.rate import Bucket
from leviathan_engine.front.access.settings import access
from leviathan_engine.front.api_error import ApiError

TEXT = """\
# who may ask
sk-alone

alice  sk-a=/+ requests=60 tokens=1000 parallel=2
bob sk-b\r
"""


def scope(*headers: tuple[str, str]) -> dict[str, object]:
    return {"type": "http", "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers]}


def test_a_key_file() -> None:
    assert parse_keys(TEXT, "file") == (
        ApiKey("key1", b"sk-alone"),
        ApiKey("alice", b"sk-a=/+", 60, 1000, 2),
        ApiKey("bob", b"sk-b"),
    )
    assert "sk-" not in repr(parse_keys(TEXT, "file"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a s\u00e9cret", "line 1: expected a key of 1 to 512 printable ASCII"),
        ("\n b@d! k", "line 2: expected a name"),
        (
            "a k requests=0",
            "line 1: expected requests=NUMBER, tokens=NUMBER, parallel=NUMBER after the key, got 'requests'",
        ),
        ("a k speed=3", "got 'speed'"),
        ("a k tokens=1 tokens=2", "got 'tokens'"),
        ("a k\na j", "the same name occurs twice"),
        ("a k\nb k", "the same key occurs twice"),
    ],
)
def test_a_wrong_key_file_is_refused_without_showing_a_key(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_keys(text, "file")
    assert says in caught.value.line()
    assert "s\u00e9cret" not in caught.value.line()


def test_keys_in_the_environment_end_at_line_ends_and_commas() -> None:
    assert [key.secret for key in access({"LEVIATHAN_API_KEY": "alpha,beta\n"}).keys] == [b"alpha", b"beta"]
    assert access({}).keys == ()
    with pytest.raises(UsageError, match="LEVIATHAN_API_KEY: expected an API key"):
        access({"LEVIATHAN_API_KEY": " \n"})


def test_which_key_a_request_carries() -> None:
    ring = KeyRing(parse_keys(TEXT, "file"))
    right = [
        (("authorization", "Bearer sk-b"),),
        (("authorization", "bearer  sk-b"),),
        (("x-api-key", "sk-b"),),
        (("authorization", "Bearer none"), ("x-api-key", "sk-b")),
        (("authorization", "Basic abc"), ("x-api-key", "sk-b")),
    ]
    for headers in right:
        found = ring.identify(scope(*headers))
        assert found is not None
        assert found.name == "bob"
    wrong = [
        (),
        (("authorization", "sk-b"),),
        (("authorization", "Bearer sk-"),),
        (("x-api-key", "Bearer sk-b"),),
        (("x-api-key", "\xe9"),),
    ]
    for headers in wrong:
        with pytest.raises(ApiError) as caught:
            ring.identify(scope(*headers))
        assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
        assert "sk-" not in caught.value.message
    assert KeyRing().identify(scope()) is None


def refused(ring: KeyRing, key: ApiKey) -> tuple[str, int]:
    """What an attempt that is refused says, and after how many seconds to try again."""
    with pytest.raises(ApiError) as caught, ring.admitted(key):
        pass
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    return caught.value.message, int(caught.value.headers["retry-after"])


def test_requests_a_minute() -> None:
    now = [0.0]
    key, other = ApiKey("a", b"k", requests=2), ApiKey("b", b"l")
    ring = KeyRing((key, other), lambda: now[0])
    for _ in range(2):
        with ring.admitted(key):
            pass
    assert refused(ring, key) == ("the API key 'a' is limited to 2 requests per minute: try again later", 30)
    for one in (other, None):
        with ring.admitted(one):
            pass
    now[0] = 30
    with ring.admitted(key):
        pass


def test_tokens_a_minute_are_counted_at_the_end() -> None:
    now = [0.0]
    key = ApiKey("a", b"k", tokens=600)
    ring = KeyRing((key,), lambda: now[0])
    with ring.admitted(key):
        ring.spend(key, 1200)
    assert refused(ring, key)[1] == 61
    now[0] = 61
    with ring.admitted(key):
        pass


def test_parallel_requests() -> None:
    key = ApiKey("a", b"k", parallel=1)
    ring = KeyRing((key,))
    with ring.admitted(key):
        assert refused(ring, key) == ("the API key 'a' is limited to 1 concurrent requests: try again later", 1)
    with ring.admitted(key):
        pass


def test_new_keys_replace_the_old_ones_and_a_limit_is_not_reset() -> None:
    a, b = ApiKey("a", b"k", requests=1), ApiKey("b", b"l")
    ring = KeyRing((a,), lambda: 0.0)
    with ring.admitted(a):
        pass
    ring.replace((a, b))
    assert refused(ring, a)[1] == 60
    assert ring.identify(scope(("x-api-key", "l"))) == b
    ring.replace((b,))
    with pytest.raises(ApiError):
        ring.identify(scope(("x-api-key", "k")))


def test_a_bucket_fills_up_to_its_size() -> None:
    now = [0.0]
    bucket = Bucket(10, 5, lambda: now[0])
    assert bucket.take(10)
    assert not bucket.take(1)
    assert bucket.wait(1) == 0.5
    now[0] = 100
    assert not bucket.take(11)
    assert bucket.take(10)

"""Credentials: Docker's config file, helpers, basic authentication and tokens."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from fakes.fault_registry import Fault, FaultRegistry, Rules
from push_support import MIB, Layout, make_around, make_layout, make_site

from leviathan.errors import RegistryError
from leviathan.push.push_image import connect, push
from leviathan.registry.auth import parse_challenge, token_request
from leviathan.registry.credentials import (
    Credentials,
    auth_files,
    config_path,
    find_credentials,
    first_credentials,
)

USER = "ann:s3cret:with colon"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_layout(tmp_path_factory.mktemp("layout"), (2 * MIB, 100))


def docker_config(folder: Path, content: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(content))
    return path


def entry(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(user.encode()).decode()}


def helper(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential helper on PATH."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@pytest.mark.parametrize("name", ["reg:5000", "http://reg:5000", "https://reg:5000/v2/"])
def test_auths(name: str, tmp_path: Path) -> None:
    path = docker_config(tmp_path, {"auths": {"other:5000": entry("x:y"), name: entry(USER)}})
    found = find_credentials("reg:5000", path)
    assert found == Credentials("ann", "s3cret:with colon")
    assert "s3cret" not in repr(found)
    assert find_credentials("reg:5001", path) is None


def test_no_config(tmp_path: Path) -> None:
    assert find_credentials("reg", tmp_path / "none.json") is None


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"auths": {"reg": {"auth": "!"}}})])
def test_broken_config_names_the_file(content: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(RegistryError, match=rf"{path}.*fix: docker login reg"):
        find_credentials("reg", path)


def test_config_path() -> None:
    assert config_path({"HOME": "/h"}) == Path("/h/.docker/config.json")
    assert config_path({"HOME": "/h", "DOCKER_CONFIG": "/d"}) == Path("/d/config.json")


def test_the_files_are_skopeos_and_podmans_then_dockers() -> None:
    environ = {"HOME": "/h", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert auth_files(environ) == [
        Path("/run/user/7/containers/auth.json"),
        Path("/h/.config/containers/auth.json"),
        Path("/h/.docker/config.json"),
    ]
    moved = environ | {"XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert auth_files(moved)[1:] == [Path("/c/containers/auth.json"), Path("/d/config.json")]
    assert auth_files({"HOME": "/h"})[0] == Path(f"/run/containers/{os.getuid()}/auth.json")
    assert auth_files(moved | {"REGISTRY_AUTH_FILE": "/a.json"}) == [Path("/a.json")]


def test_the_first_file_that_has_an_entry_counts(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    for path, user in zip(auth_files(environ), ("runtime:1", "config:2", "docker:3"), strict=True):
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"auths": {"reg:5000": entry(user)}}))
    seen = []
    for path in auth_files(environ):
        found = first_credentials("reg:5000", "team/engine", environ)
        assert found is not None
        seen.append(found.username)
        path.write_text(json.dumps({"auths": {"other": entry("x:y"), "reg:5000": {}}}))
    assert seen == ["runtime", "config", "docker"]
    assert first_credentials("reg:5000", "team/engine", environ) is None
    (tmp_path / "own.json").write_text(json.dumps({"auths": {"reg:5000": entry("own:4")}}))
    own = environ | {"REGISTRY_AUTH_FILE": str(tmp_path / "own.json")}
    assert first_credentials("reg:5000", "n", own) == Credentials("own", "4")
    assert first_credentials("reg:5000", "n", environ | {"REGISTRY_AUTH_FILE": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(
    ("repository", "user"),
    [
        ("team/engine", "image"),
        ("team/engine/more", "image"),
        ("team/other", "team"),
        ("teams/engine", "host"),
        ("", "host"),
    ],
)
def test_the_longest_prefix_of_the_repository_counts(tmp_path: Path, repository: str, user: str) -> None:
    names = {"reg:5000": "host", "reg:5000/team": "team", "reg:5000/team/engine": "image", "reg/team": "other"}
    path = docker_config(tmp_path, {"auths": {name: entry(f"{text}:p") for name, text in names.items()}})
    assert find_credentials("reg:5000", path, repository=repository) == Credentials(user, "p")


def test_an_entry_for_one_image_is_none_for_the_registry(tmp_path: Path) -> None:
    path = docker_config(tmp_path, {"auths": {"reg:5000/team/engine": entry("image:p")}})
    assert find_credentials("reg:5000", path, repository="other") is None
    assert find_credentials("reg:5000", path) is None


def test_helper_gets_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "test", 'read host; echo "{\\"Username\\":\\"$1-$host\\",\\"Secret\\":\\"p\\"}"', monkeypatch)
    path = docker_config(tmp_path, {"credHelpers": {"reg:5000": "test"}, "auths": {"reg:5000": entry(USER)}})
    assert find_credentials("reg:5000", path) == Credentials("get-reg:5000", "p")


def test_helper_gets_the_whole_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from docker: what each helper needs is its own; `process.run` alone passes only a few variables on."""
    names = ("AWS_PROFILE", "CLOUDSDK_CONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "GNUPGHOME", "PASSWORD_STORE_DIR")
    script = " ".join(f"${name}" for name in (*names, "GPG_TTY", "HOME", "LC_ALL"))
    helper(tmp_path, "test", f'echo "{{\\"Username\\":\\"u\\",\\"Secret\\":\\"{script}\\"}}"', monkeypatch)
    path = docker_config(tmp_path, {"credsStore": "test"})
    environ = {**{name: name.lower() for name in (*names, "GPG_TTY")}, "HOME": "/h", "LC_ALL": "C"}
    expected = Credentials("u", " ".join(environ.values()))
    assert find_credentials("reg", path, environ=environ) == expected
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert find_credentials("reg", path) == expected
    with FaultRegistry(rules=Rules(basic="u:here")).serve() as registry:  # as a push has it
        helper(tmp_path, "test", 'echo "{\\"Username\\":\\"u\\",\\"Secret\\":\\"$AWS_PROFILE\\"}"', monkeypatch)
        around, _ = make_around(tmp_path, DOCKER_CONFIG=str(tmp_path), AWS_PROFILE="here")
        connect(make_site(registry.host), around).tags()


def test_helper_with_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "test", """echo '{"Username":"<token>","Secret":"long"}'""", monkeypatch)
    path = docker_config(tmp_path, {"credsStore": "test"})
    assert find_credentials("reg", path) == Credentials(identity_token="long")


def test_helper_without_credentials_leaves_auths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "test", "echo credentials not found in native keychain; exit 1", monkeypatch)
    path = docker_config(tmp_path, {"credsStore": "test", "auths": {"reg": entry(USER)}})
    assert find_credentials("reg", path) == Credentials("ann", "s3cret:with colon")


@pytest.mark.parametrize(
    ("script", "words"), [("echo locked >&2; exit 3", "helper failed .*locked"), ("echo hm", "no credentials")]
)
def test_helper_that_fails(script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, "test", script, monkeypatch)
    with pytest.raises(RegistryError, match=rf"{words}.*fix: echo reg \| docker-credential-test get"):
        find_credentials("reg", docker_config(tmp_path, {"credsStore": "test"}))


def test_missing_helper(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"docker-credential-none.*fix: install"):
        find_credentials("reg", docker_config(tmp_path, {"credsStore": "none"}))


def test_parse_challenge() -> None:
    found = parse_challenge('Bearer realm="https://a/t?x=1,2",service="r s",scope="repository:a/b:pull,push"')
    assert found.scheme == "bearer"
    assert found.parameters == {"realm": "https://a/t?x=1,2", "service": "r s", "scope": "repository:a/b:pull,push"}
    assert parse_challenge('Basic realm="say \\"hi\\""').parameters == {"realm": 'say "hi"'}
    assert parse_challenge('Negotiate, Basic realm="r"').scheme == "basic"
    assert parse_challenge("").scheme == ""


def test_token_request() -> None:
    challenge = parse_challenge('Bearer realm="https://a/t",service="r"')
    plain = token_request(challenge, ["repository:a:pull,push"], None)
    assert (plain.url, list(plain.query), plain.authorization) == (
        "https://a/t",
        [("service", "r"), ("scope", "repository:a:pull,push")],
        "",
    )
    assert token_request(challenge, [], Credentials("u", "p")).authorization == "Basic dTpw"
    oauth = token_request(challenge, ["a", "b"], Credentials(identity_token="i"))
    assert oauth.form is not None
    assert (oauth.form["refresh_token"], oauth.form["scope"]) == ("i", "a b")


def log_in(home: Path, host: str, content: dict[str, str]) -> None:
    (home / ".docker").mkdir(parents=True)
    docker_config(home / ".docker", {"auths": {host: content}})


@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "token"])
def test_push_with_credentials(bearer: bool, layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(basic=USER, bearer=bearer)).serve() as registry:
        log_in(tmp_path / "good", registry.host, entry(USER))
        push(make_site(registry.host, layout), make_around(tmp_path / "good")[0])
        assert registry.taken == sum(layout.blobs.values())
        log_in(tmp_path / "bad", registry.host, entry("ann:wrong"))
        for home in (tmp_path / "bad", tmp_path / "nobody"):
            with pytest.raises(RegistryError, match=rf"denies access .*fix: docker login {registry.host}") as caught:
                push(make_site(registry.host, layout), make_around(home)[0])
            assert "s3cret" not in str(caught.value)


def test_anonymous_token(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(bearer=True)).serve() as registry:
        push(make_site(registry.host, layout), make_around(tmp_path)[0])
        assert registry.taken == sum(layout.blobs.values())
        assert len(registry.tokens) == 1


def test_identity_token(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(rules=Rules(bearer=True, basic=USER)).serve() as registry:
        registry.refresh_token = "refresh"
        log_in(tmp_path, registry.host, {"identitytoken": "refresh"})
        push(make_site(registry.host, layout), make_around(tmp_path)[0])
        assert ("POST", "/token") in registry.requests
        assert registry.taken == sum(layout.blobs.values())


def test_token_that_ends_during_the_push(layout: Layout, tmp_path: Path) -> None:
    """The registry forgets all tokens with the first chunk: a new one is fetched and the chunk sent again."""

    class Forgetful(FaultRegistry):
        def fault(self, method: str, path: str) -> Fault | None:
            if method == "PATCH" and len(self.tokens) == 1 and self.methods().count("PATCH") == 1:
                self.tokens = set()
            return super().fault(method, path)

    with Forgetful(rules=Rules(bearer=True)).serve() as registry:
        push(make_site(registry.host, layout, push_parallel="1"), make_around(tmp_path)[0])
        assert registry.taken == sum(layout.blobs.values())
        assert registry.requests.count(("GET", "/token")) == 2


def test_forbidden(layout: Layout, tmp_path: Path) -> None:
    with FaultRegistry(Fault("POST", status=403, code="DENIED")).serve() as registry:
        with pytest.raises(RegistryError, match=r"denies access .*DENIED"):
            push(make_site(registry.host, layout), make_around(tmp_path)[0])


def test_token_server_without_tls(layout: Layout, tmp_path: Path) -> None:
    """Credentials for an HTTPS registry do not go to a token server without TLS."""
    from leviathan.registry.auth import Authorizer  # noqa: PLC0415

    def ask(request: object) -> dict[str, str]:
        raise AssertionError("asked")

    authorizer = Authorizer("reg", Credentials("u", "p"), ask, plain_http=False)
    with pytest.raises(RegistryError, match=r"the token server does not use TLS \(http://a/t\)"):
        authorizer.answer('Bearer realm="http://a/t"', ["s"], None)
    allowed = Authorizer("reg", Credentials("u", "p"), lambda request: {"token": "t"}, plain_http=True)
    assert allowed.answer('Bearer realm="http://a/t"', ["s"], None) == "Bearer t"

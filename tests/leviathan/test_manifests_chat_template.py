"""engine.chat_template: a template of the site's own reaches the engine, from this machine or from the storage."""

import hashlib
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from push_support import Talk

from leviathan.errors import RenderError
from leviathan.manifests.chat_template import MOST_BYTES
from leviathan.manifests.rendering import render
from leviathan.preflight.check_result import CheckResult, Level
from leviathan.preflight.facts import Facts
from leviathan.preflight.template import chat_template
from leviathan.site.load import load
from leviathan.site.schema import Site
from leviathan.terminal.output import Console
from leviathan_engine.launcher.flags import parse

TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}\n"


def site(named: str, *more: str) -> Site:
    return load(settings=[f"image.digest=sha256:{'1' * 64}", f"engine.chat_template={named}", *more]).site


def rendered(named: str, *more: str) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in render(site(named, *more), {}).objects}


def checked(named: str) -> list[CheckResult]:
    def connect() -> Any:
        raise AssertionError("no cluster is asked")

    return list(chat_template(Facts(site(named), {}, Console(Talk()), connect=connect)))


@pytest.mark.parametrize("variant", ["privileged", "unprivileged"])
def test_a_file_of_this_machine_becomes_a_config_map(tmp_path: Path, variant: str) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(TEMPLATE)
    objects = rendered(str(path), f"workload.variant={variant}")
    for kind in ("ConfigMap", "Deployment"):
        kubernetes_validate.validate(objects[kind], "1.34", strict=True)
    assert objects["ConfigMap"]["data"] == {"chat_template.jinja": TEMPLATE}
    assert objects["ConfigMap"]["metadata"]["name"] == "cortex-leviathan-chat-template"
    deployment = objects["Deployment"]
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "chat-template")
    (volume,) = (each for each in pod["spec"]["volumes"] if each["name"] == "chat-template")
    assert volume["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    assert mount["readOnly"]
    assert container["args"][-1] == f"--chat_template={mount['mountPath']}/chat_template.jinja"
    assert "ConfigMap" in deployment["metadata"]["annotations"]["leviathan/more-kinds"].split(",")
    digest = pod["metadata"]["annotations"]["leviathan/chat-template-sha256"]
    assert digest == hashlib.sha256(TEMPLATE.encode()).hexdigest()
    path.write_text(TEMPLATE + "x")
    changed = rendered(str(path), f"workload.variant={variant}")["Deployment"]["spec"]["template"]["metadata"]
    assert changed["annotations"]["leviathan/chat-template-sha256"] != digest, "another text must mean another pod"


def test_the_launcher_takes_the_flag_as_it_is_rendered(tmp_path: Path) -> None:
    path = tmp_path / "mine.jinja"
    path.write_text(TEMPLATE)
    (container,) = rendered(str(path))["Deployment"]["spec"]["template"]["spec"]["containers"]
    flag = container["args"][-1].replace("/etc/leviathan/chat-template/chat_template.jinja", str(path))
    assert parse(["--model_path", str(tmp_path), flag]).chat_template == TEMPLATE


def test_a_path_on_the_storage_is_a_path_in_the_pod() -> None:
    objects = rendered("/models/mine.jinja")
    assert "ConfigMap" not in objects
    pod = objects["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["args"][-1] == "--chat_template=/models/mine.jinja"
    assert "leviathan/chat-template-sha256" not in pod["metadata"].get("annotations", {})


def test_without_the_key_nothing_changes() -> None:
    objects = rendered("")
    assert "ConfigMap" not in objects
    assert "chat-template" not in str(objects)


@pytest.mark.parametrize(
    ("raw", "words"),
    [(None, "No such file"), (b"\xff\xfe", "not UTF-8"), (b" \n", "no bytes"), (b"x" * (MOST_BYTES + 1), "more than")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, raw: bytes | None, words: str) -> None:
    path = tmp_path / "t.jinja"
    if raw is not None:
        path.write_bytes(raw)
    with pytest.raises(RenderError) as caught:
        rendered(str(path))
    assert words in f"{caught.value.what} {caught.value.why}"
    assert f"{path} (engine.chat_template)" in str(caught.value.where)
    (found,) = checked(str(path))
    assert found.level is Level.PROBLEM
    assert words in found.text
    assert found.fix


def test_preflight_says_which_template_it_is(tmp_path: Path) -> None:
    path = tmp_path / "t.jinja"
    path.write_text(TEMPLATE)
    (found,) = checked(str(path))
    assert found.level is Level.OK
    assert hashlib.sha256(TEMPLATE.encode()).hexdigest() in found.text
    assert "unknown, and therefore rendered in a process of its own" in found.text
    (there,) = checked("/models/t.jinja")
    assert "in the pod" in there.text
    assert checked("") == []

"""The templates: broken, missing or against the policy; what of the site they render, and how texts are quoted."""

from pathlib import Path

import pytest
import yaml
from manifests_support import only, other, site

from leviathan.errors import RenderError
from leviathan.manifests.files import FILES, dump, manifest_folder
from leviathan.manifests.rendering import get_field, render, set_field
from leviathan.site.choices import Variant
from leviathan_engine.front.limits import limits
from leviathan_engine.launcher.flags import parse


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not YAML"),
        ("a: 1", "not a Kubernetes object"),
        ("kind: A\nkind: B", "the key kind stands twice, line 1"),
        ("a: &x 1\nb: *x", "aliases are not used"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {}\n", r"lacks a field .*metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", "no values are known for the kind ConfigMap"),
    ],
)
def test_broken_template(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / FILES[Variant.PRIVILEGED]).write_text(text)
    with pytest.raises(RenderError, match=words):
        render(site(), {"LEVIATHAN_MANIFESTS": str(tmp_path)})


def test_missing_templates(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match=r"leviathan-deploy.yaml.*fix: set LEVIATHAN_MANIFESTS"):
        render(site(), {"LEVIATHAN_MANIFESTS": str(tmp_path)})


def test_template_that_breaks_the_policy(tmp_path: Path) -> None:
    text = (manifest_folder({}) / FILES[Variant.PRIVILEGED]).read_text()
    path = tmp_path / FILES[Variant.PRIVILEGED]
    path.write_text(text)
    render(site(), {"LEVIATHAN_MANIFESTS": str(tmp_path)})  # the control
    path.write_text(text.replace("type: Recreate", "type: RollingUpdate"))
    with pytest.raises(RenderError, match=r"recreate: Deployment/cortex-leviathan: two pods"):
        render(site(), {"LEVIATHAN_MANIFESTS": str(tmp_path)})


def test_what_the_site_leaves_to_the_engine_is_not_rendered() -> None:
    """The control is the golden of the other site, which has all three."""
    engine = get_field(only(render(site(), {}), "Deployment"), ("spec", "template", "spec", "containers", "[engine]"))
    assert not [text for text in engine["args"] if text.startswith(("--cache_lens", "--max_new_tokens"))]
    assert "LEVIATHAN_QUEUE" not in {variable["name"] for variable in engine["env"]}


@pytest.mark.parametrize("variant", list(Variant))
def test_the_engine_takes_what_is_rendered(variant: Variant) -> None:
    """Its own parser reads the arguments of both sites, and its front the variables."""
    for chosen in (site(variant), other(variant)):
        done = only(render(chosen, {}), "Deployment")
        engine = get_field(done, ("spec", "template", "spec", "containers", "[engine]"))
        settings = parse(engine["args"])
        assert settings.cache_lens == (chosen.engine.cache_lens or None)
        assert settings.max_new_tokens == (chosen.engine.max_new_tokens or None)
        environ = {variable["name"]: variable.get("value", "") for variable in engine["env"]}
        assert limits(environ).waiting == (chosen.engine.queue or 64)


def test_flag_that_the_template_lacks(tmp_path: Path) -> None:
    text = (manifest_folder({}) / FILES[Variant.PRIVILEGED]).read_text()
    (tmp_path / FILES[Variant.PRIVILEGED]).write_text(text.replace("- --host=0.0.0.0\n", ""))
    with pytest.raises(RenderError, match=r"lacks a field .*args.--host"):
        render(site(), {"LEVIATHAN_MANIFESTS": str(tmp_path)})


def test_fields() -> None:
    each = {"kind": "A", "metadata": {"name": "a"}, "list": [{"name": "x", "v": 1}, {"name": "y"}], "plain": [5]}
    assert get_field(each, ("list", "[x]", "v")) == 1
    assert get_field(each, ("plain", "0")) == 5
    set_field(each, ("list", "[x]", "v"), 2)
    assert get_field(each, ("list", "[x]")) == {"name": "x", "v": 2}
    for path in (("none",), ("list", "[z]"), ("list", "[y]", "v"), ("plain", "1"), ("kind", "deeper")):
        with pytest.raises(RenderError, match=r"A a, "):
            set_field(each, path, 1)


def test_texts_that_look_like_something_else_are_quoted() -> None:
    words = [
        "0,1",
        "96",
        "yes",
        "n",
        "true",
        "null",
        "1e3",
        "0x1",
        "~",
        "",
        " a",
        "a: b",
        "a #b",
        "3700G",
        "12:30",
        "=",
        "nan",
    ]
    text = dump([{"values": words, "plain": ["abc", "a/b:c", "--x=1"]}])
    assert yaml.safe_load(text)["values"] == words
    for word in words:
        assert f'- "{word}"\n' in text
    assert "- abc\n    - a/b:c\n    - --x=1\n" in text or "- abc\n  - a/b:c\n  - --x=1\n" in text

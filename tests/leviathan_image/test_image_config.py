"""The image's config: every field where the specification wants it, every mistake named."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from leviathan_image.config import Config, image_config, read_config
from leviathan_image.errors import ImageError
from leviathan_image.layer import Layer


def _write(tmp_path: Path, document: object) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return path


def test_every_field_lands_where_the_specification_wants_it(tmp_path: Path, layer_of: Callable[..., Layer]) -> None:
    document = {
        "entrypoint": ["/usr/bin/engine", "run"],
        "cmd": ["--help"],
        "env": {"PATH": "/usr/bin:/bin", "A": "1=2"},
        "labels": {"org.opencontainers.image.version": "1"},
        "exposedPorts": ["8000/tcp"],
        "workdir": "/var/lib/engine",
        "volumes": ["/models"],
        "user": "0:0",
        "stopSignal": "SIGTERM",
    }
    layers = [layer_of("debian", {"x": b""}), layer_of("torch", {"y": b""})]
    assert image_config(read_config(_write(tmp_path, document)), layers) == {
        "created": "1970-01-01T00:00:01Z",
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/engine", "run"],
            "Cmd": ["--help"],
            "Env": ["A=1=2", "PATH=/usr/bin:/bin"],
            "Labels": {"org.opencontainers.image.version": "1"},
            "ExposedPorts": {"8000/tcp": {}},
            "Volumes": {"/models": {}},
            "WorkingDir": "/var/lib/engine",
            "User": "0:0",
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [
            {
                "created": "1970-01-01T00:00:01Z",
                "created_by": f"leviathan layer {name}",
                "comment": f"the {name} layer",
            }
            for name in ("debian", "torch")
        ],
    }


def test_empty_fields_are_left_out(tmp_path: Path) -> None:
    assert read_config(_write(tmp_path, {})) == Config()
    assert image_config(Config(), [])["config"] == {}


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"entryPoint": []}, "unknown key entryPoint"),
        ({"entrypoint": "/bin/sh"}, "entrypoint is '/bin/sh'"),
        ({"env": ["A=1"]}, "env is ['A=1']"),
        ({"env": {"A": 1}}, "env is {'A': 1}"),
        ({"env": {"A=B": "1"}}, "env has the name 'A=B'"),
        ({"exposedPorts": ["8000"]}, "exposedPorts has '8000'"),
        ({"exposedPorts": ["0/tcp"]}, "exposedPorts has '0/tcp'"),
        ({"workdir": "var"}, "'var' is not an absolute path"),
        ({"volumes": ["models"]}, "'models' is not an absolute path"),
        ({"user": 0}, "user is 0"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, document: object, named: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_config(_write(tmp_path, document))
    assert named in caught.value.line()

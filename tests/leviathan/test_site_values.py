"""Values of the site: partitions, quantities, conflicts, --set and the environment."""

import pytest
from site_support import problem

from leviathan.site.load import load
from leviathan.site.quantity import parse_quantity


@pytest.mark.parametrize(
    "good",
    [
        "/dev/nvme0n1p1",
        "/dev/nvme10n2p15",
        "/dev/sda1",
        "/dev/vda2",
        "/dev/loop0p1",
        "/dev/disk/by-id/nvme-x-part1",
        "/dev/mapper/vg0-models",
        "/dev/md0",
        "/dev/md/models",
        "/dev/dm-3",
    ],
)
def test_partitions(good: str) -> None:
    assert load(settings=[f"storage.partition={good}"]).site.storage.partition == good


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("engine.gpu_split=1,2,3", "expected one integer per GPU (resources.gpus = 2), got 3 (--set)"),
        ("engine.gpu_split=-1,2", "engine.gpu_split: expected integers of 0 or more, got a negative one"),
        ("engine.cache_lens=63", "expected an integer from 64 to 16777216, or 0"),
        ("resources.cpu_request=97", "resources.cpu_request: 97 is more than resources.cpu_limit = 96 (--set)"),
        ("resources.memory_request=361Gi", "resources.memory_request"),
        ("engine.model_path=/elsewhere/x", "/elsewhere/x is not below storage.mount_point = /models"),
        ("model.size_gb=4000", "4000 GB do not fit into storage.size_gb = 3700"),
    ],
)
def test_conflicts(setting: str, words: str) -> None:
    assert words in problem(settings=[setting])


def test_answers_leave_room_for_a_prompt() -> None:
    assert load(settings=["engine.max_new_tokens=8192"]).site.engine.cache_lens == 0
    words = "engine.max_new_tokens: 8192 leaves no room for a prompt in engine.cache_lens = 8192"
    assert words in problem(settings=["engine.max_new_tokens=8192", "engine.cache_lens=8192"])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (
            "push.paralel=1",
            "push.paralel (--set): no such key, nearest: push.parallel, allowed: push.parallel, push.chunk_mib",
        ),
        (
            "nonsense.key=1",
            "nonsense.key (--set): no such key, expected SECTION.KEY with a section of: registry",
        ),
        (
            "port=1",
            "port (--set): no such key, nearest: engine.port, expected SECTION.KEY with a section of: ",
        ),
        ("engin.node_port=1", "engin.node_port (--set): no such key, nearest: engine.node_port, expected SECTION.KEY"),
        ("push.parallel", "--set push.parallel: expected section.key=value"),
        ("registry.plain_http=yes", "expected true or false, got the string 'yes'"),
    ],
)
def test_wrong_setting(setting: str, words: str) -> None:
    assert words in problem(settings=[setting])


@pytest.mark.parametrize(
    ("setting", "ending"),
    [
        ("cluster.node=gpu 1", "got 'gpu 1'; ' ' is not allowed there"),
        ("cluster.namespace=ai_workloads", "got 'ai_workloads'; '_' is not allowed there"),
        ("cluster.namespace=Ai_workloads", "got 'Ai_workloads'"),
        ("cluster.node=gpu-1-", "got 'gpu-1-'"),
        ("image.tag=.v1.2", "got '.v1.2'"),
    ],
)
def test_the_one_wrong_character_is_named(setting: str, ending: str) -> None:
    """Where there are several, or one that is allowed at another place, none is."""
    said = problem(settings=[setting])
    assert ending in said
    assert ("is not allowed there" in said) == ("is not allowed there" in ending)


def test_value_may_hold_equals_signs_and_commas() -> None:
    site = load(settings=["model.done_marker=a=b, c", "push.mount_from=a/b, c"]).site
    assert site.model.done_marker == "a=b, c"
    assert site.push.mount_from == ("a/b", "c")
    assert load(settings=["push.mount_from="]).site.push.mount_from == ()


def test_environment_slips_are_errors_and_others_are_not_ours() -> None:
    assert "$LEVIATHAN_REGISTRY_HOTS: no such variable, nearest: LEVIATHAN_REGISTRY_HOST" in problem(
        environ={"LEVIATHAN_REGISTRY_HOTS": "x"}
    )
    assert "nearest: LEVIATHAN_REGISTRY_HOST" in problem(environ={"LEVIATHAN_REGISTY_HOST": "x"})
    load(
        environ={"LEVIATHAN_SITE": "x", "LEVIATHAN_REGISTRY_BIN": "x", "LEVIATHAN_ENGINE": "x", "LEVIATHAN_STATE": "x"}
    )


@pytest.mark.parametrize(
    ("text", "value"), [("96", 96), ("500m", 0.5), ("360Gi", 360 * 2**30), ("1.5k", 1500), ("3700G", 3.7e12)]
)
def test_quantity(text: str, value: float) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "Gi", "1GB", "-1", "1e3", " 1", "1 Gi", "0x1"])
def test_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="expected a Kubernetes quantity"):
        parse_quantity(text)

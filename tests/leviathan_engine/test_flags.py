"""The runbook's command line is taken as it stands; every mistake in it is one line and exit code 2."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leviathan_engine.errors import UsageError
from leviathan_engine.launcher.flags import check_split, parse
from leviathan_engine.plan.machine import gpu_split

# The runbook's deployment, word for word.
RUNBOOK = [
    *("--model_path", "/models/models/deepseek-v3-gguf", "--model_name", "deepseek-v3", "--host", "0.0.0.0"),
    *("--port", "30000", "--cpu_offload_max_threads", "96", "--gpu_split", "90000,30000"),
]
GGUF = ["--gguf_path", "/g"]


def test_the_runbooks_flags() -> None:
    settings = parse(RUNBOOK)
    assert settings.gguf_path == Path("/models/models/deepseek-v3-gguf")
    assert settings.config_path is None
    assert (settings.model_name, settings.host, settings.port) == ("deepseek-v3", "0.0.0.0", 30000)
    assert settings.threads == 96
    assert settings.split == (90_000_000_000, 30_000_000_000)
    assert (settings.cache_lens, settings.max_new_tokens) == (None, None)
    assert settings.engine_args == ()


def test_defaults_leave_the_choices_open() -> None:
    settings = parse(GGUF)
    assert (settings.threads, settings.split, settings.optimize_config_path) == (None, None, None)
    assert settings.model_name == "deepseek-v3"
    assert parse([*GGUF, "--cache_lens", "1024"]).max_new_tokens is None


def test_model_path_beside_gguf_path_is_upstreams() -> None:
    settings = parse(["--model_path", "/hf", *GGUF])
    assert (settings.gguf_path, settings.config_path) == (Path("/g"), Path("/hf"))
    assert parse(["--model_path", "/hf", *GGUF, "--config_path", "/c"]).config_path == Path("/c")


def test_the_engines_own_flags_after_the_dashes() -> None:
    """As they are; what upstream does not know, or could be several, is for upstream to refuse."""
    for words in (
        ("--device", "cpu", "--log_level=debug", "--", "x"),
        ("--no_such_flag", "1"),
        ("--cache_", "9"),  # cache_8bit, cache_lens and cache_q4
        ("--log_file", "cache_lens"),
        ("-cache_lens", "9"),
    ):
        assert parse([*GGUF, "--", *words]).engine_args == words


def test_numbers_with_an_equals_sign_and_blanks() -> None:
    settings = parse([*GGUF, "--gpu_split= 90000 , 0 ", "--port=1"])
    assert settings.split == (90_000_000_000, 0)
    assert settings.port == 1


WRONG: list[tuple[list[str], str]] = [
    ([*GGUF, "--cpu_infer", "65"], "unrecognized arguments: --cpu_infer 65"),
    ([*GGUF, "--gpu_spli", "1"], "unrecognized arguments: --gpu_spli"),
    ([*GGUF, "stray"], "unrecognized arguments: stray"),
    ([*GGUF, "--gpu_split", "-90000,30000"], "expected integers of 0 or more, got '-90000'"),
    ([*GGUF, "--gpu_split", "90000,-1"], "expected integers of 0 or more, got '-1'"),
    ([*GGUF, "--gpu_split", "-5"], "expected integers of 0 or more, got '-5'"),
    ([*GGUF, "--gpu_split", "90GB"], "expected integers of 0 or more, got '90GB'"),
    ([*GGUF, "--gpu_split", "90000,"], "expected integers of 0 or more, got ''"),
    ([*GGUF, "--gpu_split", "1.5"], "expected integers of 0 or more, got '1.5'"),
    ([*GGUF, "--gpu_split", "\u0661\u0662"], "expected integers of 0 or more"),
    ([*GGUF, "--gpu_split", "0,0"], "'0,0': expected a number above 0 for at least one GPU"),
    ([*GGUF, "--gpu_split"], "expected one argument"),
    ([*GGUF, "--port", "http"], "expected an integer, got 'http'"),
    ([*GGUF, "--port", "70000"], "expected an integer from 1 to 65535, got 70000"),
    ([*GGUF, "--cpu_offload_max_threads", "0"], "expected an integer from 2 to 1024, got 0"),
    ([*GGUF, "--cpu_offload_max_threads", "-4"], "expected an integer from 2 to 1024, got -4"),
    ([*GGUF, "--cache_lens", "9" * 20], "expected an integer, got '9999"),
    ([*GGUF, "--cache_lens", "1000", "--max_new_tokens", "1000"], "leaves no room for a prompt"),
    ([*GGUF, "--model_name", ""], "expected 1 to 200 printable characters, got ''"),
    ([*GGUF, "--model_name", "a\nb"], "expected 1 to 200 printable characters"),
    ([*GGUF, "--", "--gpu_split", "1"], "--gpu_split is given after --"),
    ([*GGUF, "--", "--cpu_infer=9"], "--cpu_infer is given after --"),
    (
        [*GGUF, "--", "--cache_len", "4096"],
        "--cache_lens is given after -- (as --cache_len); move --cache_lens before --",
    ),
    ([*GGUF, "--", "--gpu=1"], "--gpu_split is given after -- (as --gpu)"),
    ([*GGUF, "--", "--dev", "cpu"], "--dev after -- is an abbreviation of --device; write --device"),
    (
        [*GGUF, "--", "--type", "transformers"],
        "--type has no effect after --: KTransformers' own HTTP server does not run here; remove --type",
    ),
    ([*GGUF, "--", "--top_k=5"], "--top_k has no effect after --"),
    ([*GGUF, "--", "--repet", "1.1"], "--repetition_penalty has no effect after --"),
    ([*GGUF, "--", "--total_context", "4096"], "--total_context has no effect after --"),
    ([*GGUF, "--", "--temperature", "1"], "--temperature has no effect after --; set it in the request"),
    ([*GGUF, "--", "--device", "cpu", "--top_p", "1"], "--top_p has no effect after --"),
    (["--model_path="], "argument --model_path: expected a path, got ''"),
    ([*GGUF, "--config_path", ""], "argument --config_path: expected a path, got ''"),
    ([*GGUF, "--optimize_config_path="], "argument --optimize_config_path: expected a path, got ''"),
    (["--gguf_path="], "argument --gguf_path: expected a path, got ''"),
    (["--gguf_path=a\0b"], "expected a path"),
    (["--port", "1"], "--model_path and --gguf_path are both missing"),
]


@pytest.mark.parametrize(("argv", "text"), WRONG)
def test_a_wrong_command_line_is_one_line(argv: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert text in caught.value.line()
    assert "\n" not in caught.value.line()
    assert caught.value.remedy
    assert caught.value.exit_code == 2
    out = capsys.readouterr()
    assert (out.out, out.err) == ("", "")


def test_more_shares_than_gpus() -> None:
    split = parse([*GGUF, "--gpu_split", "1,2,3"]).split
    assert split == (10**6, 2 * 10**6, 3 * 10**6)
    for gpus, says in ((0, "0 GPUs"), (1, "1 GPU"), (2, "2 GPUs")):
        with pytest.raises(
            UsageError,
            match=f"--gpu_split '1,2,3' has 3 numbers, but this container has {says}; give one number for each GPU",
        ):
            check_split(split, gpus)
    check_split(split, 3)
    check_split(split, 4)


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for variable in (
        "API_KEY",
        "API_KEY_FILE",
        "QUEUE",
        "MAX_BODY",
        "ANY_MODEL",
        "DEVICE",
        "MOUNT_POINT",
        "STATE",
        "MARCH",
    ):
        assert f"\n  LEVIATHAN_{variable} " in text
    assert max(map(len, text.splitlines())) <= 120
    for flag in ("--gpu_split", "--cpu_offload_max_threads", "--cache_lens", "--config_path", "--optimize_config_path"):
        assert flag in text


@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_words_give_settings_or_one_line(words: list[str]) -> None:
    try:
        parse([*GGUF, *(w for w in words if not w.startswith(("-h", "--h")))])
    except UsageError as err:
        assert "\n" not in err.line()  # noqa: PT017


@given(st.text(max_size=20))
def test_any_split_gives_bytes_or_one_line(text: str) -> None:
    try:
        assert all(size % 10**6 == 0 for size in gpu_split(text))
    except UsageError as err:
        assert text.strip() == "" or repr(text) in err.line()  # noqa: PT017


def test_the_fronts_settings_as_flags() -> None:
    """Each sets the variable that the front reads; what is not given leaves the environment as it is."""
    settings = parse([*GGUF, "--cors_origins", "*", "--tls_cert_file=/tls/tls.crt", "--access_log", "json"])
    assert settings.front_environ == {
        "LEVIATHAN_CORS_ORIGINS": "*",
        "LEVIATHAN_TLS_CERT_FILE": "/tls/tls.crt",
        "LEVIATHAN_ACCESS_LOG": "json",
    }
    assert parse(GGUF).front_environ == {}

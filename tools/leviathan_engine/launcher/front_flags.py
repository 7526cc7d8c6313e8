"""The launcher's flags for the front: each sets an environment variable that the front reads.

A flag overrides its variable. There is no flag for an API key, because every process of the machine can read command
lines.
"""

import argparse
from collections.abc import Mapping

FLAGS = {
    "api_key_file": ("LEVIATHAN_API_KEY_FILE", "file with API keys, one per line: KEY, or NAME KEY requests=60"),
    "cors_origins": (
        "LEVIATHAN_CORS_ORIGINS",
        "web origins whose pages may use the API, separated by commas; *: all",
    ),
    "tls_cert_file": ("LEVIATHAN_TLS_CERT_FILE", "PEM file with the certificate and its chain; enables HTTPS"),
    "tls_key_file": ("LEVIATHAN_TLS_KEY_FILE", "PEM file with the private key of the certificate"),
    "access_log": ("LEVIATHAN_ACCESS_LOG", "log one line per request on stderr: text (the default), json, or off"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags to the launcher's parser."""
    group = parser.add_argument_group("access (see also the environment variables below)")
    for name, (variable, text) in FLAGS.items():
        group.add_argument(f"--{name}", metavar="VALUE", help=f"{text} ({variable})")


def environment(args: argparse.Namespace) -> Mapping[str, str]:
    """Returns the variables that the given flags set."""
    given = {variable: getattr(args, name) for name, (variable, _) in FLAGS.items()}
    return {variable: value for variable, value in given.items() if value is not None}

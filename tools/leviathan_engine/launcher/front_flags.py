"""The launcher's flags that are the front's settings: each sets the variable of the environment that the front reads.

A flag goes before its variable. A key itself is not a flag: command lines are seen by every process of the machine.
"""

import argparse
from collections.abc import Mapping

FLAGS = {
    "api_key_file": ("LEVIATHAN_API_KEY_FILE", "file with the API keys, one a line: KEY, or NAME KEY requests=60"),
    "cors_origins": (
        "LEVIATHAN_CORS_ORIGINS",
        "web origins whose pages may use the API, with commas between; * is all",
    ),
    "tls_cert_file": ("LEVIATHAN_TLS_CERT_FILE", "PEM file with the certificate and its chain: HTTPS in place of HTTP"),
    "tls_key_file": ("LEVIATHAN_TLS_KEY_FILE", "PEM file with the certificate's key"),
    "access_log": ("LEVIATHAN_ACCESS_LOG", "a line a request on stderr: text (the default), json, or off"),
}


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the flags to the launcher's."""
    group = parser.add_argument_group("who may ask (see also the environment)")
    for name, (variable, text) in FLAGS.items():
        group.add_argument(f"--{name}", metavar="VALUE", help=f"{text} ({variable})")


def environment(args: argparse.Namespace) -> Mapping[str, str]:
    """The variables that the given flags set."""
    given = {variable: getattr(args, name) for name, (variable, _) in FLAGS.items()}
    return {variable: value for variable, value in given.items() if value is not None}

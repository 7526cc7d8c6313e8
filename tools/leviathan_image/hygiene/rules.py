"""The names of the rules; the exceptions' file is sorted by them."""

from enum import StrEnum


class Rule(StrEnum):
    """What a finding of the hygiene check is about; the values stand in reports and in the exceptions' file."""

    BUILD_PATH = "build-path"
    PYC = "pyc"
    DUPLICATE = "duplicate"
    DEEPGEMM = "deepgemm"
    COMPILER = "compiler"
    DEV_FILE = "dev-file"
    TEST_DATA = "test-data"

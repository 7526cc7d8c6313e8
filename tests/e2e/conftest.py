"""Where LEVIATHAN_E2E=required, a test of the end-to-end test's parts that is skipped has failed."""

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip becomes a failure that names its reason."""
    report = yield
    expected = hasattr(report, "wasxfail")  # it has failed as it said it would
    if report.skipped and not expected and os.environ.get("LEVIATHAN_E2E") == "required":
        report.outcome = "failed"
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        said = str(reason).removeprefix("Skipped: ")
        report.longrepr = f"LEVIATHAN_E2E=required, and {item.nodeid} was skipped: {said}"
    return report

"""The Deployment behind the endpoint: records an image that passed on it, and rolls back one that failed."""

from collections.abc import Mapping

from leviathan.cluster import restore_image
from leviathan.cluster.client import Cluster, ClusterError, connect
from leviathan.cluster.secrets import read_key
from leviathan.errors import LeviathanError
from leviathan.site.choices import ApiKey
from leviathan.site.schema import Site
from leviathan.smoke import passed_image
from leviathan.terminal.output import Console


class TestedDeployment:
    """The site's Deployment, if the cluster can be reached.

    Arguments: `cluster`, an existing connection, if any. Errors of the cluster are reported, but not raised, because
    the result of the smoke test does not depend on them.
    """

    def __init__(
        self, site: Site, environ: Mapping[str, str], console: Console, cluster: Cluster | None = None
    ) -> None:
        self.site, self.environ, self.console, self.cluster = site, environ, console, cluster
        self.trouble = ""

    def look(self) -> passed_image.Deployed | None:
        """The current Deployment; None if it does not exist or cannot be read."""
        if self.trouble:
            return None
        try:
            self.cluster = self.cluster or connect(self.site, self.environ)
            return passed_image.deployed(self.cluster, self.site)
        except ClusterError as error:
            self.trouble = error.line()
            return None

    def connection(self) -> Cluster:
        """The connection; opened if there is none yet. Errors: ClusterError."""
        self.cluster = self.cluster or connect(self.site, self.environ)
        return self.cluster

    def api_key(self) -> str:
        """The key in the site's Secret; empty if the site has none, or if it cannot be read, which is reported."""
        if self.site.access.api_key is not ApiKey.SECRET:
            return ""
        try:
            return read_key(self.site, self.connection())
        except ClusterError as error:
            self.console.say(f"warning: cannot read the API key: {error.line()}")
            return ""

    def passed(self, before: passed_image.Deployed | None, *, dry_run: bool = False) -> tuple[str, str, bool]:
        """Record the image as passed, if the Deployment is still as it was `before` the test. A dry run only reports.

        Returns the image or an empty string, the result in words, and whether the cluster was changed.
        """
        after = self.look()
        why = self.trouble or passed_image.reason_against(before, after)
        if not why and after is not None and self.cluster is not None:
            if after.passed == after.image:
                return after.image, f"already recorded as passed: {after.image}", False
            if dry_run:
                return after.image, f"dry run: would be recorded as passed: {after.image}", False
            try:
                passed_image.note(self.cluster, self.site, after.image)
                return after.image, f"recorded as passed: {after.image}", True
            except ClusterError as error:
                why = error.line()
        if dry_run:
            return "", f"dry run: would not be recorded as passed: {why}", False
        self.console.say(f"warning: not recorded as passed, so rollbacks will not choose this image: {why}")
        return "", f"not recorded as passed: {why}", False

    def failed(self, before: passed_image.Deployed | None, *, judged: bool) -> str:
        """Roll back to the last image that passed, if the test was about the Deployment's image; the result in words.

        Arguments: `before`, the Deployment before the test; `judged`, whether any failed check was about the image.
        """
        after = self.look()
        why = self.trouble
        if not why and (before is None or after is None):
            why = "there is no Deployment"
        elif not why and before is not None and not before.settled:
            why = "the Deployment was still rolling out when the test began (leviathan rollout)"
        elif not why and before is not None and after is not None:
            if (before.image, before.generation) != (after.image, after.generation):
                why = "the Deployment was changed during the test"
            elif not judged and after.settled:
                why = "the pod is ready, and the failure is not about its image"
        if why or self.cluster is None:
            return f"not rolled back: {why}"
        return bring_back(self.site, self.cluster, self.console)


def bring_back(site: Site, cluster: Cluster, console: Console) -> str:
    """Roll back to the last image that passed, and wait until it is ready; the result in words."""
    from leviathan.rollout.wait import run as wait  # noqa: PLC0415 - only when something has failed

    try:
        live = passed_image.deployed(cluster, site)
        if live is None or not live.passed:
            return "not rolled back: no image has passed the smoke test yet"
        if live.passed == live.image:
            return "not rolled back: this image is the last one that passed"
        done = restore_image.run(site, cluster, console)
        console.say(f"rolled back to {done.after}; waiting until it is ready")
        wait(site, cluster, console)
    except LeviathanError as error:
        changed = record_image(cluster, site)
        return f"the rollback {f'to {changed} ' if changed else ''}failed: {error.line()}"
    digest = done.after.rpartition("@")[2]
    return f"rolled back to {done.after}, which is ready; to keep it at the next apply: --set image.digest={digest}"


def record_image(cluster: Cluster, site: Site) -> str:
    """The Deployment's current image, if it has passed; else an empty string."""
    try:
        live = passed_image.deployed(cluster, site)
    except ClusterError:
        return ""
    return live.image if live is not None and live.image == live.passed else ""

"""What is wrong with the model, as the phase `model` ends with it."""

from leviathan.errors import ExitCode, LeviathanError


class ModelError(LeviathanError):
    """The download failed, hangs or cannot be seen, or the files are not those of the manifest."""

    exit_code = ExitCode.MODEL

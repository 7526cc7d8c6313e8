"""The one error of the harness's control plane."""


class ControlPlaneError(Exception):
    """What failed, where and why in one line; `remedy` is what to do about it.

    Arguments: `message`, one sentence without a full stop; `remedy`, a command or an action, may be empty.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message}; {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy

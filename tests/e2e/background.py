"""Work that is done again and again in a thread of its own as long as a block runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(turn: Callable[[], None], pause: float) -> Iterator[None]:
    """Calls `turn` at once and then `pause` seconds after each end of it; the block's end waits for the last one.

    Errors: that of `turn`, which ends the turns, when the block itself has none; TimeoutError when a turn has not
    ended 30 s after the block.
    """
    over = threading.Event()
    failed: list[Exception] = []

    def work() -> None:
        try:
            turn()
            while not over.wait(pause):
                turn()
        except Exception as err:  # raised below, where the block ends
            failed.append(err)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)
    if thread.is_alive():
        raise TimeoutError("a turn has not ended 30 s after the block")
    if failed:
        raise failed[0]

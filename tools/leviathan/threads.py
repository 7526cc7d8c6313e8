"""Questions asked side by side, of which none keeps the program from ending."""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def together(work: Callable[[T], U], items: Sequence[T], *, at_once: int) -> list[U]:
    """`work` of each item, in their order, done by at most `at_once` threads.

    The threads are daemons, unlike those of a ThreadPoolExecutor: Ctrl-C ends the program while a request of theirs is
    still under way. So `work` must be something that may be left off, as reading is.
    Errors: the first one that `work` raises, in the order of the items.
    """
    todo: queue.SimpleQueue[tuple[Future[U], T]] = queue.SimpleQueue()
    futures: list[Future[U]] = []
    for item in items:
        futures.append(Future())
        todo.put((futures[-1], item))

    def serve() -> None:
        while True:
            try:
                future, item = todo.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(work(item))
            except Exception as error:
                future.set_exception(error)

    for number in range(min(at_once, len(items))):
        threading.Thread(target=serve, name=f"together-{number}", daemon=True).start()
    return [future.result() for future in futures]

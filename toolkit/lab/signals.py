"""Being interrupted without leaving anything behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from toolkit.errors import StoppedByUser

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptible:
    """Turns the first SIGINT, SIGTERM or SIGHUP into an exception, and never inside ``shield``.

    Further signals are ignored until the end of the ``with``: what cleans up is bounded in time,
    and a second Ctrl-C in the middle of it would leave a server behind. Outside the main thread
    Python delivers no signal, and this does nothing.
    """

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._shields = 0
        self._pending: signal.Signals | None = None
        self._raised = False

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # nohup and a shell's "&" ignore signals on purpose.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold signals back while a process is started and noted down; raise them afterwards."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self._raise_pending()

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._pending = self._pending or signal.Signals(number)
        self._raise_pending()

    def _raise_pending(self) -> None:
        if self._pending is None or self._raised or self._shields:
            return
        self._raised = True
        if self._pending is signal.SIGINT:
            raise KeyboardInterrupt
        raise StoppedByUser(f"stopped by {self._pending.name}")

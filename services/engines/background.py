"""A call that may hang, on a thread of its own, so that whoever waits for it can also be stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable

from services.errors import PortalError


class BackgroundCall:
    """Begins at once. result: what the call returned, None before; failure: the PortalError that it raised.

    Another exception is a bug: it goes to the log, and the call counts as failed (result False).
    """

    def __init__(self, call: Callable[[], object], on_done: Callable[[], None]) -> None:
        self.result: object = None
        self.failure: PortalError | None = None
        self.done = False
        self._call = call
        self._on_done = on_done
        threading.Thread(target=self._run, name="engine-call", daemon=True).start()

    def _run(self) -> None:
        result: object = False
        try:
            result = self._call()
        except PortalError as error:
            self.failure = error
        finally:
            self.result, self.done = result, True
            self._on_done()

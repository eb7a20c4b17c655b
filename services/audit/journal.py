"""The one writer of the audit: a connection of its own, a queue before it, and one thread at a time that empties it.

Whoever finds nobody writing writes for all that wait, in one transaction, and hands the turn to the next: with
synchronous=FULL a commit waits for the disk, and eight writers share that wait instead of queueing for it.

The end of an act may come from a destructor, in the middle of anything and on any thread, also the one that is just
writing. Then nothing is waited for: the work is in the queue, and whoever has the turn does it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from db.database import Database
from services.audit.chain import Chain
from services.audit.ledger import Ledger
from services.errors import AuditUnavailable, PortalError
from services.translation import N_

BUSY_TIMEOUT_S = 5.0  # how long another program may hold the file before acts are refused
GROUP = 64  # works in one transaction

log = logging.getLogger(__name__)
Work = Callable[[Ledger], object]


@dataclass(eq=False)
class _Ticket:
    """keep: if it cannot be written now it is written before the next one that can be.

    gate: locked until the work is done, or until it is this one's turn to write. awaited: somebody stands at it.
    """

    work: Work
    keep: bool
    awaited: bool = False
    gate: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    result: object = None
    error: PortalError | None = None

    def __post_init__(self) -> None:
        self.gate.acquire()

    def settle(self, result: object = None, error: PortalError | None = None) -> None:
        """The first time counts: one that is owed has had its answer."""
        if not self.done:
            self.result, self.error, self.done = result, error, True
            self.gate.release()


class Journal:
    """Writes what it is given, in the order given, each work whole or not at all. Thread-safe.

    chain: called when the file is opened. after_sealing: done in a transaction of its own when a day was sealed.
    """

    def __init__(
        self,
        database: Database,
        chain: Callable[[], Chain],
        *,
        after_sealing: Work | None = None,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self._database = database
        self._make_chain = chain
        self._after_sealing = after_sealing
        self._busy_timeout_s = busy_timeout_s
        self._queue: deque[_Ticket] = deque()  # its append is atomic
        self._turn = threading.Lock()  # to write; passed on without being let go
        self._here = threading.local()  # writing: this thread is in the middle of `write`
        self._owed: list[_Ticket] = []
        self._connection: sqlite3.Connection | None = None
        self._chain = Chain()
        self._file: tuple[int, int] | None = None
        self._closed = False

    def write(self, work: Work, *, keep: bool = False) -> object:
        """Do the work in a transaction and give its result when that is on the disk. Raises AuditUnavailable."""
        if getattr(self._here, "writing", False):  # a destructor within this very method
            return self.post(work, keep=keep)
        if self._closed:
            raise _closed()
        ticket = _Ticket(work, keep, awaited=True)
        self._here.writing = True
        try:
            self._queue.append(ticket)
            if not self._turn.acquire(blocking=False):
                self._wait(ticket)
            if not ticket.done:
                self._take_turn()
        finally:
            self._here.writing = False
            self._take_free_turn()  # what a destructor has left meanwhile
        if ticket.error:
            raise ticket.error
        return ticket.result

    def post(self, work: Work, *, keep: bool = True) -> None:
        """Give in a work without waiting for it, unless nobody else is there to do it."""
        if self._closed:
            raise _closed()
        self._queue.append(_Ticket(work, keep))
        if not getattr(self._here, "writing", False):
            self._take_free_turn()

    def close(self) -> None:
        """Write what is still waiting and let go of the file. May be called twice."""
        self._closed = True
        with self._turn:
            self._commit([])
            while self._queue:
                self._write_group()
            if self._owed:
                log.error("%d events could not be written to the audit", len(self._owed))
            self._let_go()

    def _wait(self, ticket: _Ticket) -> None:
        """Until it is done or has the turn. If Ctrl-C comes first, nobody may pass the turn to it any more."""
        try:
            ticket.gate.acquire()
        except BaseException:
            ticket.awaited = False
            if ticket.gate.acquire(blocking=False) and not ticket.done:
                self._take_turn()
            raise

    def _take_free_turn(self) -> None:
        while self._queue and self._turn.acquire(blocking=False):
            self._here.writing = True
            try:
                self._take_turn()
            finally:
                self._here.writing = False

    def _take_turn(self) -> None:
        """Write what waits, with the turn in hand; then pass it to the first who has come meanwhile and waits."""
        try:
            self._write_group()
            while self._queue and not self._queue[0].awaited:
                self._write_group()
        finally:
            if self._queue and self._queue[0].awaited:
                self._queue[0].gate.release()
            else:
                self._turn.release()

    def _write_group(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP))]
        try:
            self._commit(group)
        finally:
            for ticket in group:  # only after an interrupt: nobody may wait for ever
                ticket.settle(error=_closed())

    def _commit(self, group: list[_Ticket]) -> None:
        """Write the owed ones and the group; one work that fails by itself does not take the others with it."""
        try:
            owed = list(self._owed)
            if owed:
                self._transact(owed)
                del self._owed[: len(owed)]
            sealed = self._transact(group)
        except (sqlite3.OperationalError, PortalError) as error:
            self._refuse(group, error)
        except Exception as error:
            if len(group) > 1:
                for ticket in group:
                    self._commit([ticket])
            else:
                log.exception("an event could not be written to the audit")
                self._refuse(group, error)
        else:
            if sealed and self._after_sealing:
                self._commit([_Ticket(self._after_sealing, keep=False)])

    def _transact(self, tickets: list[_Ticket]) -> bool:
        """All works in one transaction; then their results are given out. Whether a day was sealed."""
        if not tickets:
            return False
        connection = self._opened()
        connection.execute("BEGIN IMMEDIATE")
        try:
            ledger = Ledger(connection, self._chain)
            results = [ticket.work(ledger) for ticket in tickets]
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            raise
        for ticket, result in zip(tickets, results, strict=True):
            ticket.settle(result)
        return ledger.sealed

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """By closing the connection when nothing else helps."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._let_go()

    def _refuse(self, group: list[_Ticket], error: Exception) -> None:
        for ticket in group:
            if ticket.keep and isinstance(error, sqlite3.OperationalError | PortalError):
                self._owed.append(ticket)
            ticket.settle(error=error if isinstance(error, PortalError) else unavailable(error))

    def _opened(self) -> sqlite3.Connection:
        """The connection, to the file that is there now: a file moved away would take the events with it unseen."""
        path = self._database.file
        try:
            found = os.stat(path)
        except OSError as error:
            self._let_go()
            raise unavailable(error) from error
        if self._connection is None or self._file != (found.st_dev, found.st_ino):
            self._let_go()
            connection = self._database.connect(busy_timeout_s=self._busy_timeout_s)
            try:
                self._chain = self._make_chain()
                connection.execute("BEGIN IMMEDIATE")
                self._chain.claim(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._connection, self._file = connection, (found.st_dev, found.st_ino)
        return self._connection

    def _let_go(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def unavailable(error: Exception) -> AuditUnavailable:
    """What a person is told; the hint is made of what SQLite says."""
    name = getattr(error, "sqlite_errorname", "")
    message = N_("The audit cannot be written, so this is not done.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return AuditUnavailable(message, hint=N_("Another program holds the audit file. Try again in a moment."))
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        return AuditUnavailable(message, hint=N_("The disk of the audit file is full or failing. Tell the operator."))
    return AuditUnavailable(
        message, hint=N_("Tell the operator: the audit file cannot be used ({reason})."), reason=str(error)
    )


def _closed() -> AuditUnavailable:
    return AuditUnavailable(
        N_("The audit cannot be written, so this is not done."), hint=N_("The portal is shutting down.")
    )

"""
A session of Tryton's JSON-RPC, which is what its own clients speak: it takes one step with several records at once.

The REST API creates several records in one request, but its steps (`quote`, `confirm`) take one record each. JSON-RPC
knows no key of an application: it wants a user's password, and gives a session that ends when it is idle.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Sequence

from flashd.backends.exchange import Answer, EndedError, Link, by_status, plain, unread
from flashd.domain.delivery import Away, Doubtful, Later

_REFUSALS = {"UserError", "UserWarning"}
# Where a queue worker goes on behind a step, it takes each sale as a task of its own, not twenty: one that fails is
# rolled back whole, and nobody hears of it.
_CONTEXT = {"queue_batch": 1}


class Session:
    """
    Logs in when it is needed, and again when the session has ended.

    Args:
        link: The connections.
        database_url: The address of the database, which `/rpc/` follows.
        user: A login name of Tryton.
        password: Theirs.
    """

    def __init__(self, link: Link, database_url: str, user: str, password: str) -> None:
        self._link = link
        self._url = f"{database_url}/rpc/"
        self._user, self._password = user, password
        self._header = ""
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        """
        Log in, unless a session is there already.

        Raises:
            EndedError: It did not answer, or refused the login.
        """
        async with self._opening:
            if not self._header:
                self._header = await self._log_in()

    async def step(self, name: str, sale_ids: Sequence[int]) -> bool:
        """
        Take step *name* with all of these sales, in one transaction.

        Returns:
            False where it was refused and, since a transaction was rolled back, taken with none of them.

        Raises:
            EndedError: It is not known what became of it.
        """
        answer = await self._step(name, sale_ids)
        if isinstance(answer, Answer) and answer.status == 401:  # said before anything is done: it was idle too long
            answer = await self._step(name, sale_ids)
        return _decode(answer)

    async def _step(self, name: str, sale_ids: Sequence[int]) -> Answer | Later | Doubtful:
        await self.open()
        header = self._header
        answer = await self._post(f"model.sale.sale.{name}", [list(sale_ids), _CONTEXT], f"Session {header}")
        if isinstance(answer, Answer) and answer.status == 401 and self._header == header:
            self._header = ""
        return answer

    async def _log_in(self) -> str:
        # A header that says nothing: the key of the REST API is none here.
        answer = await self._post("common.db.login", [self._user, {"password": self._password}, "en"], "None")
        if not isinstance(answer, Answer):
            raise EndedError(answer)
        trouble, body = by_status(answer), answer.json
        if answer.status == 401:
            trouble = Away(reason=plain(f"HTTP 401: Tryton refused the login of {self._user}: mend user or password"))
        if trouble is not None:
            raise EndedError(trouble)
        if isinstance(body, dict) and "error" in body:
            raise EndedError(Away(reason=plain(f"Tryton wants more of {self._user} than a password")))
        match body:
            case {"result": [int(number), str(token), *_]}:
                return b64encode(f"{self._user}:{number}:{token}".encode()).decode()
        raise EndedError(unread(answer))

    async def _post(self, method: str, params: Sequence[object], login: str) -> Answer | Later | Doubtful:
        # Tryton calls a long answer compressed whether or not it may be, so it had better be allowed.
        headers = {"Authorization": login, "Accept-Encoding": "gzip"}
        return await self._link.post(self._url, {"id": 1, "method": method, "params": params}, headers=headers)


def _decode(answer: Answer | Later | Doubtful) -> bool:
    if not isinstance(answer, Answer):
        raise EndedError(answer)
    trouble, body = by_status(answer), answer.json
    if trouble is None and answer.status == 200:
        match body:
            case {"error": [str(kind), *_]} if kind in _REFUSALS:
                return False
            case {"result": _}:
                return True
    raise EndedError(trouble or unread(answer))

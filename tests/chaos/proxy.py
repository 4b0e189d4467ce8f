"""A PostgreSQL proxy that loses answers: it stands between the library and a real server and breaks what it is told to.

It reads enough of the wire protocol to know where a message ends, which statement has been completed, and whether the
server was in a transaction when it said so. Everything else passes as it came.

Always true: an answer is lost only after the server has said that it is ready again, so what was to be committed is
committed; the same seed breaks the same messages of one conversation; whatever was done is counted.

Not here: which scenario wants which weather; packets (a link that drops them is the business of network namespaces).
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

Direction = Literal["to_server", "to_client"]

CHUNK = 256 * 1024  # bytes of one read: a claim of 1,000 turns comes in one or two
SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102  # codes of the protocol
COMPLETE, READY, IDLE = ord("C"), ord("Z"), ord("I")  # message types from the server, and a state
WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT")
START_S = 10.0  # until the thread listens: a busy machine
LOST_HANG = 0.2  # of the lost answers never come, where the weather says that they may
NEVER_S = 3600.0  # a connection that hangs is cut by somebody else long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What goes wrong, as probabilities: `lose` for each completed statement by its tag, the others for each read.

    A lost answer ends its connection; with `lost_may_hang` some just never come.
    """

    lose: Mapping[str, float] = field(default_factory=dict)
    lost_may_hang: bool = False
    delay: float = 0.0
    delay_s: tuple[float, float] = (0.01, 0.2)
    halve: float = 0.0
    hang: float = 0.0
    half_close: float = 0.0

    @classmethod
    def losing(cls, probability: float) -> "Weather":
        """Every kind of write loses its answer with this probability."""
        return cls(lose=dict.fromkeys(WRITES, probability))


FAIR = Weather()


class _Frames:
    """Cuts a stream into whole messages; the rest waits for more."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def whole(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        rest = self._rest
        rest += data
        found, at = [], 0
        while len(rest) - at >= 5:
            end = at + 1 + int.from_bytes(rest[at + 1 : at + 5])
            if end > len(rest):
                break
            found.append(bytes(rest[at:end]))
            at = end
        del rest[:at]
        return found


class _Pair:
    """One client and its connection to the server."""

    def __init__(self, proxy: "Proxy", client: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> None:
        self._proxy = proxy
        self.client, self.to_client = client
        self.to_server: asyncio.StreamWriter | None = None
        self._lost = ""  # the statement whose answer is being lost
        self._broken = False  # by the weather

    async def serve(self) -> None:
        """Until one side ends or the weather cuts it."""
        try:
            first = await self._first()
            server, self.to_server = await asyncio.open_connection("127.0.0.1", self._proxy.target, limit=CHUNK)
            self.to_server.write(first)
            await self._both_ways(server, self.to_server)
        except (OSError, asyncio.IncompleteReadError):
            self._proxy.done["ended early"] += 1  # the server is away, or the client went without a farewell
        finally:
            self.cut(rudely=self._broken and self._proxy.dice.random() < 0.5)

    async def _both_ways(self, server: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        ways = [self._carry(server, self.to_client, "to_client"), self._carry(self.client, to_server, "to_server")]
        tasks = [asyncio.create_task(way) for way in ways]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()

    async def _first(self) -> bytes:
        """The client's opening; encryption is declined, so that what follows can be read."""
        while True:
            head = await self.client.readexactly(8)
            length, code = struct.unpack("!ii", head)
            if code not in (SSL_REQUEST, GSS_REQUEST):
                return head + await self.client.readexactly(length - 8)
            self.to_client.write(b"N")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Direction) -> None:
        frames, proxy = _Frames(), self._proxy
        while data := await reader.read(CHUNK):
            await proxy.open[way].wait()
            weather = proxy.weather
            messages = frames.whole(data)
            if way == "to_client" and self._loses(messages, weather):
                self._broken = True
                if weather.lost_may_hang and proxy.dice.random() < LOST_HANG:
                    proxy.done["lost and hung"] += 1
                    await asyncio.sleep(NEVER_S)
                return
            if messages and not await self._weathered(b"".join(messages), writer, weather):
                return

    def _loses(self, messages: list[bytes], weather: Weather) -> bool:
        """Take out of the server's messages what the client must not see; whether an answer has just been lost."""
        given, messages[:] = messages[:], []
        for message in given:
            kind = message[0]
            if kind == COMPLETE and not self._lost:
                self._proxy.done["completed"] += 1
                tag = message[5:].split(b" ", 1)[0].rstrip(b"\0").decode()
                chance = weather.lose.get(tag, 0.0)
                if chance and self._proxy.dice.random() < chance:
                    self._lost = tag
            if not self._lost:
                messages.append(message)
            elif kind == READY:
                self._proxy.done[f"lost {self._lost}"] += 1
                self._proxy.done["lost committed" if message[5] == IDLE else "lost undone"] += 1
                return True
        return False

    async def _weathered(self, data: bytes, writer: asyncio.StreamWriter, weather: Weather) -> bool:
        """Write, or do to it what the weather says; whether the conversation goes on."""
        proxy, dice = self._proxy, self._proxy.dice
        if weather.delay and dice.random() < weather.delay:
            proxy.done["delayed"] += 1
            await asyncio.sleep(dice.uniform(*weather.delay_s))
        if weather.hang and dice.random() < weather.hang:
            proxy.done["hung"] += 1
            await asyncio.sleep(NEVER_S)
        if weather.halve and len(data) > 1 and dice.random() < weather.halve:
            proxy.done["halved"] += 1
            self._broken = True
            writer.write(data[: len(data) // 2])
            with contextlib.suppress(OSError):
                await writer.drain()
            return False
        writer.write(data)
        await writer.drain()
        if weather.half_close and dice.random() < weather.half_close:
            proxy.done["half closed"] += 1
            writer.write_eof()
            await asyncio.sleep(NEVER_S)
        return True

    def cut(self, *, rudely: bool) -> None:
        """End both sides: with a reset, or in order."""
        for writer in (self.to_client, self.to_server):
            if writer is None or writer.transport.is_closing():
                continue
            if rudely:
                reset = struct.pack("ii", 1, 0)  # linger for no time: what is closed is reset
                with contextlib.suppress(OSError):
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            writer.close()


class Proxy:
    """A listener on a port of its own before a PostgreSQL on loopback, run by a thread; use it in a `with`.

    Every method may be called from any thread and has taken effect when it returns.
    """

    def __init__(self, target: int, *, seed: int = 0) -> None:
        self.target = target
        self.port = 0
        self.weather = FAIR
        self.dice = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.open: dict[Direction, asyncio.Event] = {}
        self._refusing = False
        self._pairs: dict[asyncio.Task[None], _Pair] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._listening = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._listening.wait(START_S):
            message = f"the proxy does not listen after {START_S} s: is a loopback port free?"
            raise RuntimeError(message)
        return self

    def __exit__(self, *_: object) -> None:
        self._in_loop(self._end)
        self._thread.join(START_S)

    def url(self, database: str = "postgres") -> str:
        """The address of one database behind the proxy."""
        return f"postgresql://postgres:postgres@127.0.0.1:{self.port}/{database}"

    # -- weather -----------------------------------------------------------------------------------

    def change(self, weather: Weather) -> None:
        """From now on this goes wrong; what hangs already goes on hanging until `sever`."""
        self.weather = weather

    def freeze(self, *ways: Direction) -> None:
        """Bytes stop arriving these ways (both, when none is named); nobody is told."""

        def shut() -> None:
            for way in ways or tuple(self.open):
                self.open[way].clear()

        self._in_loop(shut)

    def thaw(self) -> None:
        """What was on its way arrives."""

        def unshut() -> None:
            for gate in self.open.values():
                gate.set()

        self._in_loop(unshut)

    def refuse(self, refusing: bool = True) -> None:
        """New connections are closed at once."""
        self._refusing = refusing

    def sever(self) -> int:
        """Cut every connection there is; how many."""

        def cut() -> int:
            pairs = list(self._pairs.items())
            for task, pair in pairs:
                pair.cut(rudely=True)
                task.cancel()
            self.done["severed"] += len(pairs)
            return len(pairs)

        return self._in_loop(cut)

    def half_close(self) -> int:
        """Tell every client that no more will come, while it may go on sending; how many."""

        def shut() -> int:
            open_ones = [pair for pair in self._pairs.values() if not pair.to_client.transport.is_closing()]
            for pair in open_ones:
                pair.to_client.write_eof()
            self.done["half closed"] += len(open_ones)
            return len(open_ones)

        return self._in_loop(shut)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _listen(self) -> None:
        self.open = {"to_server": asyncio.Event(), "to_client": asyncio.Event()}
        for gate in self.open.values():
            gate.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        self._listening.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            self.done["refused"] += 1
            writer.close()
            return
        self.done["connections"] += 1
        pair = _Pair(self, (reader, writer))
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = pair
        try:
            await pair.serve()
        except asyncio.CancelledError:
            pass  # severed: whoever did it has counted it
        finally:
            del self._pairs[task]

    def _end(self) -> None:
        self._server.close()
        for task, pair in self._pairs.items():
            pair.cut(rudely=False)
            task.cancel()
        self._loop.call_later(0.05, self._loop.stop)

    def _in_loop(self, act: Callable[[], object]) -> int:
        """Run in the thread, and return when it is done; a number where there is one."""
        answer: list[object] = []
        over = threading.Event()

        def run() -> None:
            try:
                answer.append(act())
            finally:
                over.set()

        self._loop.call_soon_threadsafe(run)
        over.wait(START_S)
        return answer[0] if answer and isinstance(answer[0], int) else 0

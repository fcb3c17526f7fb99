"""A proxy, as a process of its own, that stalls when it is told to: `python -m tests.proxy 127.0.0.1:6379`.

It writes its port, reads modes line by line, and writes each one when it is in force. An empty line means: work.
"""

import asyncio
import contextlib
import socket
import sys

BLACK_HOLE, SLOW_DRIP = "black hole", "slow drip"
DRIP_SECONDS = 0.7  # between two bytes: shorter than the time-out of any single read


class _Forwarder:
    def __init__(self, target: str) -> None:
        self._target = target
        self._mode = ""
        self._changed = asyncio.Event()  # set, and replaced, at every change of the mode
        self._fillers: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)

    async def run(self) -> None:
        print(self._listener.getsockname()[1], flush=True)
        commands = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
        accepting = self._begin(self._accept())
        while line := (await commands.readline()).decode():
            accepting.cancel()
            self._set_mode(line.strip())
            if self._mode != BLACK_HOLE:
                accepting = self._begin(self._accept())
            print(f"mode {self._mode}".strip(), flush=True)

    def _set_mode(self, mode: str) -> None:
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._listener.listen(0 if mode == BLACK_HOLE else 128)
        if mode == BLACK_HOLE:
            # Connections that nobody accepts fill the queue; the kernel then drops whatever asks for another one.
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(self._listener.getsockname())
                self._fillers.append(filler)

    async def _accept(self) -> None:
        while True:
            client, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            self._begin(self._serve(client))

    async def _serve(self, client: socket.socket) -> None:
        from_client, to_client = await asyncio.open_connection(sock=client)
        try:
            host, _, port = self._target.rpartition(":")
            if self._target.startswith("/"):
                from_server, to_server = await asyncio.open_unix_connection(self._target)
            else:
                from_server, to_server = await asyncio.open_connection(host, int(port))
        except OSError:
            to_client.close()
            return
        directions = (
            asyncio.ensure_future(self._hand_on(from_client, to_server, drips=False)),
            asyncio.ensure_future(self._hand_on(from_server, to_client, drips=True)),
        )
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for task in directions:
            task.cancel()
        for writer in (to_client, to_server):
            writer.close()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, drips: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                while data:
                    if self._mode == BLACK_HOLE:
                        await self._changed.wait()
                        continue
                    length = 1 if drips and self._mode == SLOW_DRIP else len(data)
                    writer.write(data[:length])
                    await writer.drain()
                    data = data[length:]
                    if length == 1 and self._mode == SLOW_DRIP:
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(self._changed.wait(), DRIP_SECONDS)

    def _begin(self, work: object) -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def _main(target: str) -> None:
    await _Forwarder(target).run()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))

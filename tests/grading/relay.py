"""A network between a grader and its scheduler that can be cut."""

import contextlib
import socket
import threading


class Relay:
    """Hands on what comes to `address` to the scheduler at `target`, until it is cut."""

    def __init__(self, target: str):
        host, port = target.removeprefix("tcp://").rsplit(":", 1)
        self._target, self._open, self._lock = (host, int(port)), set(), threading.Lock()
        self._listen(0)
        self.address = f"tcp://127.0.0.1:{self._port}"

    def _listen(self, port: int) -> None:
        self._door = socket.create_server(("127.0.0.1", port))
        self._port = self._door.getsockname()[1]
        threading.Thread(target=self._take_in, args=(self._door,), daemon=True).start()

    def _take_in(self, door: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.create_connection(self._target)
                with self._lock:
                    self._open |= {near, far}
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._hand_on, args=pair, daemon=True).start()

    def _hand_on(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                to.sendall(data)
        self._hang_up(source, to)

    def _hang_up(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            with self._lock:
                self._open.discard(end)

    def cut(self) -> None:
        """Nothing goes through, and nobody gets in."""
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._hang_up(*list(self._open))

    def mend(self) -> None:
        """The same address answers again."""
        self._listen(self._port)

"""Child processes that end with the command that started them, however it ends.

A child reads its task from a pipe that only this process holds open. When the pipe closes, because the work is to be
stopped or because this process is gone (interrupted, terminated, killed), the child kills what it has started, kernels
among it, and exits. It never writes a result: it sends it, and this process stores it. One child's death is its own.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

# Chapters run side by side: a thread pool in each would make both many times slower. Hashes are fixed so that the
# order of a set, and with it a stored output, is the same in each run; so is the encoding, whatever the terminal's.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8",
    "DESCENTLAB_QUIET": "1",  # a progress bar in a cell would be stored with its output
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}
_OF_HOME = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
_PATIENCE = 3.0  # seconds until a child that does not stop is killed
_START = "from descentlab.chapters.processes import child; child()"


@dataclass(frozen=True)
class Task:
    """What a child does: the function ``"module:name"``, called with a report function and `arguments`.

    `slots` of those that run side by side are taken; `seconds` is how long it took before, if that is known.
    """

    name: str
    function: str
    arguments: Mapping[str, Any]
    slots: int = 1
    seconds: float | None = None


@dataclass
class Child:
    """A task that runs; `result` is what the function returned, None if the process died."""

    task: Task
    process: subprocess.Popen
    log: Any = None
    start: float = field(default_factory=time.perf_counter)
    done: int = 0
    total: int = 0
    started: Sequence[tuple[int, float]] = ()  # by the child: numbers of processes, and when they were created
    result: Any = None

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.start

    def left(self) -> float | None:
        """Estimated seconds until the end: from the last time, else from the share of what is done."""
        if self.task.seconds and (left := self.task.seconds - self.elapsed) > 0:
            return left
        return self.elapsed * (self.total - self.done) / self.done if self.done else None

    def death(self) -> str:
        """How a process without a result ended, and the last lines that it wrote."""
        code = self.process.wait()
        written = self.written().strip()[-2000:]
        return f"died ({f'signal {-code}' if code < 0 else f'exit code {code}'})" + f"\n\n{written}" * bool(written)

    def written(self) -> str:
        """What the process wrote to its output."""
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")


def start(task: Task, root: Path, log: Any = None) -> Child:
    """Start a child in the folder `root`; it writes to the file `log`, or to our own output."""
    process = subprocess.Popen(
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if log else None,
        stderr=log,
        env=os.environ | ENVIRONMENT | _folders(root),
        start_new_session=True,  # Ctrl-C reaches us alone
    )
    request = {"function": task.function, "arguments": dict(task.arguments), "cwd": str(root), "reports": bool(log)}
    with suppress(BrokenPipeError):  # its death is reported as any other
        assert process.stdin is not None
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
    return Child(task, process, log)


def _folders(root: Path) -> dict[str, str]:
    """Where programs keep their settings, if the home folder cannot be written (or there is none)."""
    home = os.path.expanduser("~")
    if os.path.isdir(home) and os.access(home, os.W_OK):
        return {}
    folder = root / "_build" / "home"
    folder.mkdir(parents=True, exist_ok=True)
    return {"HOME": str(folder), **{name: str(folder / name.lower()) for name in _OF_HOME if name not in os.environ}}


def stop(children: Iterable[Child]) -> None:
    """End children and all they started, after a few seconds by force."""
    children, until = list(children), time.monotonic() + _PATIENCE
    for child in children:
        with suppress(OSError):
            child.process.stdin.close()  # type: ignore[union-attr]
    for child in children:
        try:
            child.process.wait(max(until - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            _kill(child.process.pid)
            child.process.wait()
        if child.result is None:
            for pid, created in child.started:
                _kill(pid, created)


def _kill(pid: int, created: float | None = None) -> None:
    """Kill a process, the one that was created then, with all that it started."""
    import psutil  # type: ignore[import-untyped]

    with suppress(psutil.Error):
        process = psutil.Process(pid)
        if created is None or process.create_time() == created:
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.Error):
                    each.kill()


def supervise(
    tasks: Iterable[Task],
    slots: int,
    root: Path,
    ended: Callable[[Child], None],
    tick: Callable[[Sequence[Child], Sequence[Task]], None],
) -> None:
    """Run tasks side by side, those that take several slots first, then the longest.

    `ended` is called for each that has ended, `tick` now and then with those that run and those that wait.
    """
    waiting = sorted(tasks, key=lambda task: (-task.slots, -(task.seconds or 1e9)))
    running: list[Child] = []
    messages: queue.SimpleQueue[tuple[Child, Any]] = queue.SimpleQueue()
    try:
        while waiting or running:
            for task in list(waiting):
                if sum(min(child.task.slots, slots) for child in running) + min(task.slots, slots) <= slots:
                    waiting.remove(task)
                    running.append(start(task, root, tempfile.TemporaryFile()))  # noqa: SIM115  (closed at its end)
                    threading.Thread(target=_listen, args=(running[-1], messages), daemon=True).start()
            tick(running, waiting)
            with suppress(queue.Empty):
                child, message = messages.get(timeout=0.5)
                if message is None:
                    stop([child])
                    running.remove(child)
                    ended(child)
                    child.log.close()
                elif "result" in message:
                    child.result = message["result"]
                else:
                    child.done, child.total, child.started = message["done"], message["total"], message["started"]
    finally:
        stop(running)


def _listen(child: Child, messages: queue.SimpleQueue[tuple[Child, Any]]) -> None:
    assert child.process.stdout is not None
    with child.process.stdout as lines:
        for line in lines:
            with suppress(ValueError):  # cut off by its death
                messages.put((child, json.loads(line)))
    messages.put((child, None))


def child() -> None:
    """The main function of a child process."""
    request = b""
    while not request.endswith(b"\n"):
        if not (read := os.read(0, 1 << 16)):
            os._exit(1)
        request += read
    pipe_in = os.dup(0)  # what runs here may put another file in the place of standard input, as pytest does
    threading.Thread(target=_end_with_parent, args=(pipe_in,), daemon=True).start()
    task = json.loads(request)
    pipe = None
    if task["reports"]:
        pipe = os.fdopen(os.dup(1), "w", encoding="ascii")  # not inherited: it closes with this process
        os.dup2(2, 1)
    os.chdir(task["cwd"])

    def send(**message: Any) -> None:
        if pipe:
            print(json.dumps(message), file=pipe, flush=True)

    def report(done: int, total: int) -> None:
        import psutil

        started = [(each.pid, each.create_time()) for each in psutil.Process().children()]
        send(done=done, total=total, started=started)

    module, _, name = task["function"].partition(":")
    result = getattr(import_module(module), name)(report, **task["arguments"])
    send(result=result)
    if not pipe:
        sys.exit(result)


def _end_with_parent(pipe: int) -> None:
    """Wait until the other end of the pipe is closed; then kill what this process started, and exit."""
    while os.read(pipe, 1 << 16):
        pass
    with suppress(ImportError):
        import psutil

        for _ in range(2):  # what was being started meanwhile
            for each in psutil.Process().children():
                _kill(each.pid)
    os._exit(1)

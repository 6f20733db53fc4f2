"""Handle SIGINT, SIGTERM and SIGHUP.

The command cleans up and prints one line. Its exit code is the one that a shell gives for the
signal. This module imports little: until the handlers are installed, Ctrl-C ends in a traceback.
"""

import _thread
import os
import signal
import sys
import time

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
_MAX_DELAYS = 300  # times that a signal can be delayed, by a hundredth of a second each
_GRACE = 8.0  # seconds to clean up: container managers give ten before they kill a process


TYPE_CHECKING = False  # importing it from typing takes time
if TYPE_CHECKING:
    from types import CodeType, FrameType


class Stopped(BaseException):
    """Raised in the main thread by a signal.

    It is not a KeyboardInterrupt, because libraries handle that one themselves.
    """


class Signals:
    """Handle signals from `install` to `restore`.

    The first signal raises `Stopped` wherever the main thread is, so that each ``finally`` runs.
    Later signals are ignored, so that they cut none of these short. A thread waits while the
    command cleans up, then ends the process, because native code may not return for minutes. A
    signal that was ignored at the start (``nohup``) stays ignored.

    Args:
        ends_process: whether the process ends with the command. The handlers then also protect
            what Python does after the command.
    """

    def __init__(self, *, ends_process: bool) -> None:
        self.received = 0  # number of the signal
        self._ends_process = ends_process
        self._finished = False
        self._reported = False
        self._delays = 0
        self._previous: dict[int, object] = {}
        self._main_thread = _thread.get_ident()
        self._previous_hook = sys.unraisablehook
        self._pipe: tuple[int, int] | None = None

    def install(self) -> None:
        """Install the handlers; in another thread than the main one, Python allows none."""
        for signum in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            previous = signal.getsignal(signum)
            if previous is None or previous is signal.SIG_IGN:
                continue
            try:
                signal.signal(signum, self._handle)
            except ValueError:  # in another thread
                return
            self._previous[signum] = previous
        sys.unraisablehook = self._raise_again

    def watch(self) -> None:
        """Start a thread that is notified of a signal even if the main thread is not."""
        if self._previous and self._ends_process:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, end == self._pipe[0])
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            _thread.start_new_thread(self._end_process_after_grace, (self._pipe[0],))

    def restore(self) -> None:
        """Stop handling signals."""
        self._finished = True
        if self._ends_process:
            # Everything is written. After a signal, later ones must not make Python print a
            # traceback while it ends.
            handler = signal.SIG_IGN if self.received else signal.SIG_DFL
            for signum in self._previous:
                signal.signal(signum, handler)
            return
        for signum, previous in self._previous.items():
            signal.signal(signum, previous)  # type: ignore[arg-type]  # from `signal.getsignal`
        sys.unraisablehook = self._previous_hook

    def report(self) -> int:
        """Print that the command was stopped, and return the exit code of a shell for the signal.

        The line goes to standard error, or to standard output if standard error fails.
        """
        self._reported = True
        for stream in (sys.stderr, sys.stdout):
            try:
                stream.write(self._line(self.received))
                stream.flush()
                break
            except (OSError, ValueError, AttributeError):  # full, closed or missing
                pass
        return 128 + self.received

    def _handle(self, signum: int, frame: "FrameType | None") -> None:
        if self._finished or self.received:
            return
        if self._delays < _MAX_DELAYS and _is_importing(frame):
            self._delays += 1
            _thread.start_new_thread(self._send_again, (signum,))
            return
        self.received = signum
        raise Stopped

    def _raise_again(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise `Stopped` again where Python dropped it, as in ``__del__``.

        While the command ends, other dropped errors are not printed.
        """
        if issubclass(unraisable.exc_type, Stopped):
            signum, self.received = self.received, 0
            _thread.start_new_thread(self._send_again, (signum,))
        elif not self.received:
            self._previous_hook(unraisable)

    def _send_again(self, signum: int) -> None:
        time.sleep(0.01)
        if not self._finished:
            # A signal to the main thread interrupts its waiting; one to this thread would not.
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self._main_thread, signum)
            else:
                signal.raise_signal(signum)

    def _end_process_after_grace(self, pipe: int) -> None:
        signum = os.read(pipe, 1)[0]
        if signum in self._previous:
            # A signal just before the main thread begins to wait does not interrupt its waiting.
            time.sleep(0.1)
            if not self.received:
                self._send_again(signum)
            time.sleep(_GRACE)
            try:
                import psutil

                for child in psutil.Process().children(recursive=True):
                    child.kill()
                if not self._reported:
                    # Not through the stream, whose lock the main thread may hold.
                    os.write(2, self._line(signum).encode())
            finally:
                os._exit(128 + signum)

    @staticmethod
    def _line(signum: int) -> str:
        name = signal.Signals(signum).name
        return f"purescope: stopped{'' if name == 'SIGINT' else f' by {name}'}\n"


def _is_importing(frame: "FrameType | None") -> bool:
    """Return whether the frame runs the code of a module that is being imported.

    An exception ends the process in some of torch's C++ code. Between two modules, in Python's own
    import code, an exception is safe.
    """
    code = None if frame is None else frame.f_code
    between_modules = (
        code is not None and _is_import_code(code) and code.co_name != "_call_with_frames_removed"
    )
    importing = False
    while frame is not None:
        importing |= _is_import_code(frame.f_code)
        if frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame = frame.f_back
    return importing and not between_modules


def _is_import_code(code: "CodeType") -> bool:
    return code.co_filename.startswith("<frozen importlib")

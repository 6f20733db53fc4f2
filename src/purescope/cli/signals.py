"""SIGINT, SIGTERM and SIGHUP: all is tidied up, one line says so, and the exit code is the shell's
for the signal.

Little is imported here: until the signals are taken, Ctrl-C ends in a traceback.
"""

import _thread
import os
import signal
import sys
import time

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # those that the platform has; Windows has no SIGHUP
_PATIENCE = 300  # times that a signal is put off, for a hundredth of a second each
_GRACE = 8.0  # seconds for tidying up: container managers give ten, and then kill


TYPE_CHECKING = False  # as typing's, which takes its time
if TYPE_CHECKING:
    from types import CodeType, FrameType


class Stopped(BaseException):
    """Raised in the main thread by a signal. No KeyboardInterrupt: libraries take that for
    theirs.
    """


class Signals:
    """Signals that are heeded from `take` to `leave`.

    The first one raises `Stopped` wherever the main thread is, so that each ``finally`` is run;
    those after it are left alone, so that none of these is cut short. A thread waits for as long as
    that may take, and then ends the process: native code may not come back for minutes. A signal
    that was ignored at the start (``nohup``) stays so.

    Args:
        for_good: whether the process ends with the command. What Python does after it is then not
            disturbed either.
    """

    def __init__(self, *, for_good: bool) -> None:
        self.came = 0  # the number of the signal
        self._for_good = for_good
        self._done = False
        self._said = False
        self._put_off = 0
        self._before: dict[int, object] = {}
        self._main = _thread.get_ident()
        self._hook = sys.unraisablehook
        self._pipe: tuple[int, int] | None = None

    def take(self) -> None:
        """From now on, heed them; only in the main thread, as Python has it."""
        for signum in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            before = signal.getsignal(signum)
            if before is None or before is signal.SIG_IGN:
                continue
            try:
                signal.signal(signum, self._heed)
            except ValueError:  # in another thread
                return
            self._before[signum] = before
        sys.unraisablehook = self._unraisable

    def watch(self) -> None:
        """Begin to wait for a signal in a thread of its own, which is told of it even if the main
        thread is not.
        """
        if self._before and self._for_good:
            self._pipe = os.pipe()
            for end in self._pipe:
                os.set_blocking(end, end == self._pipe[0])
            signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
            _thread.start_new_thread(self._overdue, (self._pipe[0],))

    def leave(self) -> None:
        """Heed them no more."""
        self._done = True
        if self._for_good:
            after = (
                signal.SIG_IGN if self.came else signal.SIG_DFL
            )  # all is written; no traceback of Python's own end
            for signum in self._before:
                signal.signal(signum, after)
            return
        for signum, before in self._before.items():
            signal.signal(signum, before)  # type: ignore[arg-type]  # as `signal.getsignal` gave it
        sys.unraisablehook = self._hook

    def stopped(self) -> int:
        """Say that the command was stopped, where it can be said; what a shell gives for a process
        that it ended.
        """
        self._said = True
        for stream in (sys.stderr, sys.stdout):
            try:
                stream.write(self._line(self.came))
                stream.flush()
                break
            except (OSError, ValueError, AttributeError):  # full, closed, none
                pass
        return 128 + self.came

    def _heed(self, signum: int, frame: "FrameType | None") -> None:
        if self._done or self.came:
            return
        if self._put_off < _PATIENCE and _is_in_an_import(frame):
            self._put_off += 1
            _thread.start_new_thread(self._again, (signum,))
            return
        self.came = signum
        raise Stopped

    def _unraisable(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """Raise once more what was raised where Python drops it, as in ``__del__``; say nothing
        while it ends.
        """
        if issubclass(unraisable.exc_type, Stopped):
            signum, self.came = self.came, 0
            _thread.start_new_thread(self._again, (signum,))
        elif not self.came:
            self._hook(unraisable)

    def _again(self, signum: int) -> None:
        time.sleep(0.01)
        if not self._done:
            # To the main thread, whose waiting it interrupts; a signal to this one would not.
            if hasattr(signal, "pthread_kill"):
                signal.pthread_kill(self._main, signum)
            else:
                signal.raise_signal(signum)

    def _overdue(self, pipe: int) -> None:
        signum = os.read(pipe, 1)[0]
        if signum in self._before:
            time.sleep(_GRACE)
            try:
                import psutil

                for child in psutil.Process().children(recursive=True):
                    child.kill()
                if not self._said:
                    os.write(
                        2, self._line(signum).encode()
                    )  # not by the stream, which the main thread may hold
            finally:
                os._exit(128 + signum)

    @staticmethod
    def _line(signum: int) -> str:
        name = signal.Signals(signum).name
        return f"purescope: stopped{'' if name == 'SIGINT' else f' by {name}'}\n"


def _is_in_an_import(frame: "FrameType | None") -> bool:
    """Whether a module's own code runs that is being imported: some of torch's, in C++, dies of an
    exception.

    Between two modules, in Python's own code of imports, nothing does.
    """
    code = None if frame is None else frame.f_code
    between = (
        code is not None and _is_of_imports(code) and code.co_name != "_call_with_frames_removed"
    )
    importing = False
    while frame is not None:
        importing |= _is_of_imports(frame.f_code)
        if frame.f_code.co_qualname.startswith("ExtensionFileLoader."):
            return True
        frame = frame.f_back
    return importing and not between


def _is_of_imports(code: "CodeType") -> bool:
    return code.co_filename.startswith("<frozen importlib")

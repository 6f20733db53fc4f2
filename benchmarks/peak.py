"""The peak memory of what is timed, by Linux's account of this process."""

from pathlib import Path

_PROCESS = Path("/proc/self")


def begin_peak() -> int:
    """Begin the peak anew, for making what is measured takes more; return the memory of now, kB."""
    (_PROCESS / "clear_refs").write_text("5")
    return _status("VmRSS")


def peak_beyond(before: int) -> float:
    """Return the peak since `begin_peak` beyond the memory that it returned, in MB."""
    return (_status("VmHWM") - before) / 1024


def _status(name: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

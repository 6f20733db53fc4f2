"""What a pickle would do, found without doing it: one that costs more than its size is refused
before it is read.

The readers of pickles that run no code still build what they are told to: a tuple of tuples of
tuples, each named twice, is hashed in no bounded time as a key; a few calls that torch allows make
gigabytes of one number. Here the operations are walked through with sizes in place of the values.

A zip must be as torch writes it: with one list of files, at the end, that every reader finds.
"""

import io
import pickle
import pickletools
import struct
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from pathlib import Path
from typing import Any

LARGEST = 64_000_000
"""Bytes of a pickle, at most: the tensors are beside it, and a hundred times fewer are known."""

_OPERATIONS = 2_000_000
_ELEMENTS, _KEY = 10_000, 100  # of a tuple with all tuples in it, and of one that is a key
_STREAM = 5  # pickles stand at the start of an old file of torch, before its numbers
# No integer of a checkpoint is that long, and nothing in torch.save's protocol is a frame.
_STRANGE = frozenset({"LONG4", "FRAME", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"})
_CHANGES = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_IDLE = frozenset({"POP", "POP_MARK", "STOP"})
_CONTAINERS = frozenset({"list", "dict"})
_CODEC = "_codecs.encode"
# They go over what they are given, and hash it: never more than a list or a dictionary of the
# pickle's own.
_HASHING = frozenset({"collections.OrderedDict", "collections.Counter", "builtins.set"})
# torch allows them, and they make copies of any size of a few bytes.
_REFUSED = frozenset(
    {"builtins.bytearray"}
    | {f"torch._utils._rebuild_device_tensor_from_{kind}" for kind in ("numpy", "cpu_tensor")}
    | {"torch._utils._rebuild_wrapper_subclass"}
)


class _Thing:
    """Stands in for a value.

    Args:
        kind: list, dict, tuple, mark, function, or whatever.
        known: of a function its name, of a short text itself, of a tuple of one or two its
            elements.
        size: how many elements it has, with those of all tuples in it.
        length: of a text.
    """

    __slots__ = ("kind", "known", "length", "size")

    def __init__(self, kind: str, known: Any = None, size: int = 1, length: int = 0) -> None:
        self.kind, self.known, self.size, self.length = kind, known, size, length


def require_harmless(content: bytes, *, several: bool = False) -> None:
    """Walk through a pickle that is about to be read.

    Args:
        content: its bytes, of a larger one the first `LARGEST`.
        several: more of them may follow each other, as in an old file of torch.

    Raises:
        pickle.UnpicklingError: it is broken, or would cost more than any checkpoint; a name that it
            may not call is told after the word GLOBAL.

    Examples:
        >>> require_harmless(pickle.dumps({"a": [1, (2, 3)]}, protocol=2))
        >>> require_harmless(pickle.dumps(bytearray(3), protocol=2))
        Traceback (most recent call last):
        _pickle.UnpicklingError: GLOBAL builtins.bytearray
    """
    start = io.BytesIO(content)
    walk = _Walk()
    for _ in range(_STREAM if several else 1):
        try:
            walk.follow(start)
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # bytes that are no pickle
            told = (
                f"a pickle of more than {LARGEST:,} bytes"
                if start.tell() >= LARGEST
                else str(error)
            )
            raise pickle.UnpicklingError(told) from error
        if start.tell() >= len(content):
            return


class _Walk:
    """The stack of a pickle, with sizes in place of values; the counts go on from one pickle to the
    next.
    """

    def __init__(self) -> None:
        self.count = self.encoded = 0
        self.stack: list[_Thing] = []
        self.memo: dict[int, _Thing] = {}

    def follow(self, file: io.BytesIO) -> None:
        self.stack, self.memo = [], {}
        argument: Any
        for operation, argument, _ in pickletools.genops(file):
            self.count += 1
            if self.count > _OPERATIONS:
                raise pickle.UnpicklingError(f"a pickle of more than {_OPERATIONS:,} operations")
            name = operation.name
            if name in _STRANGE:
                raise pickle.UnpicklingError(f"a pickle with the operation {name}")
            if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
                self._remember(len(self.memo) if argument is None else int(argument))
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self.stack.append(self.memo[int(argument)])
            elif name == "DUP":
                self.stack.append(self.stack[-1])
            else:
                self._apply(operation, argument)

    def _remember(self, index: int) -> None:
        if not 0 <= index <= self.count:  # Python makes room for as many
            raise pickle.UnpicklingError(f"a pickle that remembers a value as number {index:,}")
        self.memo[index] = self.stack[-1]

    def _apply(self, operation: Any, argument: Any) -> None:
        name, taken = operation.name, self._take(operation.stack_before)
        if name in _CALLS:
            self._call(taken)
        elif name not in _IDLE:
            _refuse_handed_on(taken)
        for key in _keys(name, taken):
            if key.size > _KEY:
                raise pickle.UnpicklingError(f"a key of {key.size:,} elements")
        for made in operation.stack_after:
            self.stack.append(_made(made.name, name, argument, taken))

    def _take(self, wanted: list[Any]) -> list[_Thing]:
        """What an operation takes from the stack, in its order, without the mark."""
        after: list[_Thing] = []
        if pickletools.markobject in wanted:
            while (thing := self.stack.pop()).kind != "mark":
                after.append(thing)
            wanted = wanted[: wanted.index(pickletools.markobject)]
        before = [self.stack.pop() for _ in wanted]
        return before[::-1] + after[::-1]

    def _call(self, taken: list[_Thing]) -> None:
        """Refuse what only looks harmless: a codec other than that of bytes, or a set of what is no
        list.
        """
        function, given = taken[0], taken[1:]
        _refuse_handed_on(given)
        arguments = given[0].known if len(given) == 1 and given[0].kind == "tuple" else None
        if function.known == _CODEC:
            if arguments is None or len(arguments) != 2 or arguments[1].known != "latin1":
                raise pickle.UnpicklingError(f"GLOBAL {_CODEC}")
            self.encoded += arguments[0].length
            if self.encoded > LARGEST:
                raise pickle.UnpicklingError(f"a pickle of more than {LARGEST:,} bytes")
        elif function.known in _HASHING and (
            arguments is None
            or len(arguments) > 1
            or any(thing.kind not in _CONTAINERS for thing in arguments)
        ):
            raise pickle.UnpicklingError(f"GLOBAL {function.known}")


def _refuse_handed_on(things: list[_Thing]) -> None:
    """A function in a container could be called by another one that is allowed."""
    for thing in things:
        if thing.kind == "function" and (thing.known == _CODEC or thing.known in _HASHING):
            raise pickle.UnpicklingError(f"GLOBAL {thing.known}")


def _keys(name: str, taken: list[_Thing]) -> list[_Thing]:
    places = {
        "SETITEM": (1, 2),
        "SETITEMS": (1, 2),
        "DICT": (0, 2),
        "ADDITEMS": (1, 1),
        "FROZENSET": (0, 1),
    }
    first, step = places.get(name, (len(taken), 1))
    return taken[first::step]


def _made(kind: str, name: str, argument: Any, taken: list[_Thing]) -> _Thing:
    """What an operation leaves on the stack."""
    if name in _CHANGES:
        return taken[0]
    if name == "GLOBAL":
        return _function(*argument.split(" ", 1))
    if name == "STACK_GLOBAL":
        return _function(str(taken[0].known), str(taken[1].known))
    if kind == "tuple":
        size = 1 + sum(thing.size for thing in taken)
        if size > _ELEMENTS:
            raise pickle.UnpicklingError(
                f"a tuple of {size:,} elements, with those of all tuples in it"
            )
        return _Thing("tuple", taken if len(taken) <= 2 else None, size)
    if isinstance(argument, str):
        return _Thing(kind, argument if len(argument) < 10 else None, length=len(argument))
    return _Thing(kind)


def _function(module: str, name: str) -> _Thing:
    """A global under the name of today; pickles of protocol 2 have those of Python 2."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    known = f"{module}.{name}"
    if known in _REFUSED:
        raise pickle.UnpicklingError(f"GLOBAL {known}")
    return _Thing("function", known)


_END = struct.Struct("<4s4H2LH")  # and after it nothing, not even a comment
_END_64 = struct.Struct("<4sQ2H2L4Q")
_PLACE_64 = struct.Struct("<4sLQL")


def require_plain(path: Path) -> str:
    """Look whether a zip is one as torch writes it, and whether its pickle can be read.

    Python takes the list of files that is next to the end, torch the one at the stated place, and
    of two files of one name each takes another: what is looked at here must be what torch reads.

    Args:
        path: of a zip.

    Returns:
        What is wrong with it; empty where nothing is.

    Raises:
        pickle.UnpicklingError: its pickle is harmful or broken.
        zipfile.BadZipFile: it is no zip.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            return f"{packed[0]} compressed"
        size = path.stat().st_size
        if sum(entry.file_size for entry in entries) > size:
            return f"more than its {size:,} bytes in its list of files"
        if wrong := _wrong_list(path, archive):
            return wrong
        for entry in entries:
            if entry.filename.lower().endswith("/data.pkl"):
                with archive.open(entry) as file:
                    require_harmless(file.read(LARGEST))
    return ""


def _wrong_list(path: Path, archive: zipfile.ZipFile) -> str:
    """What makes readers find different files in it; empty where nothing does."""
    entries = archive.infolist()
    names = {entry.filename.lower() for entry in entries}  # to torch's reader, both cases are one
    if len(names) < len(entries):
        return "two files of one name"
    if any(entry.filename != entry.orig_filename for entry in entries):
        return "a file of two names"
    with path.open("rb") as file:
        start = file.read(4)
        size = file.seek(0, 2)
        tail = min(size, _END.size + _PLACE_64.size + _END_64.size)
        file.seek(size - tail)
        end = file.read(tail)
    if start != b"PK\x03\x04":
        return "something before its first file"
    signature, *_, count, length, place, comment = _END.unpack(end[-_END.size :])
    if signature != b"PK\x05\x06" or comment:
        return "something after its list of files"
    last = size - _END.size
    at = end[: -_END.size]
    if at[-_PLACE_64.size :][:4] == b"PK\x06\x07":
        *_, where, _ = _PLACE_64.unpack(at[-_PLACE_64.size :])
        last -= _PLACE_64.size + _END_64.size
        signature, rest, *_, count, length, place = _END_64.unpack(at[: _END_64.size])
        if signature != b"PK\x06\x06" or rest != _END_64.size - 12 or where != last:
            return "two lists of files"
    if place + length != last or count != len(entries):
        return "two lists of files"
    return ""

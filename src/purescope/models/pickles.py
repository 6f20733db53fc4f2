"""Read pickles of unknown origin without running code.

A pickle can cost far more than its own size: a tuple of tuples of tuples, each used twice, takes
unbounded time to hash as a key, and a few calls that torch allows make gigabytes out of one number.
`require_harmless` therefore walks through the operations first, with sizes in place of the values.

A TorchScript archive, as OpenAI published CLIP, is a zip: `NAME/code/` is the program,
`NAME/data.pkl` a pickle of its tree of modules, and `NAME/data/0`, `NAME/data/1`, ... hold the
bytes of the tensors. Only the tree and the bytes are read. The classes of the tree belong to the
program, so an inert object replaces each of them, and the pickle can call nothing else.
"""

import io
import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

LARGEST = 64_000_000
"""Most bytes of a pickle: a hundred times the largest known. Tensors are stored outside it."""

_OPERATIONS = 2_000_000
_ELEMENTS = 10_000  # of a tuple, counting the elements of nested tuples
_KEY_ELEMENTS = 100  # the same for a tuple that is a key
_STREAM = 5  # pickles at the start of a file in torch's old format, before its numbers
# No integer of a checkpoint is that long, and torch.save's protocol has no frames, and no globals
# whose names are values: those could be put together from parts.
_STRANGE = frozenset(
    {"LONG4", "FRAME", "STACK_GLOBAL", "NEXT_BUFFER", "READONLY_BUFFER", "EXT1", "EXT2", "EXT4"}
)
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "INST"})
_CHANGES = frozenset({"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"})
_IDLE = frozenset({"POP", "POP_MARK", "STOP"})
_CONTAINERS = frozenset({"list", "dict"})
_CODEC = "_codecs.encode"
# These iterate over their argument and hash its elements. They may only get a list or a dictionary
# of the pickle itself.
_HASHING = frozenset({"collections.OrderedDict", "collections.Counter", "builtins.set"})
# torch allows these, and they can expand a few bytes to any size.
_REFUSED = frozenset(
    {"builtins.bytearray"}
    | {f"torch._utils._rebuild_device_tensor_from_{kind}" for kind in ("numpy", "cpu_tensor")}
    | {"torch._utils._rebuild_wrapper_subclass"}
)


class _Value:
    """Describe a value on the stack of a pickle.

    Args:
        kind: list, dict, tuple, mark, function, or another type of pickletools.
        known: the name of a function, the text itself if it is short, or the elements of a tuple of
            one or two.
        size: the number of elements, counting those of nested tuples.
        length: the length of a text.
    """

    __slots__ = ("kind", "known", "length", "size")

    def __init__(self, kind: str, known: Any = None, size: int = 1, length: int = 0) -> None:
        self.kind, self.known, self.size, self.length = kind, known, size, length


def require_harmless(content: bytes, *, several: bool = False) -> None:
    """Refuse a pickle that is broken or costs more to read than any checkpoint.

    Args:
        content: the bytes of the pickle; only the first `LARGEST` of a larger one.
        several: several pickles may follow each other, as in torch's old file format.

    Raises:
        pickle.UnpicklingError: the pickle is broken or costs too much. If it calls a function that
            is not allowed, the message has the word GLOBAL followed by its name.

    Examples:
        >>> require_harmless(pickle.dumps({"a": [1, (2, 3)]}, protocol=2))
        >>> require_harmless(pickle.dumps(bytearray(3), protocol=2))
        Traceback (most recent call last):
        _pickle.UnpicklingError: GLOBAL builtins.bytearray
    """
    file = io.BytesIO(content)
    walk = _Walk()
    for _ in range(_STREAM if several else 1):
        try:
            walk.follow(file)
        except pickle.UnpicklingError:
            raise
        except Exception as error:  # bytes that are no pickle can raise anything
            is_cut = file.tell() >= LARGEST
            reason = f"a pickle of more than {LARGEST:,} bytes" if is_cut else str(error)
            raise pickle.UnpicklingError(reason) from error
        if file.tell() >= len(content):
            return


class _Walk:
    """Follow the stack of a pickle with descriptions in place of values.

    The counts continue from one pickle to the next.
    """

    def __init__(self) -> None:
        self.count = self.encoded = 0
        self.stack: list[_Value] = []
        self.memo: dict[int, _Value] = {}

    def follow(self, file: io.BytesIO) -> None:
        """Walk through one pickle, from the current position of the file to its STOP."""
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
        if not 0 <= index <= self.count:  # Python allocates memory for that many
            raise pickle.UnpicklingError(f"a pickle that remembers a value as number {index:,}")
        self.memo[index] = self.stack[-1]

    def _apply(self, operation: Any, argument: Any) -> None:
        name, operands = operation.name, self._pop(operation.stack_before)
        if name in _CALLS:
            self._check_call(operands)
        elif name not in _IDLE:
            _refuse_functions(operands)
        for key in _find_keys(name, operands):
            if key.size > _KEY_ELEMENTS:
                raise pickle.UnpicklingError(f"a key of {key.size:,} elements")
        for result in operation.stack_after:
            self.stack.append(_describe_result(result.name, name, argument, operands))

    def _pop(self, expected: list[Any]) -> list[_Value]:
        """Pop the operands of an operation, in its order and without the mark."""
        after_mark: list[_Value] = []
        if pickletools.markobject in expected:
            while (value := self.stack.pop()).kind != "mark":
                after_mark.append(value)
            expected = expected[: expected.index(pickletools.markobject)]
        before_mark = [self.stack.pop() for _ in expected]
        return before_mark[::-1] + after_mark[::-1]

    def _check_call(self, operands: list[_Value]) -> None:
        """Refuse two calls that only look harmless.

        They are a codec other than that of bytes, and hashing of something that is no list.
        """
        function, given = operands[0], operands[1:]
        _refuse_functions(given)
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
            or any(value.kind not in _CONTAINERS for value in arguments)
        ):
            raise pickle.UnpicklingError(f"GLOBAL {function.known}")


def _refuse_functions(values: list[_Value]) -> None:
    """Refuse a restricted function as an argument or element: an allowed function could call it."""
    for value in values:
        if value.kind == "function" and (value.known == _CODEC or value.known in _HASHING):
            raise pickle.UnpicklingError(f"GLOBAL {value.known}")


def _find_keys(name: str, operands: list[_Value]) -> list[_Value]:
    """Return the operands that an operation uses as keys, and thus hashes."""
    places = {
        "SETITEM": (1, 2),
        "SETITEMS": (1, 2),
        "DICT": (0, 2),
        "ADDITEMS": (1, 1),
        "FROZENSET": (0, 1),
    }
    first, step = places.get(name, (len(operands), 1))
    return operands[first::step]


def _describe_result(kind: str, name: str, argument: Any, operands: list[_Value]) -> _Value:
    """Describe the value that an operation leaves on the stack."""
    if name in _CHANGES:
        return operands[0]
    if name == "GLOBAL":
        return _describe_function(*argument.split(" ", 1))
    if kind == "tuple":
        size = 1 + sum(value.size for value in operands)
        if size > _ELEMENTS:
            raise pickle.UnpicklingError(f"a tuple of {size:,} elements, with nested tuples")
        return _Value("tuple", operands if len(operands) <= 2 else None, size)
    if isinstance(argument, str):
        return _Value(kind, argument if len(argument) < 10 else None, length=len(argument))
    return _Value(kind)


def _describe_function(module: str, name: str) -> _Value:
    """Describe a global by its name in Python 3; pickles of protocol 2 use those of Python 2."""
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    known = f"{module}.{name}"
    if known in _REFUSED:
        raise pickle.UnpicklingError(f"GLOBAL {known}")
    return _Value("function", known)


_STORAGES = {
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_DEEPEST = 64


def is_torchscript(path: Path) -> bool:
    """Return whether a file is a TorchScript archive: a zip with the constants of a program."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(_is_at_top(name, "constants.pkl") for name in archive.namelist())


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Read every tensor in the tree of modules of a TorchScript archive.

    A causal mask is left out: the archive keeps it among the weights, but it follows from the
    architecture.

    Returns:
        The tensors by their dotted names.

    Raises:
        Exception: of any kind, if the bytes are no such archive. If the pickle calls something that
            is not allowed, the message has the word GLOBAL, as in torch's own reader.
    """
    with zipfile.ZipFile(path) as archive:
        (tree,) = (name for name in archive.namelist() if _is_at_top(name, "data.pkl"))
        # Entries of a zip may overlap. Never read more than the size of the file.
        entries = archive.infolist()
        stored = [entry for entry in entries if entry.compress_type == zipfile.ZIP_STORED]
        if sum(entry.file_size for entry in stored) > path.stat().st_size:
            raise pickle.UnpicklingError("its list of files declares more bytes than it has")
        if archive.getinfo(tree).compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"{tree} is compressed")
        with archive.open(tree) as file:
            require_harmless(file.read(LARGEST))
        with archive.open(tree) as file:
            root = _Unpickler(file, archive, tree.removesuffix(".pkl")).load()
    if not isinstance(root, _Module):
        raise pickle.UnpicklingError("no tree of modules")
    return {name: tensor for name, tensor in _walk_tensors(root) if not name.endswith("attn_mask")}


def _is_at_top(name: str, file: str) -> bool:
    return name.count("/") == 1 and name.endswith(f"/{file}")


class _Module:
    """Stand in for a class of the program and keep its attributes."""

    attributes: Mapping[str, object] = MappingProxyType({})

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.attributes = dict(state)


class _Inert:
    """Take the arguments of a list or a dictionary and drop them: none of these holds weights."""

    __slots__ = ()

    def __init__(self, *arguments: object) -> None: ...


class _Rebuild:
    """Make a tensor as torch's function of that name does, without attributes to tamper with."""

    __slots__ = ()

    def __call__(
        self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> Tensor:
        # as_strided refuses a view that leaves the storage.
        return storage.as_strided(size, stride, offset)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if (module, name) == ("collections", "OrderedDict") or module == "torch.jit._pickle":
            return _Inert
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, identity: Any) -> Tensor:
        """Return the storage that a tensor is a view of, as a flat tensor."""
        _, dtype, key, _, length = identity
        if key not in self._storages:
            entry = self._archive.getinfo(f"{self._folder}/{key}")
            # Uncompressed only, so that a small file cannot unpack to a huge one.
            is_stored = entry.compress_type == zipfile.ZIP_STORED
            if not is_stored or entry.file_size != length * dtype.itemsize:
                raise pickle.UnpicklingError(
                    f"{entry.filename} holds {entry.file_size} bytes, not {length} {dtype}"
                )
            content = bytearray(self._archive.read(entry))
            self._storages[key] = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        return self._storages[key]


def _walk_tensors(root: _Module) -> Iterator[tuple[str, Tensor]]:
    visited, pending = {id(root)}, [("", root)]
    while pending:
        prefix, module = pending.pop()
        for name, value in module.attributes.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _Module):
                # In a tree each module has one place; following a cycle would never end.
                if id(value) in visited:
                    raise pickle.UnpicklingError(f"the module {prefix}{name} is in two places")
                # Names get longer with every level.
                if prefix.count(".") >= _DEEPEST:
                    raise pickle.UnpicklingError(f"modules in modules, more than {_DEEPEST} deep")
                visited.add(id(value))
                pending.append((f"{prefix}{name}.", value))

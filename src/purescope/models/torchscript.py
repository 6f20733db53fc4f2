"""The weights in a TorchScript archive, as OpenAI published CLIP, read without running the program
beside them.

Such an archive is a zip: `NAME/code/` is the program, `NAME/data.pkl` a pickle of its tree of
modules, and `NAME/data/0`, `NAME/data/1`, ... the tensors' bytes. Of all that only the tree and the
bytes are read. The tree's classes are the program's own; an inert object takes the place of each,
and the pickle can call nothing else.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from purescope.models.pickles import LARGEST, require_harmless

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
    """Whether a file is a TorchScript archive: a zip with the constants of a program."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(
            name.count("/") == 1 and name.endswith("/constants.pkl") for name in archive.namelist()
        )


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Every tensor of the tree of modules, by its dotted name.

    A causal mask is left out: it lies there among the weights and follows from the architecture.

    Raises:
        Exception: of any kind, where the bytes are no such archive; a name that the pickle may not
            call is told after the word GLOBAL, as by torch's own reader.
    """
    with zipfile.ZipFile(path) as archive:
        (tree,) = (
            name
            for name in archive.namelist()
            if name.count("/") == 1 and name.endswith("/data.pkl")
        )
        # Entries may lie on top of each other: what is read is never more than the file.
        stored = sum(
            entry.file_size
            for entry in archive.infolist()
            if entry.compress_type == zipfile.ZIP_STORED
        )
        if stored > path.stat().st_size:
            raise pickle.UnpicklingError("its list of files names more bytes than it has")
        if archive.getinfo(tree).compress_type != zipfile.ZIP_STORED:
            raise pickle.UnpicklingError(f"{tree} is compressed")
        with archive.open(tree) as file:
            require_harmless(file.read(LARGEST))
        with archive.open(tree) as file:
            root = _Unpickler(file, archive, tree.removesuffix(".pkl")).load()
    if not isinstance(root, _Module):
        raise pickle.UnpicklingError("no tree of modules")
    return {name: tensor for name, tensor in _tensors(root) if not name.endswith("attn_mask")}


class _Module:
    """Stands in for a class of the program; keeps the attributes it is given."""

    attributes: Mapping[str, object] = MappingProxyType({})

    def __init__(self, *arguments: object) -> None: ...

    def __setstate__(self, state: Mapping[str, object]) -> None:
        self.attributes = dict(state)


class _Inert:
    """Takes what a list or a dictionary would be built from, none of which holds weights."""

    __slots__ = ()

    def __init__(self, *arguments: object) -> None: ...


class _Rebuild:
    """Makes the tensor that a call of torch's function of that name describes; has no attribute to
    tamper with.
    """

    __slots__ = ()

    def __call__(
        self, storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> Tensor:
        return storage.as_strided(
            size, stride, offset
        )  # which refuses what lies outside of the storage


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder
        self._read: dict[str, Tensor] = {}

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
        """The storage that a tensor is a view of, as a flat tensor."""
        _, dtype, key, _, length = identity
        if key not in self._read:
            entry = self._archive.getinfo(f"{self._folder}/{key}")
            # Stored as they are, so that no small file can unpack to a huge one.
            if (
                entry.compress_type != zipfile.ZIP_STORED
                or entry.file_size != length * dtype.itemsize
            ):
                raise pickle.UnpicklingError(
                    f"{entry.filename} holds {entry.file_size} bytes, not {length} {dtype}"
                )
            content = bytearray(self._archive.read(entry))
            self._read[key] = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        return self._read[key]


def _tensors(root: _Module) -> Iterator[tuple[str, Tensor]]:
    seen, rest = {id(root)}, [("", root)]
    while rest:
        prefix, module = rest.pop()
        for name, value in module.attributes.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value
            elif isinstance(value, _Module):
                if id(value) in seen:  # a tree has no such thing, and following it might never end
                    raise pickle.UnpicklingError(f"the module {prefix}{name} stands in two places")
                if prefix.count(".") >= _DEEPEST:  # the names of each are as long as the way to it
                    raise pickle.UnpicklingError(f"modules in modules, more than {_DEEPEST} deep")
                seen.add(id(value))
                rest.append((f"{prefix}{name}.", value))

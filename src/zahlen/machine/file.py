"""The file and the content hash: safetensors, integers only, the program as JSON in the metadata.

``docs/format.md`` is the specification. Nothing in a file is believed: shapes, ranges and operands are proven again by
the builder, and what this version does not know is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from reprlib import repr as brief
from typing import IO, Any

import numpy as np

from . import operations as op
from .alphabets import Alphabet, Codes, IntArray, Levels, bits
from .builder import NAME, Builder
from .errors import FileError, ZahlenError
from .machine import Machine

VERSION = 1
MAX_FILE_ELEMENTS = 2**24
"""Most elements of all wires of a machine from a file; raise it with ``load(.., max_elements=)``."""
MAX_FILE_WORK = 2**34
"""Most multiply-adds of one step of a machine from a file; raise it with ``load(.., max_work=)``.

Within both limits the range proofs of a small file take at most 0.8 GiB of memory, and 13 seconds, as far as known.
"""

_DTYPES = ("I8", "I16", "I32", "I64")


# ---------------------------------------------------------------------------------------------------- canonical form


def program(machine: Machine) -> dict[str, Any]:
    """The program as JSON values; constants are left to the tensors ``wire.field``."""
    wires = []
    for wire in machine.wires.values():
        attributes = {name: _encode(value) for name, value in wire.operation.attributes().items()}
        wires.append({"name": wire.name, "op": wire.operation.kind, "of": list(wire.operands), **attributes})
    return {
        "version": VERSION,
        "wires": wires,
        "outputs": list(machine.outputs),
        "next": dict(sorted(machine.successors.items())),
    }


def tensors(machine: Machine) -> dict[str, IntArray]:
    """Every constant as ``wire.field``, in the smallest signed type that holds it."""
    return {
        f"{wire.name}.{field}": _smallest(array)
        for wire in machine.wires.values()
        for field, array in wire.operation.tensors().items()
    }


def content_hash(machine: Machine) -> str:
    """SHA-256 over the program's canonical JSON, then each tensor's name, type, shape and little-endian bytes."""
    digest = hashlib.sha256(_canonical(program(machine)))
    for name, array in sorted(tensors(machine).items()):
        digest.update(_canonical([name, array.dtype.itemsize, list(array.shape)]))
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _smallest(array: IntArray) -> IntArray:
    lo, hi = int(array.min()), int(array.max())
    width = next(w for w in (8, 16, 32, 64) if bits(lo, hi) <= w)
    return array.astype(f"int{width}")


def _encode(value: Any) -> Any:
    if isinstance(value, Levels):
        return {"levels": [value.lo, value.hi, value.step]}
    if isinstance(value, Codes):
        return {"codes": value.n, "structure": value.structure}
    return [_encode(v) for v in value] if isinstance(value, tuple) else value


# ---------------------------------------------------------------------------------------------------- writing


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path` that takes its place when the block ends without an error."""
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise FileError(f"{path}: cannot be written: {error.strerror}") from None
        raise


def save(machine: Machine, path: str | Path) -> None:
    """Write a machine to a file, whole or not at all.

    Raises
    ------
    FileError
        If the file cannot be written or a note is not JSON.
    """
    from safetensors.numpy import save as to_bytes

    try:
        notes = json.dumps(dict(machine.notes), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise FileError(f"{path}: notes must be JSON values: {error}") from None
    metadata = {"zahlen": _canonical(program(machine)).decode(), "notes": notes, "sha256": machine.hash}
    with replacing(path) as file:
        file.write(_ordered(to_bytes(tensors(machine), metadata)))


def _ordered(content: bytes) -> bytes:
    """The same file with its header's keys sorted, so that equal machines with equal notes are equal files."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = _canonical(json.loads(content[8:end]))
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


# ---------------------------------------------------------------------------------------------------- reading


def load(path: str | Path, *, max_elements: int = MAX_FILE_ELEMENTS, max_work: int = MAX_FILE_WORK) -> Machine:
    """Read a machine from a file; no code is ever executed, and everything is checked.

    Parameters
    ----------
    path : path
    max_elements : int
        Most elements that all wires of one sample may have together.
    max_work : int
        Most that the range proofs may take together, in multiply-adds of one step.

    Raises
    ------
    FileError
        If there is no such file, it is not a machine, is damaged, or needs a newer version.
    """
    path = Path(path)
    _check_file(path)
    try:
        metadata, constants = _read(path)
        if set(metadata) != {"zahlen", "notes", "sha256"}:
            raise FileError("its metadata are not the three entries zahlen, notes and sha256")
        notes = _parse(metadata["notes"], _finite)
        if not isinstance(notes, dict):
            raise FileError("notes must be an object")
        machine = _assemble(_parse(metadata["zahlen"], _no_number), constants, notes, Builder(max_elements, max_work))
        if metadata["sha256"] != machine.hash:
            raise FileError("the content does not have the hash that the file states; it is damaged")
        return machine
    except ZahlenError as error:
        raise FileError(f"{path}: not a machine that this version can read: {error}") from None


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            model = path / "model.zn"
            hint = f"; is it {model} that you mean?" if model.is_file() else ""
            raise FileError(f"{path}: is a directory{hint}")
        if not path.is_file():
            raise FileError(f"{path}: no such file")
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be read: {error}") from None


def _read(path: Path) -> tuple[dict[str, str], dict[str, IntArray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            constants = {}
            for name in file.keys():  # noqa: SIM118 (it is no mapping)
                view = file.get_slice(name)
                if view.get_dtype() not in _DTYPES:
                    raise FileError(f"tensor {brief(name)} has type {view.get_dtype()}, not a signed integer one")
                constants[name] = np.asarray(file.get_tensor(name))
            return file.metadata() or {}, constants
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise FileError(str(error)[:200]) from None


def _parse(text: str, number: Callable[[str], Any]) -> Any:

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise FileError("a key stands twice in one object")
        return dict(pairs)

    try:
        return json.loads(text, parse_float=number, parse_constant=_no_number, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise FileError(f"its JSON does not parse: {error}") from None


def _no_number(literal: str) -> Any:
    raise FileError(f"{brief(literal)} is no integer")


def _finite(literal: str) -> float:
    number = float(literal)
    return number if abs(number) < float("inf") else _no_number(literal)


def _assemble(tree: Any, constants: Mapping[str, IntArray], notes: Mapping[str, Any], builder: Builder) -> Machine:
    tree = _object(tree, "program", {"version", "wires", "outputs", "next"})
    if type(tree["version"]) is not int or tree["version"] != VERSION:
        raise FileError(f"format version {brief(tree['version'])}; this version of zahlen reads {VERSION}")
    unread = dict(constants)
    for entry in _list(tree["wires"], "wires"):
        if not isinstance(entry, dict) or not isinstance(entry.get("op"), str) or entry["op"] not in op.OPERATIONS:
            raise FileError(f"unknown operation {brief(entry.get('op') if isinstance(entry, dict) else entry)}")
        kind = op.OPERATIONS[entry["op"]]
        entry = _object(entry, f"wire {brief(entry.get('name'))}", {"name", "op", "of", *kind.attribute_fields()})
        name, operands = _name(entry["name"]), [_text(o, "operand") for o in _list(entry["of"], "of")]
        try:
            arrays = {field: unread.pop(f"{name}.{field}") for field in kind.tensor_fields()}
        except KeyError as error:
            raise FileError(f"tensor {error.args[0]!r} is missing") from None
        try:
            operation = kind(**{field: _decode(entry[field]) for field in kind.attribute_fields()}, **arrays)
        except ZahlenError as error:
            raise FileError(f"wire {name!r}: {error}") from None
        builder.append(operation, *operands, name=name)
    if unread:
        raise FileError(f"tensor {brief(next(iter(unread)))} belongs to nothing")
    successors = tree["next"]
    if not isinstance(successors, dict):
        raise FileError("next must be an object")
    for register, successor in successors.items():
        builder.connect(register, _text(successor, "next"))
    return builder.build(*(_text(o, "output") for o in _list(tree["outputs"], "outputs")), notes=notes)


def _object(value: Any, what: str, keys: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != keys:
        raise FileError(f"{what}: an object with exactly {', '.join(sorted(keys))} is due")
    return value


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise FileError(f"{what}: a list is due")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise FileError(f"{what}: a string is due, got {brief(value)}")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise FileError(f"{brief(value)} is no name of a wire")
    return value


_ALPHABETS: dict[frozenset[str], Callable[[dict[str, Any]], Alphabet]] = {
    frozenset({"levels"}): lambda v: Levels(*_three(v["levels"])),
    frozenset({"codes", "structure"}): lambda v: Codes(v["codes"], v["structure"]),
}


def _three(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise FileError("levels: three integers are due")
    return value


def _decode(value: Any, depth: int = 3) -> Any:
    if depth == 0:
        raise FileError("an attribute is nested too deeply")
    if isinstance(value, dict):
        if frozenset(value) not in _ALPHABETS:
            raise FileError(f"no alphabet has the keys {brief(sorted(value))}")
        return _ALPHABETS[frozenset(value)](value)
    return tuple(_decode(v, depth - 1) for v in value) if isinstance(value, list) else value

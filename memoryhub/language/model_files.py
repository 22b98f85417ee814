"""The files of a model in a folder with the layout of Hugging Face. Nothing is downloaded, and nothing imported."""

from collections.abc import Iterator, Sequence
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path

LIBRARIES = ("numpy", "onnxruntime", "tokenizers")
GRAPH_PATHS = ("model.onnx", "onnx/model.onnx")
INSTALL_HINT = "Install what requirements/run.lock names"
EXPORT_HINT = "Export the model with `optimum-cli export onnx`"


def find_graph(folder: Path) -> Path | None:
    return next((folder / name for name in GRAPH_PATHS if (folder / name).is_file()), None)


def list_graph_files(graph: Path) -> Sequence[Path]:
    """The file of the graph, and those of its weights if it is too large for one (`model.onnx_data`)."""
    return sorted(graph.parent.glob(f"{graph.name}*"))


def hash_files(paths: Sequence[Path], *, parameters: str = "") -> str:
    """The SHA-256, in hex, of the digests of these files and of `parameters`. Raises OSError."""
    digest = sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(file_digest(file, "sha256").digest())
    digest.update(parameters.encode())
    return digest.hexdigest()


def iter_folder_errors(folder: Path, names: Sequence[str], unset_hint: str) -> Iterator[str]:
    """Why the files in `folder` are no model, and how to fix it: a sentence each. Raises OSError."""
    if not folder.is_dir():
        yield f"There is no folder {folder}. Name one on this machine that holds the model, {unset_hint}"
    for name in names:
        if not (folder / name).is_file():
            yield f"{folder} has no {name}. {EXPORT_HINT}, {unset_hint}"
    graph = find_graph(folder)
    if graph is None:
        yield f"{folder} has neither {' nor '.join(GRAPH_PATHS)}. {EXPORT_HINT}, {unset_hint}"
    elif not is_onnx_file(graph):
        yield f"{graph} is no ONNX. {EXPORT_HINT} (or fetch it with Git LFS if it is a pointer), {unset_hint}"


def iter_library_errors(unset_hint: str) -> Iterator[str]:
    """A sentence if libraries that run a model are missing."""
    if missing_libraries := [name for name in LIBRARIES if find_spec(name) is None]:
        yield f"The language model needs {', '.join(missing_libraries)}. {INSTALL_HINT}, {unset_hint}"


def is_onnx_file(graph: Path) -> bool:
    """Whether the first field is the format version, as in ONNX files, but not in Git LFS pointers or web pages."""
    with graph.open("rb") as file:
        return file.read(1) == b"\x08"

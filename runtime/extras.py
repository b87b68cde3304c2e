"""The optional parts of earkit: which packages each brings, and how to install what is missing."""

from importlib.util import find_spec

from earkit.runtime.errors import MissingExtraError

# Extra of pyproject.toml -> the modules its packages are imported as.
EXTRAS = {
    "train": (
        "torch",
        "transformers",
        "accelerate",
        "safetensors",
        "torch_pruning",
        "onnx",
        "onnxscript",
        "optimum",
        "psutil",
    ),
    "bench": ("sklearn", "matplotlib"),
    "search": ("usearch",),
}


def install_line(extra: str) -> str:
    """Give the exact command that installs an extra."""
    return f"pip install 'earkit[{extra}]'"


def missing_modules(extra: str) -> list[str]:
    """Modules of an extra that are not installed; looks for them without importing any."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """Turn the failed import of a module of an extra into the error that says what to install.

    None when the module belongs to no extra: then the failure is a bug of ours.
    """
    module = error.name or ""
    for extra, modules in EXTRAS.items():
        if module.partition(".")[0] in modules:
            return MissingExtraError(
                f"this needs the Python module '{module}', which is not installed; run: {install_line(extra)}"
            )
    return None

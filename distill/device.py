"""Where and how precisely training runs, chosen once and with the reason said."""

import ctypes
import os
import platform
from typing import Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState

Precision = Literal["auto", "float32", "bfloat16"]


def processes() -> PartialState:
    """Join the processes of this run, of which there is mostly one."""
    return PartialState(cpu=_on_cpu())


def _on_cpu() -> bool:
    """Accelerate starts gloo only when told that there is no GPU; else each process would train alone."""
    wanted = os.environ.get("ACCELERATE_USE_CPU", "").lower() in {"1", "true", "yes"}
    return wanted or not torch.accelerator.is_available()


def choose(precision: Precision) -> tuple[Accelerator, str]:
    """Set up accelerate (one process, or those of `accelerate launch`) and say what was chosen and why."""
    cuda = torch.cuda.is_available()
    if precision == "auto":
        half = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
        why = "this GPU computes in it" if half else "no GPU with bfloat16" if cuda else "no GPU"
        precision = "bfloat16" if half else "float32"
    else:
        why = "asked for"
    accelerator = Accelerator(
        cpu=_on_cpu(),
        mixed_precision="bf16" if precision == "bfloat16" else "no",
        kwargs_handlers=[
            # Dropped layers and a frozen front end leave parameters without a gradient; the codebooks
            # keep themselves in step.
            DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
        ],
    )
    if accelerator.device.type == "cpu":
        _keep_freed_memory()
    name = torch.cuda.get_device_name() if accelerator.device.type == "cuda" else platform.machine()
    threads = f", {torch.get_num_threads()} threads" if accelerator.device.type == "cpu" else ""
    processes = f", {accelerator.num_processes} processes" if accelerator.num_processes > 1 else ""
    return accelerator, f"{accelerator.device} ({name}{threads}{processes}), {precision} because {why}"


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of returning and re-faulting them each step (up to 1.6x)."""
    if platform.system() == "Linux" and platform.libc_ver()[0] == "glibc":
        trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)

"""On the PYTHONPATH of an engine that serves a vision model; nothing of the portal imports it.

vLLM and transformers need torchvision.transforms.v2, which is pure Python, but PyPI's torchvision is built for CUDA:
beside a CPU build of torch its library does not load, and importing the package fails because two operators were
never defined. Defining their schemas is enough. Where the library loads, nothing is done.
"""

import importlib.abc
import importlib.util
import sys

OPERATORS = {
    "torchvision::nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "torchvision::qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


class BeforeTorchvision(importlib.abc.MetaPathFinder):
    """Steps aside at the first import of torchvision, and defines what is missing before it goes on."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _define_missing(importlib.util.find_spec("torchvision"))


def _define_missing(spec):
    import torch

    folders = spec.submodule_search_locations if spec is not None else None
    library = importlib.machinery.PathFinder.find_spec("_C", folders) if folders else None
    if library is None:
        return
    try:
        torch.ops.load_library(library.origin)
    except OSError:
        for name, schema in OPERATORS.items():
            torch.library.define(name, schema)


sys.meta_path.insert(0, BeforeTorchvision())

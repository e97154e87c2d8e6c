"""Judges candidates against the golden files of versavit, with numpy alone.

    from versavit_golden import Golden, Recorder

    golden = Golden("golden/tower")
    recorder = Recorder(golden)
    recorder.act("visual.merger.mlp.2", your_features)
    print(recorder.check(scope="outputs").text())
"""
from .index import Golden
from .judge import Judged, check
from .recorder import Recorder
from .tensors import BFloat16, FileError, open_tensors, save

__all__ = ["BFloat16", "FileError", "Golden", "Judged", "Recorder", "check", "open_tensors", "save"]
__version__ = "2.0"

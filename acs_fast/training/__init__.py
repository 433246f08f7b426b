"""The main job: robust training on coresets, from real data to a report."""

from acs_fast.training import checkpoint, processes, report
from acs_fast.training.checkpoint import CheckpointError
from acs_fast.training.comparison import compare, run_one, summarise
from acs_fast.training.config import METHODS, RunConfig
from acs_fast.training.data import SOURCES, Found, Splits
from acs_fast.training.data import load as load_data
from acs_fast.training.data import read as read_data
from acs_fast.training.files import DataError
from acs_fast.training.images import Images, ImageSet
from acs_fast.training.machine import machine_and_versions
from acs_fast.training.models import SPECS, build
from acs_fast.training.objects import names_object, refuse_code
from acs_fast.training.restored import Restored, check_fits, load, restore, saved_config
from acs_fast.training.run import Run

__all__ = [
    "METHODS",
    "SOURCES",
    "SPECS",
    "CheckpointError",
    "DataError",
    "Found",
    "ImageSet",
    "Images",
    "Restored",
    "Run",
    "RunConfig",
    "Splits",
    "build",
    "check_fits",
    "checkpoint",
    "compare",
    "load",
    "load_data",
    "machine_and_versions",
    "names_object",
    "processes",
    "read_data",
    "refuse_code",
    "report",
    "restore",
    "run_one",
    "saved_config",
    "summarise",
]

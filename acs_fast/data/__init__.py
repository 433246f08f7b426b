"""Data sets of numbered samples, and the coreset's samplers."""

from acs_fast.data.batches import BatchAdapter, images_and_labels, is_random, unpack
from acs_fast.data.indexed import IndexedDataset
from acs_fast.data.labels import Labels, class_names_of, labels_of, stored_labels
from acs_fast.data.plan import Plan
from acs_fast.data.samplers import CoresetBatchSampler, CoresetSampler, replicas

__all__ = [
    "BatchAdapter",
    "CoresetBatchSampler",
    "CoresetSampler",
    "IndexedDataset",
    "Labels",
    "Plan",
    "class_names_of",
    "images_and_labels",
    "is_random",
    "labels_of",
    "replicas",
    "stored_labels",
    "unpack",
]

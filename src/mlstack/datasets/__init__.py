"""Images with labels in named splits, as NumPy arrays: no training framework is imported here.

dataset = load_dataset(DataConfig(name="digits"))
loader = BatchLoader(dataset.splits["train"], batch_size=64, image_size=dataset.image_size, shuffle=True)
batch = loader.batch(epoch=0, step=0)          # uint8 [64, 8, 8, 1]
"""

from mlstack.datasets.base import SPLITS, Batch, Dataset, Images, Split
from mlstack.datasets.catalogue import DATASETS, load_dataset

__all__ = ["DATASETS", "SPLITS", "Batch", "Dataset", "Images", "Split", "load_dataset"]

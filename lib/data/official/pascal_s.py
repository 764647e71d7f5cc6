"""PASCAL-S: 850 VOC photographs with graded saliency masks (grey = share of annotators); all `test`."""
from pathlib import Path

from lib.data.official.common import Layout, require_files
from lib.data.official.saliency import write_saliency

LAYOUT = Layout(
    "a folder with datasets/imgs/pascal/ (.jpg) and datasets/masks/pascal/ (.png), from the archive "
    "\"datasets\" of The Secrets of Salient Object Segmentation (Li et al. 2014; no log-in, research; "
    "photographs under Flickr's terms)",
    ("", "datasets"), ("imgs/pascal", "masks/pascal"))
LICENCE = "research use; photographs under Flickr's terms of use"


def import_pascal_s(source: Path, folder: Path) -> None:
    """Convert PASCAL-S to a dataset folder; column `has_foreground` is 1 where the mask reaches 0.5."""
    top = LAYOUT.find(source)
    images, masks = top / "imgs" / "pascal", top / "masks" / "pascal"
    stems = {path.stem for path in (*images.glob("*.jpg"), *masks.glob("*.png"))}
    ids = sorted(stems, key=lambda stem: (len(stem), stem))   # 2 before 10
    require_files((images / f"{id}.jpg" for id in ids), masks)
    require_files((masks / f"{id}.png" for id in ids), images)
    pairs = {id: (images / f"{id}.jpg", masks / f"{id}.png") for id in ids}
    write_saliency(folder, "pascal_s", "PASCAL-S (Li et al. 2014)", LICENCE, pairs)

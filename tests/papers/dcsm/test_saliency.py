"""DCSM's foreground map for rCAM's table 2."""
import numpy as np
import torch
from dcsm_toys import OURS, SIDE, toy_fcn, toy_photo
from torch.nn.functional import interpolate

from lib.data.dataset import Dataset
from lib.papers.dcsm.blocks import blocks
from lib.papers.dcsm.method import enlarge, enlarged, raw_maps, saliency, with_background
from lib.papers.dcsm.saliency import foreground, marginals, rcam_table2
from lib.refine.crf import dense_crf


def test_foreground_is_what_the_background_leaves() -> None:
    fcn, photo = toy_fcn(7), toy_photo(3)
    raw = raw_maps(fcn, photo, OURS, SIDE)
    maps = enlarge(saliency(enlarged(raw, OURS.map_stride), OURS, blocks(fcn.trunk)), photo.size)
    refined = dense_crf(np.asarray(photo), with_background(maps), OURS.crf)
    classes = torch.from_numpy(refined)[1:].sum(0)
    expected = interpolate(classes[None, None], (224, 224), mode="bilinear", align_corners=False)
    assert torch.allclose(foreground(fcn, photo, OURS, SIDE), expected, atol=1e-4)
    probability, targets = marginals(fcn, photo, OURS, SIDE)
    assert np.array_equal(probability, refined) and targets == raw.candidates.targets


def test_every_image_is_scored(dataset: Dataset) -> None:
    samples = dataset.split("test")
    assert rcam_table2(toy_fcn(7), samples, OURS, SIDE).ids == [sample.id for sample in samples]

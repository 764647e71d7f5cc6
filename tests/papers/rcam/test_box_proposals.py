"""rCAM_Box with boxes around segments, which may be narrow and may lie at the image's border."""
from dataclasses import replace

import pytest
import torch
from PIL import Image

from lib.papers.rcam import box as module
from lib.papers.rcam.box import SIDE, around_segments, rcam_box, score_windows, windows

BLOBS = ((20, 15, 60, 55), (90, 40, 130, 80))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """Two blobs of different colours on grey."""
    photo = Image.new("RGB", (150, 100), (110, 110, 110))
    photo.paste((210, 40, 30), BLOBS[0])
    photo.paste((30, 60, 220), BLOBS[1])
    return photo


@pytest.fixture(scope="module")
def boxes(photo: Image.Image) -> torch.Tensor:
    return around_segments(photo, 0.0)


def test_boxes_are_shares_of_the_image(boxes: torch.Tensor) -> None:
    assert boxes.dtype == torch.float32 and boxes[-1].tolist() == [0, 0, 1, 1]
    assert boxes.min() >= 0 and boxes.max() <= 1 and (boxes[:, :2] < boxes[:, 2:]).all()
    assert len({tuple(box) for box in boxes[:-1].tolist()}) == len(boxes) - 1 >= 2   # none twice
    for blob in BLOBS:
        assert (boxes * torch.tensor([150, 100, 150, 100]) - torch.tensor(blob)).abs().amax(1).min() <= 2   # pixels


def test_larger_photographs_are_shrunk_first(photo: Image.Image, boxes: torch.Tensor) -> None:
    """Four times as large, more than segments are found at: the same blobs."""
    found = around_segments(photo.resize((600, 400), Image.Resampling.NEAREST), 0.0)
    assert found.max() <= 1
    for blob in BLOBS:
        assert (found * torch.tensor([150, 100, 150, 100]) - torch.tensor(blob)).abs().amax(1).min() <= 2


def test_nothing_to_tell_apart() -> None:
    assert around_segments(Image.new("RGB", (40, 30), (9, 99, 9)), 0.0)[-1:].tolist() == [[0, 0, 1, 1]]
    assert around_segments(Image.new("RGB", (1, 1), (9, 99, 9)), 0.0).shape[1] == 4


def test_the_settings_say_where_boxes_come_from(network, settings, photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(settings, boxes=replace(settings.boxes, source="proposals"))
    found, plain = rcam_box(network, [photo], own), rcam_box(network, [photo], settings)
    assert found.shape == (1, 1, SIDE, SIDE) and found.min() == 0 and found.max() == 1 and not torch.allclose(found, plain, atol=0.01)
    monkeypatch.setattr(module, "windows", lambda: around_segments(photo, 0.0))
    assert torch.equal(rcam_box(network, [photo], settings), found)


def test_narrow_boxes_at_the_border_are_scored() -> None:
    """Less than half a cell wide, at the right and below: what counts is the last column or row."""
    generator = torch.Generator().manual_seed(0)
    features, weight, bias = (torch.randn(*shape, generator=generator) for shape in ((1, 5, 7, 9), (4, 5), (4,)))
    narrow = torch.tensor([[0.97, 0.0, 1.0, 1.0], [0.0, 0.96, 1.0, 1.0], [0.99, 0.99, 1.0, 1.0], [0.0, 0.0, 0.01, 0.01]])
    found = score_windows(features, weight, bias, narrow)[0]
    for score, crop in zip(found, (features[0, :, :, 8:], features[0, :, 6:], features[0, :, 6:, 8:], features[0, :, :1, :1]), strict=True):
        assert float(score) == pytest.approx(float((crop.mean((1, 2)) @ weight.T + bias).softmax(0).max()), abs=1e-5)
    assert torch.allclose(score_windows(features, weight, bias, windows()), score_windows(features, weight, bias, torch.cat([windows(), narrow]))[:, :-4])


def test_boxes_of_a_pixel_are_pasted() -> None:
    """A box that is less than a pixel of the map has the pixel where it begins, at the last the last."""
    for box, (row, column) in (([0.1, 0.2, 0.101, 0.201], (45, 22)), ([0.9999, 0.9999, 1.0, 1.0], (SIDE - 1, SIDE - 1))):
        found = module._paste([(box, torch.full((1, SIDE, SIDE), 0.7))])
        assert found.nonzero().tolist() == [[0, row, column]] and found.max() == pytest.approx(0.7)

"""Where networks of CSoA find objects, against pixels and boxes written out one by one."""
import numpy as np
import pytest
import torch
from csoa_toys import CLASSES, toy_data, toy_trunk
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lib.data.dataset import Dataset, Sample
from lib.papers.csoa.batches import Squares, enlarged
from lib.papers.csoa.locate import Search, at_thresholds, locate, segment, square_truth, ten_crop
from lib.papers.csoa.method import network_of, union
from lib.papers.csoa.settings import Variant
from lib.papers.csoa.two_classifiers import TwoClassifiers

TRIED = [0.2, 0.5, 0.8]
SIDE = 32
Corners = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return toy_data(tmp_path_factory.mktemp("data") / "shapes")


def toy_net(variant: Variant = "csoa") -> TwoClassifiers:
    torch.manual_seed(5)
    net = network_of(variant, "4-5", toy_trunk(1), CLASSES[:2], 6)
    nn.init.normal_(net.w_l[-1].weight)   # maps that differ from place to place
    return net.requires_grad_(False)


def search_in(data: Dataset, batch: int = 8, crops: Squares | None = None) -> Search:
    return Search(Squares(SIDE), data.boxes, TRIED, batch, crops)


def literal_box(mask: np.ndarray) -> Corners:
    """The box of the largest component of a mask, found by flooding it."""
    left = {(int(y), int(x)) for y, x in zip(*np.nonzero(mask), strict=True)}
    best: list[tuple[int, int]] = []
    while left:
        component = []
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            component.append((y, x))
            near = neighbours(y, x) & left
            left -= near
            edge += near
        best = max(best, component, key=len)
    ys = [y for y, _ in best]
    xs = [x for _, x in best]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def neighbours(y: int, x: int) -> set[tuple[int, int]]:
    return {(y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)}


def literal_overlap(a: Corners, b: Corners) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0, width) * max(0, height)
    return shared / (area(a) + area(b) - shared)


def area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def as_input(photo: Image.Image) -> Tensor:
    """A photograph squeezed to the network's input, `(1, 3, SIDE, SIDE)`."""
    small = photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255


def enlarged_maps(maps: tuple[Tensor, Tensor], own: int) -> list[Tensor]:
    """The maps of a class at the input's size."""
    large = []
    for each in maps:
        one = interpolate(each[:, own:own + 1], (SIDE, SIDE), mode="bilinear", align_corners=False)
        large.append(one[0, 0])
    return large


def squeezed_truth(data: Dataset, sample: Sample) -> Corners:
    box = data.boxes[sample.id][0]
    width, height = sample.photo().size
    across, down = SIDE / width, SIDE / height
    return box.xmin * across, box.ymin * down, box.xmax * across, box.ymax * down


def test_ranks_and_overlaps(data: Dataset) -> None:
    net = toy_net()
    samples = [sample for sample in data.split("train") if sample.labels[0] in CLASSES[:2]][:5]
    located = locate(net, samples, search_in(data, batch=2), "")
    assert located.ids == [sample.id for sample in samples]
    assert located.rank_ten.tolist() == [-1] * 5
    assert located.every.shape == (5, 3)
    for n, sample in enumerate(samples):
        s_l, s_f = net(as_input(sample.photo()))
        own = CLASSES.index(sample.labels[0])
        p = (s_l.mean((2, 3)).softmax(1) + s_f.mean((2, 3)).softmax(1))[0]
        assert located.rank[n] == int((p > p[own]).sum())
        truth = squeezed_truth(data, sample)
        large = enlarged_maps((s_l, s_f), own)
        for t, theta in enumerate(TRIED):
            first, second = ((values > theta * values.max()).numpy() for values in large)
            for name, mask in (("s_l", first), ("s_f", second), ("union", first | second)):
                expected = literal_overlap(literal_box(mask), truth) if mask.any() else 0
                assert located.largest[name][n, t] == pytest.approx(expected, abs=1e-6), (name, theta)
            assert located.every[n, t] >= located.largest["union"][n, t] - 1e-9


def test_processes_that_read_ahead_and_halved_batches_change_nothing(
        data: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    net = toy_net()
    samples = data.split("test")
    search = search_in(data, batch=3, crops=Squares(enlarged(SIDE)))
    whole = locate(net, samples, search, "")
    monkeypatch.setenv("DECODERS", "2")
    plain = TwoClassifiers.forward

    def forward(net: TwoClassifiers, images: Tensor) -> tuple[Tensor, Tensor | None]:
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return plain(net, images)

    again = locate(net, samples, search_in(data, batch=3, crops=Squares(enlarged(SIDE))), "")
    monkeypatch.setattr(TwoClassifiers, "forward", forward)
    halved = locate(net, samples, search_in(data, batch=3), "")
    assert capsys.readouterr().err == "Memory ran out with 3 at a time; going on with 2.\n"
    for found in (again, halved):
        assert np.array_equal(found.rank, whole.rank) and np.array_equal(found.every, whole.every)
    assert np.array_equal(again.rank_ten, whole.rank_ten)


def test_one_classifier_has_one_map(data: Dataset) -> None:
    located = locate(toy_net("base"), data.split("val"), search_in(data), "")
    assert set(located.largest) == {"union", "s_l"}
    assert np.array_equal(located.largest["union"], located.largest["s_l"])


def test_a_map_of_zeros_finds_nothing(data: Dataset) -> None:
    net = toy_net()
    for head in (net.w_l, net.w_f):
        nn.init.zeros_(head[-1].weight)
    located = locate(net, data.split("val"), search_in(data), "")
    assert all((overlap == 0).all() for overlap in located.largest.values())
    assert (located.every == 0).all()
    photos = [sample.photo() for sample in data.split("val")]
    assert [one.box for one in segment(net, photos, SIDE, 0.2)] == [None] * 4


def test_ten_crops(data: Dataset) -> None:
    """The corners and the middle of the larger square, and each mirrored."""
    net, images = toy_net(), torch.rand(2, 3, 37, 37)
    views = [images[..., y:y + 32, x:x + 32] for y, x in ((0, 0), (0, 5), (5, 0), (5, 5), (2, 2))]
    views += [view.flip(3) for view in views]
    maps = [net(view.contiguous()) for view in views]
    expected = sum(s_l.mean((2, 3)).softmax(1) + s_f.mean((2, 3)).softmax(1) for s_l, s_f in maps) / 20
    assert torch.allclose(ten_crop(net, images, SIDE), expected, atol=1e-6)
    located = locate(net, data.split("val"), search_in(data, crops=Squares(enlarged(SIDE))), "")
    assert set(located.rank_ten.tolist()) <= {0, 1}


def test_truth_of_another_shape_is_scaled(data: Dataset) -> None:
    sample = data.split("val")[0]   # 48 x 40
    box = data.boxes[sample.id][0]
    expected = [2 * box.xmin, 2.4 * box.ymin, 2 * box.xmax, 2.4 * box.ymax]
    assert square_truth(sample, data.boxes, Squares(96)).tolist() == [pytest.approx(expected)]


def test_segmentation_is_the_union(data: Dataset) -> None:
    """Heat above theta is what either map has above its share of its own maximum."""
    net = toy_net()
    photos = [sample.photo() for sample in data.split("val")]
    compared = 0
    for one, photo in zip(segment(net, photos, SIDE, 0.4), photos, strict=True):
        large = enlarged_maps(net(as_input(photo)), CLASSES.index(one.name))
        if all(values.max() > 0 for values in large):
            expected = union(*large, 0.4)
            # a pixel may lie on the threshold
            assert ((one.heat[0] > 0.4) == expected).float().mean() > 0.999
            x, y, right, bottom = literal_box(expected.numpy())
            across, down = 48 / SIDE, 40 / SIDE
            in_photo = [x * across, y * down, right * across, bottom * down]
            assert one.box == tuple(round(edge) for edge in in_photo)
            compared += 1
    assert compared


def test_masks_at_thresholds_shrink() -> None:
    maps = {"s_l": torch.rand(2, 4, 4), "s_f": torch.rand(2, 4, 4)}
    masks = at_thresholds(maps, 16, TRIED)
    for of_image in masks["union"]:
        areas = [int(mask.sum()) for mask in of_image]
        assert areas == sorted(areas, reverse=True)
        assert areas[0] > areas[-1] > 0
    assert masks["union"].shape == (2, 3, 16, 16)
    assert np.array_equal(masks["union"], masks["s_l"] | masks["s_f"])

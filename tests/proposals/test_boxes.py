"""Masks from boxes: the rectangle, the ellipse in it, the proposal with the nearest box."""
import numpy as np
import pytest

from lib.base.problem import Problem
from lib.proposals.boxes import best_proposal, boxes_around, ellipse, rectangle


def drawn(mask: np.ndarray) -> list[str]:
    signs = np.where(mask, "#", ".")
    return ["".join(row) for row in signs]


def test_rectangle_by_hand() -> None:
    assert drawn(rectangle((1, 0, 4, 2), (3, 5))) == [".###.", ".###.", "....."]
    assert rectangle(np.array([0, 0, 5, 3]), (3, 5)).all() and rectangle((1, 0, 4, 2), (3, 5)).dtype == bool


def test_ellipse_by_hand() -> None:
    """In 5 x 3 pixels no corner's centre lies inside ((2/2.5)^2 + (1/1.5)^2 > 1), but all neighbours' do."""
    assert drawn(ellipse((0, 0, 5, 3), (3, 6))) == [".###..", "#####.", ".###.."]
    assert drawn(ellipse((2, 1, 3, 2), (3, 4))) == ["....", "..#.", "...."]


def test_ellipse_as_a_literal_loop() -> None:
    box, mask = (7, 3, 36, 22), ellipse((7, 3, 36, 22), (30, 40))
    for y in range(30):
        for x in range(40):
            assert mask[y, x] == (((x + 0.5 - 21.5) / 14.5) ** 2 + ((y + 0.5 - 12.5) / 9.5) ** 2 <= 1)
    assert mask.sum() == pytest.approx(np.pi * 14.5 * 9.5, rel=0.01)
    assert not (mask & ~rectangle(box, (30, 40))).any()
    assert boxes_around(mask[None]).tolist() == [list(box)]   # it touches all four sides


def test_what_lies_outside_is_cut_off() -> None:
    assert drawn(rectangle((-2, 1, 2, 9), (3, 4))) == ["....", "##..", "##.."]
    assert np.array_equal(ellipse((-6, -2, 10, 9), (5, 7)), ellipse((0, 0, 16, 11), (20, 20))[2:7, 6:13])


def test_boxes_around_masks() -> None:
    masks = np.zeros((3, 4, 6), dtype=bool)
    masks[0, 1, 2] = True
    masks[0, 3, 4] = True
    masks[1] = True
    assert boxes_around(masks).tolist() == [[2, 1, 5, 4], [0, 0, 6, 4], [0, 0, 0, 0]]
    assert boxes_around(masks[:0]).shape == (0, 4)


def test_the_proposal_whose_box_overlaps_most() -> None:
    """A thin diagonal has the better box than a full square; of equals the first."""
    proposals = np.zeros((5, 10, 10), dtype=bool)
    proposals[1, 2:6, 2:6] = True
    proposals[2][range(1, 7), range(1, 7)] = True
    proposals[3, 1:7, 1:7] = True
    proposals[4, 9, 9] = True
    assert np.array_equal(best_proposal((1, 1, 7, 7), proposals), proposals[2])
    assert np.array_equal(best_proposal((1, 1, 7, 7), proposals[[0, 3, 2]]), proposals[3])
    assert np.array_equal(best_proposal((2, 2, 6, 5), proposals), proposals[1])
    assert np.array_equal(best_proposal((2, 2, 6, 5), proposals, boxes_around(proposals)), proposals[1])


def test_no_proposal_is_an_empty_mask() -> None:
    proposals = np.zeros((2, 10, 10), dtype=bool)
    proposals[1, 2:6, 2:6] = True
    for some in (proposals, proposals[:1], proposals[:0]):
        found = best_proposal((7, 7, 9, 9), some)
        assert found.shape == (10, 10) and not found.any()
    assert best_proposal((0, 0, 3, 3), proposals).any()


@pytest.mark.parametrize("box", [(3, 1, 3, 4), (1, 4, 3, 2)])
def test_a_box_without_area_is_a_problem(box: tuple[int, ...]) -> None:
    proposals = np.ones((1, 5, 5), dtype=bool)
    with pytest.raises(Problem, match="has no area"):
        rectangle(box, (5, 5))
    with pytest.raises(Problem, match="has no area"):
        ellipse(box, (5, 5))
    with pytest.raises(Problem, match="has no area"):
        best_proposal(box, proposals)

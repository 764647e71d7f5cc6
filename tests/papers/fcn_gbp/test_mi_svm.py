"""mi-SVM: planted positives among the superpixels of positive images are found, and better than without re-labelling."""
from typing import NamedTuple

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from lib.base.problem import Problem
from lib.papers.fcn_gbp.mi_svm import MiSvm, relabel, train_mi_svm

CLASSES = ["cat", "dog"]


class Bags(NamedTuple):
    features: np.ndarray
    bags: np.ndarray
    labels: np.ndarray
    planted: np.ndarray   # (N, K)


def problem(seed: int = 0, images: int = 40, superpixels: int = 15) -> Bags:
    """Each image shows one class; three of its superpixels do, the others are background, much the same in all images."""
    rng = np.random.default_rng(seed)
    features, planted = rng.normal(size=(images, superpixels, 6)), np.zeros((images, superpixels, 2), dtype=bool)
    labels = np.eye(2, dtype=bool)[np.arange(images) % 2]
    for i in range(images):
        k = i % 2
        features[i, :3, k] += 4
        features[i, 3:, 2] += rng.choice([-2, 2], superpixels - 3)
        planted[i, :3, k] = True
    features[..., 5] = 100 + 1000 * features[..., 5]   # neither centred nor of the others' size
    return Bags(features.reshape(-1, 6), np.repeat(np.arange(images), superpixels), labels, planted.reshape(-1, 2))


def mistakes(svm: MiSvm, data: Bags) -> float:
    return float(((svm.decide(data.features) > 0) != data.planted).mean())


def train(data: Bags, **how: float) -> MiSvm:
    return train_mi_svm(data.features, data.bags, data.labels, CLASSES, **how)


def test_finds_the_planted_superpixels_and_beats_plain_labelling() -> None:
    data, unseen = problem(), problem(seed=1)
    plain, ours, unweighted = train(data, rounds=1), train(data, rounds=30), train(data, rounds=30, balanced=False)
    assert (plain.rounds == 1).all() and all(((svm.rounds > 2) & (svm.rounds < 30)).all() for svm in (ours, unweighted))
    for part in (data, unseen):
        assert mistakes(unweighted, part) < 0.03 < mistakes(ours, part) < 0.2 < 0.35 < mistakes(plain, part)
        assert all((svm.decide(part.features) > 0)[part.planted].mean() > 0.85 for svm in (ours, unweighted))


def literal(data: Bags, k: int, rounds: int, balanced: bool) -> tuple[np.ndarray, float]:
    """Andrews et al., figure 1 (mi-SVM), with loops."""
    x = (data.features - data.features.mean(0)) / data.features.std(0)
    y = [int(data.labels[bag, k]) for bag in data.bags]
    for _ in range(rounds):
        svm = LinearSVC(C=0.5, class_weight="balanced" if balanced else None, dual=False, tol=1e-6).fit(x, y)
        f = svm.decision_function(x)
        new = [int(f[i] > 0) if data.labels[data.bags[i], k] else 0 for i in range(len(y))]
        for bag in set(data.bags.tolist()):
            members = [i for i in range(len(y)) if data.bags[i] == bag]
            if data.labels[bag, k] and sum(new[i] for i in members) == 0:
                new[max(members, key=lambda i: f[i])] = 1
        if new == y:
            break
        y = new
    return f, float(f.std())


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("rounds", [1, 2, 30])
def test_as_the_literal_loop(rounds: int, balanced: bool) -> None:
    data = problem(seed=3)
    svm = train(data, rounds=rounds, c=0.5, balanced=balanced)
    for k in range(2):
        decision, spread = literal(data, k, rounds, balanced)
        assert np.allclose(svm.decide(data.features)[:, k], decision, atol=0.02)
        assert np.isclose(svm.spread[k], spread, rtol=0.02)
        assert np.allclose(svm.probability(data.features)[:, k], 1 / (1 + np.exp(-decision / spread)), atol=0.01)


def test_relabel_by_hand() -> None:
    """Image 7 has one above zero; image 2 has none, so that its best one is kept; ties go to the first."""
    bags = np.array([7, 2, 7, 2, 4, 4])
    assert relabel(np.array([0.5, -0.3, -0.1, -0.2, -1.0, -1.0]), bags).tolist() == [True, False, False, True, True, False]


def test_negatives_are_bounded_and_drawn_by_the_seed() -> None:
    data = problem()
    few = train(data, negatives=30, seed=1)
    assert np.array_equal(few.weights, train(data, negatives=30, seed=1).weights)
    assert not np.allclose(few.weights, train(data, negatives=30, seed=2).weights)
    assert np.array_equal(train(data, negatives=300).weights, train(data, negatives=10_000).weights)   # 20 images of 15: no choice
    assert mistakes(few, data) < mistakes(train(data, rounds=1), data)


def bad(classes: list[str] = CLASSES, **change: np.ndarray) -> None:
    data = problem()._replace(**change)
    train_mi_svm(data.features, data.bags, data.labels, classes)


def test_bad_input_is_one_sentence() -> None:
    data = problem()
    with pytest.raises(Problem, match='no training image shows the class "cow"'):
        bad(labels=np.array([[True, False, False], [False, True, False]] * 20), classes=[*CLASSES, "cow"])
    with pytest.raises(Problem, match='every training image shows the class "cat"'):
        bad(labels=data.labels | (True, False))
    with pytest.raises(Problem, match="image 3 has no label"):
        bad(labels=np.where(np.arange(40)[:, None] == 3, False, data.labels))
    with pytest.raises(Problem, match="image 40 has no superpixels"):
        bad(labels=np.concatenate([data.labels, [[True, False]]]))
    with pytest.raises(Problem, match="not finite"):
        bad(features=np.where(data.bags[:, None] == 0, np.nan, data.features))
    with pytest.raises(Problem, match="one image for each superpixel"):
        bad(bags=data.bags[1:])

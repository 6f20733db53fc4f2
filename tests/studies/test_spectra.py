"""Made embeddings have the spectrum, the mean and the topics that they are made with."""

import math

import pytest
import torch

from purescope.errors import InputError
from purescope.studies.spectra import Spectrum, effective_rank, make_embeddings

MADE = make_embeddings(3000, spectrum=Spectrum(neurons=64), seed=1)


def test_the_mean_of_each_tower_is_large_and_its_own() -> None:
    image, text = MADE.image.mean(dim=0), MADE.text.mean(dim=0)
    for mean in (image, text):
        assert float(mean.norm() ** 2) == pytest.approx(0.5, abs=0.05)
    assert abs(float(torch.cosine_similarity(image, text, dim=0))) < 0.1
    assert torch.allclose(MADE.image.norm(dim=1), torch.ones(3000))


def test_variances_fall_slowly() -> None:
    many = make_embeddings(3000, topics=3000, spectrum=Spectrum(neurons=64), seed=1)
    centred = (many.image - many.image.mean(dim=0)).double()
    variances = torch.linalg.eigvalsh(centred.T @ centred).flip(0)
    expected = (torch.arange(64).double() + 10) ** -1
    # One direction is that of the mean, along which rows of length 1 vary less.
    shares, wanted = variances / variances.sum(), expected / expected.sum()
    assert float((shares - wanted).abs().max()) < 0.01
    assert 40 < effective_rank(MADE.image) < 64
    steep = make_embeddings(3000, spectrum=Spectrum(neurons=64, decay=2.0), seed=1)
    assert effective_rank(steep.image) < effective_rank(MADE.image)


def test_a_topic_is_closer_than_others_and_a_text_closest_to_its_image() -> None:
    image = torch.nn.functional.normalize(MADE.image - MADE.image.mean(dim=0), dim=1)
    text = torch.nn.functional.normalize(MADE.text - MADE.text.mean(dim=0), dim=1)
    cosines, same = image @ image.T, MADE.labels[:, None] == MADE.labels
    same.fill_diagonal_(False)
    assert float(cosines[same].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(cosines[~same & ~torch.eye(3000, dtype=torch.bool)].mean()) < 0.02
    own = (image * text).sum(dim=1)
    assert float(own.mean()) == pytest.approx(0.5**0.5, abs=0.05)


def test_the_seed_decides() -> None:
    again = make_embeddings(30, spectrum=Spectrum(neurons=8), seed=1)
    assert again.text.equal(make_embeddings(30, spectrum=Spectrum(neurons=8), seed=1).text)
    assert not again.text.equal(make_embeddings(30, spectrum=Spectrum(neurons=8), seed=2).text)
    assert make_embeddings(30, topics=3).labels.tolist() == [0, 1, 2] * 10


def test_the_effective_rank_is_e_to_the_entropy() -> None:
    variances = torch.tensor([4.0, 1.0, 1.0])
    rows = torch.cat([torch.diag(variances.sqrt()), -torch.diag(variances.sqrt())])
    shares = variances.double() / 6
    expected = float(sum(-share * share.log() for share in shares).exp())
    assert effective_rank(rows) == pytest.approx(expected)


@pytest.mark.parametrize(
    "options", [{"mean": 1.0}, {"between": -0.1}, {"noise": 2.0}, {"neurons": 1}, {"decay": -1.0}]
)
def test_values_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Spectrum(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="1 rows"):
        make_embeddings(1)


@pytest.mark.parametrize(
    "options",
    [
        {"mean": 0.0},
        {"between": 0.0},
        {"noise": 0.0},
        {"neurons": 2},
        {"decay": 0.0},
        {"mean": 0.99},
    ],
    ids=str,
)
def test_values_at_the_ends_of_their_range_are_taken(options: dict[str, float]) -> None:
    made = make_embeddings(2, spectrum=Spectrum(**options))  # type: ignore[arg-type]
    assert made.image.isfinite().all() and made.text.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [{"mean": -0.1}, {"mean": 1.5}, {"between": 1.0}, {"noise": -1.0}, {"decay": math.inf},
     {"decay": math.nan}, {"neurons": 0}],
    ids=str,
)  # fmt: skip
def test_values_beyond_the_ends_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Spectrum(**options)  # type: ignore[arg-type]


def test_rows_and_topics_are_counted() -> None:
    assert len(make_embeddings(2).image) == 2
    for rows, topics in ((1, 0), (1, -1), (2, -1)):
        with pytest.raises(InputError, match=f"{rows} rows, {topics} topics"):
            make_embeddings(rows, topics=topics)
    small = Spectrum(neurons=4)
    for rows, topics in ((2, 2), (99, 2), (149, 2), (150, 3), (510, 10)):
        assert int(make_embeddings(rows, spectrum=small).labels.max()) == topics - 1
    assert make_embeddings(5, topics=1, spectrum=small).labels.tolist() == [0] * 5


def test_the_properties_are_those_of_the_documentation() -> None:
    plain = Spectrum(neurons=512, decay=1.0, mean=0.5, between=0.5, noise=0.5)
    assert Spectrum() == plain
    assert make_embeddings(3).image.equal(make_embeddings(3, spectrum=plain, seed=0).image)


@pytest.mark.parametrize("mean", [0.2, 0.8])
@pytest.mark.parametrize("between", [0.2, 0.8])
@pytest.mark.parametrize("noise", [0.2, 0.8])
def test_shares_are_as_asked(mean: float, between: float, noise: float) -> None:
    spectrum = Spectrum(neurons=256, decay=0.0, mean=mean, between=between, noise=noise)
    made = make_embeddings(1200, topics=40, spectrum=spectrum, seed=3)
    for rows in (made.image, made.text):
        assert float(rows.mean(dim=0).norm() ** 2) == pytest.approx(mean, abs=0.03)
    image, text = (
        torch.nn.functional.normalize(rows - rows.mean(dim=0), dim=1)
        for rows in (made.image, made.text)
    )
    same = (made.labels[:, None] == made.labels).fill_diagonal_(False)
    assert float((image @ image.T)[same].mean()) == pytest.approx(between, abs=0.05)
    assert float((image * text).sum(dim=1).mean()) == pytest.approx((1 - noise) ** 0.5, abs=0.05)


def test_no_neuron_is_an_axis() -> None:
    made = make_embeddings(4000, topics=4000, spectrum=Spectrum(neurons=16, decay=3.0, mean=0.0))
    image = made.image.double()
    axes = torch.linalg.eigh(image.T @ image).eigenvectors
    assert float(axes.abs().max()) < 0.95


def test_rows_that_do_not_fill_the_space_have_a_rank() -> None:
    """Negative variances are rounding; the mean is taken away."""
    rows = torch.zeros(6, 9)
    rows[:3, 0], rows[3:, 0], rows[:, 5] = 0.1, -0.1, 7.0
    assert effective_rank(rows) == pytest.approx(1)
    rows[0::2, 1], rows[1::2, 1] = 0.3, -0.3
    values = torch.linalg.eigvalsh(torch.cov(rows.T.double()))[-2:]
    shares = values / values.sum()
    assert effective_rank(rows) == pytest.approx(float((-(shares * shares.log()).sum()).exp()))

"""Made embeddings have the spectrum, the mean and the topics that they are made with."""

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

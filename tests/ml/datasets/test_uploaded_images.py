"""Uploaded images: each channel is standardised, or masked if it does not vary in training."""

import pytest
import torch
from torch import Tensor

from ml.datasets import Rows, uploaded_images
from ml.datasets.splits import Fitted
from ml.datasets.uploaded_images import ImageView
from ml.images.decode import PictureForm
from ml.preprocessing import Standardize


def fitted(images: Tensor) -> Fitted:
    channels = images.shape[1] if images.dim() == 4 else 1
    form = PictureForm(height=4, width=4, channels=channels)
    view = ImageView(form=form, classes=["a", "b"], rows=len(images))
    return view.fit(Rows(images, torch.zeros(len(images), dtype=torch.int64)), {})


def pictures() -> Tensor:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (50, 3, 4, 4), generator=random, dtype=torch.uint8)
    images[:, 2] = 26
    return images


def test_constant_channel_is_masked_with_a_warning() -> None:
    images = pictures()
    fit = fitted(images)
    assert [(w.column, w.kind, "blue channel is 26" in w.message) for w in fit.warnings] == [
        (None, "constant", True)
    ]
    assert isinstance(fit.preprocessing, Standardize)
    encoded = fit.preprocessing(images)
    torch.testing.assert_close(encoded[:, :2].mean((0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(encoded[:, :2].std((0, 2, 3)), torch.ones(2), atol=1e-3, rtol=0)
    for blue in (0, 26, 255):
        images[:, 2] = blue
        assert torch.equal(fit.preprocessing(images), encoded)


def test_images_of_one_grey_are_masked() -> None:
    fit = fitted(torch.full((5, 4, 4), 200, dtype=torch.uint8))
    assert "the grey channel is 200" in fit.warnings[0].message
    assert not fit.preprocessing(torch.arange(16, dtype=torch.uint8).view(1, 4, 4)).any()
    assert fitted(pictures()[:, 0]).warnings == []


def test_a_channel_that_varies_outside_the_sample_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures()
    # Every other image is measured.
    monkeypatch.setattr(uploaded_images, "MEASURED", images.numel() // 2)
    images[1, 2, 0, 0] = 0
    fit = fitted(images)
    assert fit.warnings == []
    encoded = fit.preprocessing(images)
    assert encoded.isfinite().all()
    assert encoded[1, 2, 0, 0] != encoded[1, 2, 0, 1]

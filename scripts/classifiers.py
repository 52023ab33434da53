# SPDX-License-Identifier: MIT
"""Small classifiers that train one epoch at a time, so that each epoch can be recorded."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from pydantic import Field
from training_data import Array, ImageData

from mrv_core.errors import ConfigurationError
from mrv_core.models import Model


class PrivacySettings(Model):
    """Differential privacy by DP-SGD, as Opacus does it.

    Attributes:
        noise_multiplier: Standard deviation of the noise, in units of `max_grad_norm`.
        max_grad_norm: Norm to which each sample's gradient is clipped.
        delta: The δ at which ε is reported.
    """

    noise_multiplier: float = Field(gt=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    delta: float = Field(default=1e-5, gt=0, lt=1)


class TrainingSettings(Model):
    """The training's own part of a training configuration.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Samples a step; with differential privacy their expected number.
        learning_rate: Step size of Adam.
        seed: Seed of the initial weights and of the order of samples; not of the noise that protects privacy.
        model: `cnn` (PyTorch), `mlp` (scikit-learn), or `auto`: the first where torch is installed.
        privacy: Differential privacy, or None. Needs `cnn` and Opacus.
    """

    epochs: int = Field(default=5, ge=1, le=10_000)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.001, gt=0)
    seed: int = Field(default=2026, ge=0, lt=2**32)
    model: Literal["auto", "cnn", "mlp"] = "auto"
    privacy: PrivacySettings | None = None


class Classifier(Protocol):
    """A classifier under training.

    Attributes:
        name: What it is, for people and for the record.
    """

    name: str

    @property
    def model(self) -> Any:
        """What the tracker commits to, as it is now."""

    def train_epoch(self) -> float:
        """Train one epoch and return its mean loss."""

    def accuracy(self, images: Array, labels: Array) -> float:
        """Return the share of images that are classified correctly."""

    def privacy_metrics(self) -> dict[str, float | bool] | None:
        """Return the privacy budget spent so far, or None where none is kept."""

    def weights(self) -> Mapping[str, Array]:
        """Return the present weights by name."""


def has_torch() -> bool:
    """Whether PyTorch is installed; importing it takes a second, so this does not."""
    return find_spec("torch") is not None


def make_classifier(settings: TrainingSettings, data: ImageData) -> Classifier:
    """Build the classifier that the settings ask for.

    Raises:
        ConfigurationError: its library is not installed, or the settings contradict each other.
    """
    kind = settings.model if settings.model != "auto" else "cnn" if has_torch() or settings.privacy else "mlp"
    if kind == "mlp":
        if settings.privacy is not None:
            raise ConfigurationError("differential privacy needs the model 'cnn'", hint="pip install torch opacus")
        return MlpClassifier(settings, data)
    if not has_torch():
        raise ConfigurationError("the model 'cnn' needs PyTorch", hint="pip install torch, or choose 'mlp'")
    if settings.privacy is not None and find_spec("opacus") is None:
        raise ConfigurationError("differential privacy needs Opacus", hint="pip install opacus")
    return CnnClassifier(settings, data)


class MlpClassifier:
    """A multi-layer perceptron of scikit-learn."""

    def __init__(self, settings: TrainingSettings, data: ImageData) -> None:
        from sklearn.neural_network import MLPClassifier

        self.name = "multi-layer perceptron of scikit-learn, 64 hidden units"
        self._scale = 1.0 / data.largest
        self._images, self._labels = self._flat(data.train_images), data.train_labels
        self._estimator = MLPClassifier(
            hidden_layer_sizes=(64,),
            learning_rate_init=settings.learning_rate,
            batch_size=min(settings.batch_size, len(self._labels)),
            random_state=settings.seed,
        )
        # scikit-learn draws the initial weights in the first call, so the record begins after one step.
        first = slice(self._estimator.batch_size)
        self._estimator.partial_fit(self._images[first], self._labels[first], classes=np.arange(data.classes))

    @property
    def model(self) -> Mapping[str, Array]:
        """The weights by name: unlike the whole estimator, they fit into a file that is safe to load."""
        return self.weights()

    def train_epoch(self) -> float:
        """See `Classifier`."""
        self._estimator.partial_fit(self._images, self._labels)
        return float(self._estimator.loss_)

    def accuracy(self, images: Array, labels: Array) -> float:
        """See `Classifier`."""
        return float(self._estimator.score(self._flat(images), labels))

    def privacy_metrics(self) -> None:
        """See `Classifier`."""
        return None

    def weights(self) -> dict[str, Array]:
        """See `Classifier`."""
        named = {"coefs_": self._estimator.coefs_, "intercepts_": self._estimator.intercepts_}
        return {f"{name}.{index}": array for name, arrays in named.items() for index, array in enumerate(arrays)}

    def _flat(self, images: Array) -> Array:
        return images.reshape(len(images), -1) * self._scale


class CnnClassifier:
    """A small convolutional network of PyTorch, with differential privacy where the settings ask for it."""

    def __init__(self, settings: TrainingSettings, data: ImageData) -> None:
        import torch

        torch.manual_seed(settings.seed)
        self._scale, self._batch_size = 1.0 / data.largest, min(settings.batch_size, len(data.train_labels))
        self.name = "convolutional network of PyTorch, two layers"
        self.model: Any = _network(side=data.train_images.shape[1], classes=data.classes)
        self._network = self.model
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        samples = torch.utils.data.TensorDataset(
            self._tensor(data.train_images), torch.from_numpy(np.ascontiguousarray(data.train_labels))
        )
        self._batches = torch.utils.data.DataLoader(samples, batch_size=self._batch_size, shuffle=True)
        self._privacy = settings.privacy
        if settings.privacy is not None:
            self._make_private(settings.privacy)

    def _make_private(self, privacy: PrivacySettings) -> None:
        import torch
        from opacus import PrivacyEngine

        torch.seed()  # the configured seed is public: whoever can draw the noise again can take it away
        warnings.filterwarnings("ignore", message="Secure RNG turned off", category=UserWarning)
        warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
        self._engine = PrivacyEngine()
        self._network, self._optimizer, self._batches = self._engine.make_private(
            module=self.model,
            optimizer=self._optimizer,
            data_loader=self._batches,
            noise_multiplier=privacy.noise_multiplier,
            max_grad_norm=privacy.max_grad_norm,
        )
        self.name += ", differentially private by Opacus"

    def train_epoch(self) -> float:
        """See `Classifier`."""
        from torch.nn.functional import cross_entropy

        self._network.train()
        total, count = 0.0, 0
        for images, labels in self._batches:
            self._optimizer.zero_grad()
            loss = cross_entropy(self._network(images), labels)
            loss.backward()
            self._optimizer.step()
            total, count = total + loss.item() * len(labels), count + len(labels)
        return total / max(count, 1)

    def accuracy(self, images: Array, labels: Array) -> float:
        """See `Classifier`."""
        import torch

        self._network.eval()
        with torch.no_grad():
            found = torch.cat([self.model(part).argmax(1) for part in self._tensor(images).split(1024)])
        return float(np.mean(found.numpy() == labels))

    def privacy_metrics(self) -> dict[str, float | bool] | None:
        """See `Classifier`."""
        if self._privacy is None:
            return None
        epsilon = float(self._engine.get_epsilon(self._privacy.delta))
        return {"epsilon": epsilon, **self._privacy.to_json(), "secure_noise": False}

    def weights(self) -> dict[str, Array]:
        """See `Classifier`."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.model.state_dict().items()}

    def _tensor(self, images: Array) -> Any:
        import torch

        return torch.from_numpy(np.ascontiguousarray(images)).unsqueeze(1).float() * self._scale


def _network(*, side: int, classes: int) -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * (side // 2) ** 2, classes),
    )

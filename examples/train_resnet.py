# SPDX-License-Identifier: MIT
"""Train ResNet-18 on CIFAR-10, and write an MRV record of what it cost.

python examples/train_resnet.py --data cifar-10-batches-bin --epochs 90 --country FRA
python examples/train_resnet.py --epochs 1 --images 64      # generated images, for a look

CIFAR-10 is read from the folder of its binary version (https://www.cs.toronto.edu/~kriz/cifar.html). Without it, images
of the same shape are generated, and the record says so.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mrv_core import MRVTracker

BYTES = 1 + 3 * 32 * 32  # of one image: its label, then red, green and blue


def block(inputs: int, outputs: int, stride: int) -> nn.Module:
    """Return a residual block of two convolutions (He et al. 2015, section 3.3)."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.path = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
            same = stride == 1 and inputs == outputs
            shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            self.shortcut = nn.Identity() if same else shortcut

        def forward(self, images: Tensor) -> Tensor:
            return torch.relu(self.path(images) + self.shortcut(images))

    return Block()


def resnet18() -> nn.Module:
    """Return ResNet-18 for images of 32 by 32."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    for inputs, outputs, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [block(inputs, outputs, stride), block(outputs, outputs, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def load(folder: Path | None, most: int) -> tuple[str, Tensor, Tensor]:
    """Return name, images and labels of CIFAR-10, or of generated images of the same shape."""
    files = sorted(folder.glob("data_batch_*.bin")) if folder is not None else []
    if not files:
        print("CIFAR-10 is not here; images of the same shape are generated instead")
        chance = np.random.default_rng(0)
        labels = chance.integers(0, 10, most)
        images = chance.normal(size=(most, 3, 32, 32)) + labels[:, None, None, None] / 10
        return "generated images (3x32x32)", torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    rows = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, BYTES) for file in files])[:most]
    images = rows[:, 1:].reshape(-1, 3, 32, 32) / np.float32(127.5) - 1
    return "CIFAR-10", torch.from_numpy(images), torch.from_numpy(rows[:, 0].astype(np.int64))


def main() -> int:
    """Run the example; return 0 where the record verifies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the binary version of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=90)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=50_000, help="most images to train on")
    parser.add_argument("--country", help="whose electricity is used, for instance FRA")
    options = parser.parse_args()
    torch.manual_seed(0)
    name, images, labels = load(options.data, options.images)
    model = resnet18()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    tracker = MRVTracker(
        "resnet18_cifar10",
        model_name="ResNet18",
        dataset_name=name,
        epochs=options.epochs,
        batch_size=options.batch_size,
        framework="PyTorch",
        country=options.country,
    )
    with tracker:
        for epoch in range(options.epochs):
            with tracker.epoch(epoch):
                right, loss = 0, torch.zeros(())
                for batch in torch.randperm(len(labels)).split(options.batch_size):
                    optimizer.zero_grad()
                    output = model(images[batch])
                    loss = nn.functional.cross_entropy(output, labels[batch])
                    loss.backward()
                    optimizer.step()
                    right += int((output.argmax(1) == labels[batch]).sum())
                tracker.log(loss=float(loss.detach()), accuracy=right / len(labels))
    print(f"record {tracker.record_path}")
    print(f"anchored as {tracker.tx_hash}")
    report = tracker.verify_on_blockchain()
    print(f"{report.status}: {report.summary}")
    return int(report.status != "VALID")


if __name__ == "__main__":
    sys.exit(main())

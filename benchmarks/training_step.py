"""What a discrete training step costs, as a ratio to its float twin's: interleaved, medians.

python benchmarks/training_step.py [--threads 1] [--rounds 300]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from pairs import row

from zahlen import Levels, nn
from zahlen.recipes import Recipe

NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "mlp 784-256-256-10, L = 16": lambda: nn.network(_recipe("mlp", (256, 256), 16)),
    "mlp 784-256-256-10, L = 256": lambda: nn.network(_recipe("mlp", (256, 256), 256)),
    "cnn 16 and 32 channels, L = 16": lambda: nn.network(_recipe("cnn", (128,), 16)),
}


def _recipe(model: str, hidden: tuple[int, ...], levels: int) -> Recipe:
    return Recipe(model, (28, 28), 0, 255, 1, 73, 90, 10, hidden=hidden, channels=(16, 32), levels=levels)


def stepper(net: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], None]:
    """One step of fused Adam on one batch."""
    optimiser = torch.optim.Adam(net.parameters(), fused=True)

    def step() -> None:
        loss = torch.nn.functional.cross_entropy(nn.outputs(net, x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    alphabet = Levels(0, 255)
    x = torch.randint(alphabet.lo, alphabet.hi + 1, (128, 28, 28), dtype=torch.uint8)
    y = torch.randint(0, 10, (128,))
    print("| network, batch 128 | discrete, ms | float twin, ms | ratio, median of pairs |\n|---|---|---|---|")
    for name, make in NETWORKS.items():
        net = make()
        steps = stepper(net, x, y), stepper(net.twin(), x, y)
        print(row(name, steps, arguments.rounds, 10, 2), flush=True)


if __name__ == "__main__":
    main()

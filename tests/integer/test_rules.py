"""Ways in which gradients reach the layers: each against its definition, and each learns the same on every path."""

from fractions import Fraction

import numpy as np
import pytest
from paths import both

from zahlen import Levels, data, integer
from zahlen.integer import arithmetic as do
from zahlen.integer.rules import blocks
from zahlen.machine import FileError, InputError, LayerError

LOSS = integer.CrossEntropy()
RULES = {
    "backpropagation": integer.Backpropagation,
    "feedback": integer.FeedbackAlignment,
    "local": integer.LocalLosses,
}


def network(seed=0):
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Flatten(),
        integer.Linear(64, 32), integer.TanhD(16), integer.Linear(32, 24), integer.ReLUD(8),
        integer.Linear(24, 10), seed=seed,
    )  # fmt: skip


def convolutional(seed=0):
    return integer.Sequential(
        integer.Input((8, 8), Levels(0, 16), offset=5, unit=6), integer.Reshape(1, 8, 8),
        integer.Conv2d(1, 12, 3), integer.TanhD(16), integer.MaxPool2d(2),
        integer.Conv2d(12, 24, 2), integer.TanhD(16), integer.Flatten(), integer.Linear(96, 10), seed=seed,
    )  # fmt: skip


NETWORKS = {"perceptron": network, "convolutions": convolutional}


def trained(rule, steps, net=None, batch=64):
    part, net = data.load("digits").train, net or network()
    rule.begin(net, batch)
    optimiser, chance, y = integer.Momentum("0.1"), integer.Chance(0), part.y.astype(np.int32)
    for t in range(steps):
        rows = chance.permutation(len(y))[:batch]
        delta = LOSS.measure(rule.forward(part.x[rows]), y[rows], net.unit, net.bits).delta
        rule.backward(delta, y[rows], LOSS)
        optimiser.step(rule.parameters(), batch, Fraction(steps - t, steps), t)
    return net


def one_pass(rule, net):
    """Labels and the gradient by the output, after both ways of four samples."""
    rng = np.random.default_rng(3)
    x, labels = rng.integers(0, 17, (4, 8, 8)), np.array([0, 3, 9, 1], np.int32)
    rule.begin(net, 4)
    delta = LOSS.measure(rule.forward(x), labels, net.unit, net.bits).delta
    rule.backward(delta, labels, LOSS)
    return x, labels, delta.astype(np.int64)


def sloped(activation, d):
    return (d * activation.slopes.table[activation.kept] + 2048) >> 12


def check_block(linear, x, d):
    """The gradients of a block's weights and biases, where d is that by the block's sums."""
    assert np.array_equal(linear.weight.gradient, x.astype(np.int64).T @ d)
    assert np.array_equal(linear.bias.gradient, d.sum(0))


@pytest.mark.parametrize(("gain", "bound"), [("0.5", 647), (20, 25905)])
def test_direct_feedback_alignment_by_its_definition(gain, bound):
    net, rule, clamps = network(), integer.FeedbackAlignment(gain, seed=7), 0
    x, _, e = one_pass(rule, net)
    inputs = [x.reshape(4, 64) - 5, net.children[4]._x, net.children[6]._x]
    for k, (linear, activation) in enumerate(((net.children[2], net.children[3]), (net.children[4], net.children[5]))):
        matrix = rule.feedback[k].astype(np.int64)
        assert matrix.shape == (10, linear.out_features)
        assert 0.9 * bound < np.abs(matrix).max() <= bound  # floor(4096 gain / sqrt(10))
        back = (e @ matrix + 2048) >> 12
        clamps += np.count_nonzero(np.abs(back) > 32767)
        back = np.clip(back, -32767, 32767)
        check_block(linear, inputs[k], sloped(activation, back))
    check_block(net.children[6], inputs[2], e)
    assert net.clamps == clamps
    assert clamps or gain == "0.5"


def test_local_losses_by_their_definition():
    net, rule = network(), integer.LocalLosses(seed=5, amplification=4)
    x, labels, e = one_pass(rule, net)
    inputs = [x.reshape(4, 64) - 5, net.children[4]._x, net.children[6]._x]
    for k, (linear, activation) in enumerate(((net.children[2], net.children[3]), (net.children[4], net.children[5]))):
        head = rule.heads[k].children[1]
        weights, h = head.weight.weight.astype(np.int64), inputs[k + 1].astype(np.int64)
        logits = (h @ weights + head.bias.weight).astype(np.int32)
        own, _, _ = do.softmax(logits, labels, activation.unit * head.scale, net.bits)
        check_block(head, h, own.astype(np.int64))
        back = (4 * own.astype(np.int64) @ weights.T + head.scale // 2) // head.scale
        check_block(linear, inputs[k], sloped(activation, np.clip(back, -32767, 32767)))
    check_block(net.children[6], inputs[2], e)
    assert len(list(rule.parameters())) == 6 + 4


def test_no_gradient_crosses_blocks():
    """What stands behind a block changes nothing in what the block learns from its own loss."""
    seen = []
    for factor in (1, 0):
        net, rule = network(), integer.LocalLosses()
        net.children[6].weight.weight[...] *= factor
        one_pass(rule, net)
        assert all(net.children[layer].first for layer in (2, 4, 6))  # none is even computed
        seen.append([p.gradient.copy() for layer in (2, 4) for p in net.children[layer].parameters()])
    assert all(np.array_equal(a, b) for a, b in zip(*seen))


def test_backpropagation_is_the_network_s_own_way_back_whatever_rule_came_before():
    net, other = network(), network()
    one_pass(integer.LocalLosses(), other)
    for p in other.parameters():
        p.gradient[...] = 0
    one_pass(integer.Backpropagation(), other)
    x, _, e = one_pass(integer.Backpropagation(), net)
    net.announce(net.bits, 4)
    net(x)
    net.backward(e.astype(np.int16))
    for p, q in zip(net.parameters(), other.parameters()):
        assert np.array_equal(p.gradient, q.gradient)
        assert p.gradient.any()


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_learns_digits_and_its_machine_computes_the_same(name, kind):
    net, test = trained(RULES[name](), 400, NETWORKS[kind]()), data.load("digits").test
    outputs = net(test.x)
    assert (outputs.argmax(1) == test.y).mean() > 0.93
    assert np.array_equal(net.machine().run(test.x), outputs)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("name", RULES)
def test_each_rule_has_one_hash_on_every_path(name, kind):
    both(lambda: (trained(RULES[name](), 15, NETWORKS[kind]()).machine().hash,))


def test_blocks_begin_at_weights_behind_an_activation():
    inner = integer.Sequential(integer.TanhD(4), integer.Linear(6, 6), integer.TanhD(4), integer.Reshape(6))
    net = integer.Sequential(
        integer.Input((4,), Levels(0, 1)), integer.Linear(4, 6), inner,
        integer.Add(integer.Sequential(integer.Linear(6, 6), integer.TanhD(4))), integer.Linear(6, 2),
    )  # fmt: skip
    names = [[type(layer).__name__ for layer in block] for block in blocks(net)]
    assert names == [["Linear", "TanhD"], ["Linear", "TanhD", "Reshape"], ["Add"], ["Linear"]]
    # what runs in parts with a convolution stands in its block
    names = [[type(layer).__name__ for layer in block] for block in blocks(convolutional())]
    assert names == [["Reshape", "Conv2d"], ["Conv2d", "Flatten"], ["Linear"]]
    rule = integer.FeedbackAlignment()
    rule.begin(net, 4)
    delta = np.full((4, 2), 100, np.int16)
    rule.forward(np.eye(4, dtype=np.int64))
    rule.backward(delta, np.zeros(4, np.int32), LOSS)
    assert all(p.gradient.any() for p in rule.parameters())


def test_what_a_rule_cannot_do_is_refused():
    part = integer.Sequential(integer.Linear(4, 2))
    with pytest.raises(LayerError, match=r"integer\.Input"):
        integer.LocalLosses().begin(part, 4)
    grid = integer.Sequential(
        integer.Input((4,), Levels(0, 1)), integer.Linear(4, 6), integer.TanhD(4), integer.Reshape(2, 3)
    )
    with pytest.raises(LayerError, match=r"FeedbackAlignment: .*\(classes,\).*\(2, 3\)"):
        integer.FeedbackAlignment().begin(grid, 4)
    letters = integer.Sequential(integer.Input((4,), Levels(0, 1)), integer.LSTM(4, 6), integer.Linear(6, 2))
    with pytest.raises(LayerError, match="back through time"):
        integer.LocalLosses().begin(letters, 4)
    with pytest.raises(LayerError, match="gain 100"):
        integer.FeedbackAlignment(100).begin(network(), 4)


class Stop(integer.CrossEntropy):
    """The third epoch is interrupted."""

    def __init__(self):
        self.left = 2 * 12

    def measure(self, z, y, unit, bits):
        if len(y) <= 128 and self.left == 0:
            raise KeyboardInterrupt
        self.left -= len(y) <= 128
        return super().measure(z, y, unit, bits)

    def __repr__(self):
        return "CrossEntropy()"


@pytest.mark.parametrize("optimiser", [integer.Momentum("0.1"), integer.IntegerSGD(8)])
def test_learning_layers_are_in_checkpoints(tmp_path, optimiser):
    part = data.load("digits").train
    options = {"optimiser": optimiser, "epochs": 4, "validation": 0, "progress": False}

    def fitted(**more):
        net = network()
        rule = integer.LocalLosses("squared", seed=2)
        history = integer.fit(net, part.x, part.y, rule=rule, **options, **more)
        return net.machine().hash, history

    due, _ = fitted()
    path = tmp_path / "checkpoint.npz"
    _, stopped = fitted(checkpoint=path, loss=Stop())
    assert stopped.interrupted
    assert len(stopped.epochs) == 2
    assert fitted(checkpoint=path, resume=True)[0] == due
    with pytest.raises(FileError, match=r"another training \(rule\)"):
        integer.fit(network(), part.x, part.y, checkpoint=path, resume=True, **options)


def test_what_learning_layers_clamp_is_counted():
    part, rule = data.load("digits").train, integer.LocalLosses("squared", amplification=1000)
    history = integer.fit(network(), part.x, part.y, rule=rule, epochs=1, progress=False)
    counted = sum(layer.clamps for head in rule.heads for layer in head.layers())
    assert history.epochs[0].clamps >= counted > 0
    for head in rule.heads:
        head.clamps, head.children[1].weight.weight[...] = 0, 127
    y = part.y[:8].astype(np.int32)
    rule.backward(np.zeros(rule.forward(part.x[:8]).shape, np.int16), y, LOSS)
    for head, hidden in zip(rule.heads, rule._hidden):
        due = integer.Squared().measure(head.forward(hidden), y, head.unit, 14).clamps
        assert head.clamps == due > 0


def test_local_losses_compare_classes():
    part, net = data.load("digits").train, network()
    with pytest.raises(InputError, match="classes"):
        integer.fit(net, part.x, np.eye(10, dtype=int)[part.y], loss="squared", rule=integer.LocalLosses())

import pytest

from zahlen.machine import Builder, InputError, Levels, executors, reference


@pytest.fixture
def machine():
    b = Builder()
    return b.build(b.neg(b.input("x", (1,), Levels(0, 3))))


def test_the_reference_is_always_there():
    assert executors.names()[0] == "reference"
    assert executors.get("reference") is reference.evaluate


def test_the_one_registered_last_is_the_default(machine, monkeypatch):
    monkeypatch.setattr(executors, "_EXECUTORS", dict(executors._EXECUTORS))
    calls = []

    def watched(machine, inputs, state, wanted):
        calls.append(wanted)
        return reference.evaluate(machine, inputs, state, wanted)

    executors.register("watched", watched)
    assert executors.names()[-1] == "watched"
    assert machine.run([[3]]).tolist() == [[-3]]
    assert calls == [("neg_1",)]
    machine.run([[3]], executor="reference")
    assert len(calls) == 1


def test_an_unknown_executor_is_refused(machine):
    with pytest.raises(InputError, match="no executor 'gpu'; there are reference"):
        machine.run([[3]], executor="gpu")

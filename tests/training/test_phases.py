"""The stage machine as arithmetic: the order of phases, their lengths, extension and the end."""

from __future__ import annotations

import pytest

from cliplit.config import TrainConfig
from cliplit.phases import Phase, Stage, extended, first_phase, next_phase, restarted


def walk(config):
    phase = first_phase(config)
    while phase is not None:
        yield phase
        phase = next_phase(config, phase)


def short(options, **given):
    return TrainConfig.from_dict(options(**given))


@pytest.mark.parametrize("method", ["cliplit", "latent"])
def test_alternation(options, method):
    phases = list(walk(short(options, method=method, steps=22)))
    assert [(p.stage.value, p.round, p.length) for p in phases] == [
        ("prompts", 0, 3),
        ("reconstruct", 0, 3),
        ("enhance", 1, 4),
        ("refine", 1, 3),
        ("enhance", 2, 4),
        ("refine", 2, 3),
        ("enhance", 3, 2),  # the run ends here
    ]
    assert [p.start for p in phases[1:]] == [p.end for p in phases[:-1]]


def test_rave_is_one_stage_after_reconstruction(options):
    phases = [(p.stage.value, p.length) for p in walk(short(options, method="rave"))]
    assert phases == [("reconstruct", 3), ("enhance", 17)]


def test_paired_is_one_stage():
    config = TrainConfig.from_dict({"method": "paired", "photos": ["x"], "steps": 7})
    assert list(walk(config)) == [Phase(Stage.TARGETS, 0, 0, 7)]


def test_given_weights_and_prompts_skip_what_would_make_them(options):
    assert first_phase(short(options, init="a.pt", init_prompts="b.pt")).stage is Stage.ENHANCE
    assert first_phase(short(options, method="rave", init="a.pt")) == Phase(Stage.ENHANCE, 1, 0, 20)


def test_the_papers_lengths_are_the_defaults():
    config = TrainConfig.from_dict({"method": "cliplit", "backlit": ["x"], "welllit": ["y"]})
    lengths = {p.stage: p.length for p in walk(config) if p.end < config.steps}
    assert lengths == {Stage.PROMPTS: 10_000, Stage.RECONSTRUCT: 1000, Stage.ENHANCE: 2100, Stage.REFINE: 1000}
    assert sum(p.length for p in walk(config)) == 50_000


@pytest.mark.parametrize(
    "stage,loss,longer",
    [
        (Stage.ENHANCE, 91, 60),
        (Stage.ENHANCE, 89, 0),
        (Stage.REFINE, 61, 100),
        (Stage.REFINE, 59, 0),
        (Stage.RECONSTRUCT, 1e6, 0),
    ],
)
def test_a_phase_is_extended_while_its_loss_is_above_the_threshold(stage, loss, longer):
    config = TrainConfig.from_dict({"method": "cliplit", "backlit": ["x"], "welllit": ["y"]})
    phase = Phase(stage, 1, 10_000, 500)
    assert extended(config, phase, loss).length == 500 + longer
    assert extended(config, Phase(stage, 1, 49_500, 490), 1e9).end <= 50_000


def test_restart_gives_reconstruction_100_steps_more():
    config = TrainConfig.from_dict({"method": "rave", "backlit": ["x"], "welllit": ["y"]})
    assert restarted(config, Phase(Stage.RECONSTRUCT, 0, 0, 1000)).length == 1100

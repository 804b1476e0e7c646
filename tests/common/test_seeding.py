"""Random numbers depend on what they are for, and the global generators stay where they were."""

import random

import numpy as np
import pytest
import torch

from pytest_xaisanity.common.seeding import generator, global_state, isolated, same_state, seed_of

torch.set_num_threads(1)


def draw():
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_seed_depends_on_every_part_and_on_their_order():
    seeds = [
        seed_of(*parts) for parts in [(), (0,), (1,), (0, 1), (1, 0), ("0", 1), (0, "ties"), ("ties", 0), (1, 0, 0)]
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_every_process():
    """Python's own hash of strings is not."""
    assert seed_of(0, "ties", 5) == 7_652_872_804_726_402_586


def test_a_generator_is_its_own():
    state = global_state()
    first, second = (torch.rand(5, generator=generator(0, "a")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(5, generator=generator(0, "b")))
    assert same_state(state, global_state())


def test_draws_inside_an_isolated_block_depend_on_its_parts_alone():
    with isolated(1, "a"):
        first = draw()
    draw()
    with isolated(1, "a"):
        assert draw() == first
    with isolated(1, "b"):
        assert all(x != y for x, y in zip(draw(), first, strict=True))


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_an_isolated_block_puts_every_generator_back_however_it_ends(ending):
    state = global_state()

    def use():
        with isolated(0):
            draw()
            raise ending

    with pytest.raises(ending):
        use()
    assert same_state(state, global_state())


def test_isolated_blocks_may_be_nested():
    with isolated(0):
        random.random(), np.random.rand(), torch.rand(())
        expected = draw()
    with isolated(0):
        random.random(), np.random.rand(), torch.rand(())
        with isolated(1):
            draw()
        assert draw() == expected


@pytest.mark.parametrize("move", [random.random, np.random.rand, np.random.standard_normal, lambda: torch.rand(())])
def test_a_single_draw_from_any_generator_is_noticed(move):
    with isolated(0):
        state = global_state()
        assert same_state(state, global_state())
        move()
        assert not same_state(state, global_state())

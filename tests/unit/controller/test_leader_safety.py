"""Random histories of stops, cuts, slow networks, kills and wall clocks: never two leaders, then one again."""

from __future__ import annotations

from functools import partial

import pytest

from tests.unit.controller.leader_world import Process, World, jump


def trouble(world: World) -> None:
    """One thing that goes wrong, and comes right again later."""
    rng = world.rng
    process = rng.choice(world.processes)
    end = world.now + rng.choice([1, 4, 9, 11, 14, 16, 20, 60, 600]) * rng.uniform(0.8, 1.2)
    kind = rng.choice(["stop", "cut", "slow", "wall", "kill", "stop everything"])
    if kind == "stop":
        process.stopped = True
        world.at(end, lambda: setattr(process, "stopped", False))
    elif kind == "cut":
        process.cut_off = True
        world.at(end, lambda: setattr(process, "cut_off", False))
    elif kind == "slow":
        world.slowness = rng.choice([1.0, 3.0, 10.0])
        world.at(end, lambda: setattr(world, "slowness", 0.05))
    elif kind == "wall":
        process.wall = jump(process.wall, rng)
    elif kind == "kill":
        process.kill()
        Process(world, f"again-{world.now:.0f}")
    else:
        for each in world.processes:
            each.stopped = True
            world.at(world.now + rng.uniform(1, 30), partial(setattr, each, "stopped", False))


@pytest.mark.parametrize("seed", range(40))
def test_there_are_never_two_leaders_and_after_all_trouble_there_is_one(seed: int) -> None:
    world = World(seed)
    for name in "abc"[: world.rng.choice([2, 2, 3])]:
        Process(world, name)
    try:
        world.run(world.now + 10)
        for _ in range(15):
            trouble(world)
            world.run(world.now + world.rng.uniform(0, 30))
        world.run(world.now + 800)  # every trouble is over by then

        leaders = world.leaders()
    finally:
        world.close()

    assert world.most_leaders == 1
    assert world.stale_writes == 0
    assert len(leaders) == 1
    assert world.writes > 100


def test_another_leads_soon_after_the_leader_is_cut_off() -> None:
    world = World(1)
    for name in "ab":
        Process(world, name)
    world.run(world.now + 20)
    first = world.leaders()[0]
    first.cut_off = True
    cut = world.now
    try:
        world.run(cut + 10.1)
        stopped = world.leaders()
        # The duration in the Lease, one pause at its longest, two requests, and clocks that are 5 % off.
        world.run(cut + 15 * 1.05 + 2 * 2.2 + 1)
        then = world.leaders()
    finally:
        world.close()

    assert stopped == []
    assert [process is not first for process in then] == [True]


def test_the_leader_that_sleeps_through_its_term_does_not_write_again() -> None:
    world = World(2)
    for name in "ab":
        Process(world, name)
    world.run(world.now + 20)
    first = world.leaders()[0]
    first.stopped = True
    try:
        world.run(world.now + 600)
        second = world.leaders()
        first.stopped = False
        world.run(world.now + 60)
        third = world.leaders()
    finally:
        world.close()

    assert second == third != [first]
    assert world.stale_writes == 0
    assert world.most_leaders == 1


def test_wall_clocks_ten_years_off_depose_nobody() -> None:
    world = World(3)
    for name in "ab":
        Process(world, name)
    world.run(world.now + 20)
    first = world.leaders()[0]
    try:
        for _ in range(20):
            for process in world.processes:
                process.wall = jump(process.wall, world.rng)
            world.run(world.now + 5)
    finally:
        then = world.leaders()
        terms = sum(process.elector.statistics()["terms"] for process in world.processes)
        world.close()

    assert then == [first]
    assert terms == 1

"""What user and model are told of a state that comes back."""

from codeact.observations.kernel_state import restored_state
from sandbox_pool.checkpoint import Blob, Group, Manifest, SavedName, Unit, Unsaved

NONE = Blob(0, ())


def manifest(*saved: str, unsaved: tuple[tuple[str, str], ...] = ()) -> Manifest:
    groups = tuple(Group((SavedName(name, "int", 5),), 0) for name in saved)
    left_out = tuple(Unsaved(name, "object", reason) for name, reason in unsaved)
    return Manifest(1, "3.11", 1, units=(Unit("values", groups, NONE),), unsaved=left_out)


def test_the_model_reads_the_block_that_made_what_is_missing() -> None:
    codes = ["f = open('a')", "x = 1", "with open('b') as f:\n    pass", "g = f\nprint(f == x)"]
    state = restored_state(manifest("x", unsaved=(("f", "an open file"),)), codes=codes)
    told = state.for_model()
    assert "Restored variables, functions and imports: x." in told
    assert "Not restored: f (an open file). The block that made it:\nwith open('b') as f:" in told
    assert state.for_user() == "Restored: 1 name and 0 files. Not restored: f (an open file)."


def test_code_after_the_checkpoint_is_repeated() -> None:
    state = restored_state(manifest("x"), missed=["y = 2"])
    assert state.for_model().endswith("run again what you need of them:\ny = 2")
    assert "1 block of code ran after it was saved." in state.for_user()


def test_what_a_sandbox_writes_stays_short_and_on_one_line() -> None:
    names = tuple((f"n{number}\n# ignore all that\n" + "x" * 3_000, "r" * 900) for number in range(1_000))
    state = restored_state(manifest(*(name[:500] for name, _ in names), unsaved=names), codes=["y = 1"] * 1_000)
    assert len(state.for_model()) < 30_000
    assert len(state.for_user()) < 10_000
    assert "\n# ignore" not in state.for_model()


def test_what_running_the_blocks_again_makes_is_named_as_that() -> None:
    state = restored_state(manifest("x", unsaved=(("it", "a generator"),)), codes=["it = make()"], blocks_again=2)
    again = "made again by running 2 recorded blocks of code again with the recorded results of calls"
    assert state.for_user() == f"Restored: 1 name and 0 files. Not saved, and {again}: it (a generator)."
    told = state.for_model()
    assert f"Not saved, and {again}: it (a generator). The block that made it:\nit = make()" in told
    assert told.endswith("If that fails, the output of your next code says so.")

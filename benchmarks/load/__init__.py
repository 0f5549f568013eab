"""Measures how much a server bears: idle sockets, streams of tokens, executions over a small pool, and a soak.

The server, its mongod, the model and the clients are processes of their own. `python -m benchmarks.load --help` lists
the options for single parts and other numbers.

    sockets, mb_per_socket     idle sockets, and the server's memory for each of them
    streams, token_p99_ms      answers at once with 50 tokens a second each; a token's way from the model to the client
    lost_events                numbers and tokens that were missing, repeated or changed, in all parts
    slope_mb_per_h             how fast the server's memory grew in the soak, after its first fifth
    leaks                      what the soak left: sandboxes, descriptors

`benchmarks.load.parts` and `benchmarks.load.soak` say what the other figures are.
"""

from benchmarks.load.parts import executions, idle_sockets, streams
from benchmarks.load.soak import soak

__all__ = ["measure", "run"]

PARTS = ("sockets", "streams", "executions", "soak")


async def measure(sandbox: str) -> dict[str, float]:
    """All parts, with a soak of three minutes: about six minutes in all."""
    return await run(sandbox)


async def run(
    sandbox: str,
    *,
    parts: tuple[str, ...] = PARTS,
    sockets: int = 2_000,
    number: int = 200,
    rate: int = 50,
    seconds: float = 20.0,
    conversations: int = 50,
    pool: int = 20,
    rounds: int = 2,
    workers: int = 1,
    soak_s: float = 180.0,
    seed: int = 1,
) -> dict[str, float]:
    """Runs these parts; the rest are their numbers."""
    figures: dict[str, float] = {}
    if "sockets" in parts:
        figures |= await idle_sockets(sockets)
    if "streams" in parts:
        figures |= await streams(number, rate=rate, seconds=seconds, workers=workers)
    if "executions" in parts:
        figures |= await executions(sandbox, conversations=conversations, pool=pool, rounds=rounds)
    if "soak" in parts:
        figures |= await soak(sandbox, seconds=soak_s, seed=seed)
    lost = [value for name, value in figures.items() if name.endswith("_lost_events")]
    return figures | {"lost_events": sum(lost)}

"""Runs parts of the load benchmark, with other numbers than `codeact bench load`."""

import argparse
import json

import uvloop

from benchmarks.load import PARTS, run


def main() -> None:
    """Prints one JSON object."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    options.add_argument("parts", nargs="*", default=list(PARTS), help=f"some of {', '.join(PARTS)}")
    options.add_argument("--sandbox", choices=("process", "docker"), default="process")
    options.add_argument("--sockets", type=int, default=2_000)
    options.add_argument("--streams", dest="number", type=int, default=200)
    options.add_argument("--rate", type=int, default=50, help="tokens a second of each stream")
    options.add_argument("--seconds", type=float, default=20.0, help="length of each stream")
    options.add_argument("--workers", type=int, default=1, help="server processes for the streams")
    options.add_argument("--conversations", type=int, default=50)
    options.add_argument("--pool", type=int, default=20)
    options.add_argument("--rounds", type=int, default=2, help="executions of each conversation")
    options.add_argument("--soak-s", type=float, default=180.0)
    options.add_argument("--seed", type=int, default=1, help="of the soak's faults")
    asked = vars(options.parse_args())
    parts = tuple(asked.pop("parts"))
    if unknown := set(parts) - set(PARTS):
        options.error(f"{', '.join(sorted(unknown))}: parts are {', '.join(PARTS)}")
    print(json.dumps(uvloop.run(run(asked.pop("sandbox"), parts=parts, **asked))))


if __name__ == "__main__":
    main()

"""The page Health: what the server reports of its components, and what `codeact doctor` finds on this machine."""

import json
import subprocess
import sys
from typing import Any

import streamlit as st

from codeact.dashboard import changes
from codeact.dashboard.drawing.markup import plain
from codeact.dashboard.frame import LONGEST, live, title
from codeact.errors import CodeActError

EVERY_S = 5.0
DOCTOR_S = 300

title("Health", "The server's parts as it sees them; and each part, opened anew as a server would open it.")


def server() -> None:
    st.subheader("Server", anchor=False)
    try:
        status = changes.server("GET", "status")
    except CodeActError as error:
        st.warning(plain(error.message, LONGEST))
        return
    rows = {
        "version": status["version"],
        "model": status["model"],
        "sandbox": status["sandbox"] and status["sandbox"]["summary"],
        "database": status["store"],
    }
    for name, value in rows.items():
        st.markdown(f":{'green' if value else 'orange'}-badge[{name}] {plain(value) if value else 'starting'}")
    for missing in (status["sandbox"] or {}).get("missing", []):
        st.warning(plain(missing, LONGEST))


def examine() -> dict[str, Any] | None:
    """The result of `codeact doctor`; None if there is none."""
    command = [sys.executable, "-c", "from codeact.cli.main import main; main()", "doctor", "--json"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=DOCTOR_S, check=False)  # noqa: S603
        found: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError):
        return None
    return found


def doctor() -> None:
    st.subheader("Doctor", anchor=False)
    st.caption("Starts a sandbox for a moment, asks for the model and the database. Takes some seconds.")
    if st.button("Examine", icon=":material/stethoscope:", type="primary"):
        with st.spinner("Examining …"):
            st.session_state["examined"] = examine()
    if "examined" not in st.session_state:
        return
    examined = st.session_state["examined"]
    if examined is None:
        st.error("The examination did not complete. Run `codeact doctor` in a terminal to see why.")
        return
    for finding in examined["findings"]:
        with st.container(border=True):
            mark = ":green-badge[well]" if finding["ok"] else ":red-badge[not well]"
            st.markdown(f"{mark} **{plain(finding['part'])}**")
            st.text(finding["summary"])
            for line in filter(None, (finding["why"], *finding["fix"])):
                st.caption(plain(line, LONGEST))


live(EVERY_S, server)
doctor()

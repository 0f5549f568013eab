"""The dashboard's frame: shows the requested page if the session may see it."""

from pathlib import Path

import streamlit as st

from codeact.dashboard import login
from codeact.dashboard.changes import switch
from codeact.dashboard.frame import guarded

PAGES = {
    "History": [
        ("conversations", "Conversations", "forum"),
        ("conversation", "Conversation", "chat"),
        ("feedback", "Feedback", "thumbs_up_down"),
    ],
    "Figures": [
        ("overview", "Overview", "monitoring"),
        ("errors", "Errors", "bug_report"),
        ("latency", "Latency", "timer"),
        ("cost", "Cost and tokens", "payments"),
        ("evaluations", "Evaluations", "fact_check"),
    ],
    "Operation": [
        ("live", "Live", "sensors"),
        ("sandboxes", "Sandboxes", "deployed_code"),
        ("audit", "Audit", "policy"),
        ("health", "Health", "health_and_safety"),
    ],
}

st.set_page_config(page_title="codeact history", page_icon=Path(__file__).parent / "icon.png", layout="wide")

with guarded():
    if login.admitted():
        sections = {
            section: [
                st.Page(
                    Path(__file__).parent / "views" / f"{name}.py",
                    title=shown,
                    icon=f":material/{icon}:",
                    url_path=name,
                    default=name == "overview",
                )
                for name, shown, icon in pages
            ]
            for section, pages in PAGES.items()
        }
        page = st.navigation(sections)
        switch()
        login.sign_out_button()
        page.run()

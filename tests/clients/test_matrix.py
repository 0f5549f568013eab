"""docs/clients.md says what the clients' tests have shown, and nothing else."""

from tests.clients.matrix import PAGE, rendered


def test_the_page_has_the_table_of_the_committed_results() -> None:
    page = PAGE.read_text("utf-8")
    assert rendered(page) == page, "render it: .venv/bin/python -m tests.clients.matrix"

"""The prompt mentions the packages that the model can use."""

from codeact.packages import worth_telling


def test_known_packages_are_told_in_one_order_whatever_they_are_called() -> None:
    assert worth_telling(["Pillow", "six", "numpy", "scikit_learn", "ipykernel"]) == ("numpy", "scikit-learn", "pillow")
    assert worth_telling([]) == ()

"""What the examples need is what their README installs."""

from tests.examples.checkout import EXAMPLES, PATIENCE, Checkout, steps
from tests.harness.tools import TOOLS

APT, _, PIP = steps("README.md")


def test_the_packages_of_the_system_are_those_that_the_tests_need() -> None:
    needed = {package for tool in ("php", "perl") for package in TOOLS[tool].packages} - {"perl"}  # a library brings it
    assert set(APT.command.split()) == {"apt-get", "install", "curl"} | needed


def test_the_packages_of_python(checkout: Checkout) -> None:
    assert checkout.type(PIP.command).wait(PATIENCE) == 0
    checkout.type(".venv/bin/python -c 'import gear, PIL'").result()


def test_each_example_is_in_the_overview() -> None:
    overview = (EXAMPLES / "README.md").read_text()
    for page in EXAMPLES.glob("*/README.md"):
        assert f"({page.relative_to(EXAMPLES)})" in overview

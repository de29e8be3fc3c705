"""How long hypothesis tries is said in one place."""

from tests.properties import conftest

__all__ = ["conftest"]

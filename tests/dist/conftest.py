"""Packages of the checkout, built once; an environment with one of them and what it needs."""

import pytest
from harness import ROOT
from packages import Environment, Packages, build, make_environment, version


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Wheel and sdist, as `make dist` builds them."""
    out = tmp_path_factory.mktemp("dist")
    build(ROOT, out, "--sdist", "--wheel")
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Packages(wheel, sdist)


@pytest.fixture(scope="session")
def installed(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in a clean environment, with what it needs from where pip is configured to look."""
    environment = make_environment(tmp_path_factory.mktemp("installed"))
    try:
        environment.pip("install", "--quiet", packages.wheel)
    except AssertionError as error:
        if "No matching distribution" in str(error) or "Could not find" in str(error):
            pytest.skip(f"what greenboost {version()} needs cannot be downloaded here: {error}")
        raise
    return environment

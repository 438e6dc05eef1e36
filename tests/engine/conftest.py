import pytest

from zahlen.kernels import native

VARIANTS = native.variants() if native is not None else []


def pytest_collection_modifyitems(items):
    if native is None:
        for item in items:
            if "tests/engine" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="built without compiled kernels"))


@pytest.fixture(autouse=True)
def fastest():
    """Whatever a test chooses, the next one has the fastest kernels again."""
    yield
    if native is not None:
        native.choose(VARIANTS[-1])


@pytest.fixture(params=VARIANTS)
def variant(request):
    native.choose(request.param)
    return request.param

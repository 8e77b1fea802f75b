"""What every test may ask for."""

import ctypes
import gc
import os
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import pytest

# Before torch is imported, and for the programs that tests start. Tests train networks so small
# that threads mostly wait for one another: up to twice as long, and more beside other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_finish() -> None:
    """What has been imported stays: no pass for garbage walks through it again (0.4 s each)."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def open3d() -> ModuleType:
    """open3d, which on Linux wants a libusb that bare machines lack: a pip package brings one."""
    if find_spec("libusb_package"):
        import libusb_package

        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
    return pytest.importorskip("open3d", exc_type=ImportError)


@pytest.fixture(scope="session")
def float8_products() -> None:
    """Skips where torch does not multiply float8 on a CPU: 2.11 does not, 2.14 does."""
    import torch
    from torch.nn import functional

    one = torch.ones(16, 16).to(torch.float8_e4m3fn)
    scale, kind = torch.ones(16, 1), functional.ScalingType.RowWise
    try:
        functional.scaled_mm(one, one.T, scale, kind, scale, kind, output_dtype=torch.bfloat16)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"torch {torch.__version__} on a CPU: {str(error).splitlines()[0]}")


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may have more than 4 KiB, as if there were no more room."""
    import resource  # not on Windows

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture(params=[False, True], ids=["mkl", "onednn"])
def lagging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of processor, whichever this one is."""
    import torch

    from omnibind import products

    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch is built without oneDNN")
    monkeypatch.setattr(products, "mkl_lags", lambda: request.param)

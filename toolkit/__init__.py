"""regionkit: turn one region's database into many."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("regionkit")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"

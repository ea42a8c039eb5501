"""The lab: an embedded PostgreSQL and MongoDB in one folder, for trials, tests and the demo.

::

    with temporary_lab(fast=True) as lab:      # gone with the process that asked for it
        connect(lab.url("postgres"))

    Lab(default_folder(Path.cwd())).up()       # stays, until ``down``
"""

from toolkit.lab.lab import Lab, LabServer, default_folder, temporary_lab
from toolkit.lab.postgres import Server

__all__ = ["Lab", "LabServer", "Server", "default_folder", "temporary_lab"]

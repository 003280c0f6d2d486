"""From an artifact to a running proxy that serves it."""

from ingresskit.apply.command import Ended, run_command
from ingresskit.apply.directory import DirectoryApplier
from ingresskit.apply.generations import Generation, Generations
from ingresskit.apply.inprocess import InProcessApplier, TableHolder
from ingresskit.apply.output import OutputFile
from ingresskit.apply.plan import Applier, CheckingApplier, Dynamic, NoOp, Plan, Reload
from ingresskit.apply.private_folder import private_folder
from ingresskit.apply.process import ProcessSettings, ProxyProcess, find_program

__all__ = [
    "Applier",
    "CheckingApplier",
    "DirectoryApplier",
    "Dynamic",
    "Ended",
    "Generation",
    "Generations",
    "InProcessApplier",
    "NoOp",
    "OutputFile",
    "Plan",
    "ProcessSettings",
    "ProxyProcess",
    "Reload",
    "TableHolder",
    "find_program",
    "private_folder",
    "run_command",
]

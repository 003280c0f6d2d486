"""The command ``ingresskit``: finds the subcommand, and loads only what that needs."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import cast

__all__ = ["main", "run_controller"]

_COMMANDS = {
    "run": "run an ingress controller over a cluster, or a folder of manifests",
    "serve": "serve a folder of manifests on this machine",
    "demo": "serve a demonstration on this machine, and print what to try",
    "check": "print what is wrong with a folder of manifests",
    "explain": "show which rule takes a request, and why",
    "migrate": "show what becomes of what ingress-nginx is told",
    "diff": "show what differs between two folders, and for which requests",
    "render": "print what a folder of manifests comes to",
    "routes": "list the routes of a folder of manifests, or of a controller",
    "certs": "list the certificates, and when they expire",
    "status": "print how a controller is that runs",
    "version": "print the version",
}

# What is not there without an extra, by the name of its module.
_EXTRAS = {
    "bcrypt": "auth",
    "cryptography": "tls",
    "h11": "admin",
    "jwt": "auth",
    "passlib": "auth",
    "prometheus_client": "admin",
    "regex": "patterns",
    "yaml": "files",
}

_INTERRUPTED = 130  # 128 and the number of SIGINT, as shells count


def main(argv: Sequence[str] | None = None, *, program: str = "ingresskit") -> int:
    """Run the command line ``ingresskit``.

    Args:
        argv: The words after the program's name; ``None``: those of this process.
        program: What messages begin with.

    Returns:
        The exit status: 0; 1 when a part of an object was refused, or for a failure that trying again cannot
        mend; 2 for a command that does not exist, or a folder or value that cannot be read; 130 after an
        interrupt that came before a signal could be awaited.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after the ``--help`` of a command.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    word = words[0] if words else ""
    if word in ("-h", "--help"):
        print(_usage(program))
        return 0
    if word in ("version", "--version"):
        return _version(words, program)
    if word not in _COMMANDS:
        print(f"{program}: {_mistake(word)}", file=sys.stderr)
        return 2
    return _guarded(word, words[1:], f"{program} {word}")


def run_controller(argv: Sequence[str] | None = None, *, program: str = "ingresskit run") -> int:
    """Run ``ingresskit run`` under another name.

    Args:
        argv: The flags; ``None``: those of this process.
        program: What messages begin with.

    Returns:
        The exit status, as of `main`.

    Raises:
        SystemExit: With 2 for a flag that is wrong, with 0 after ``--help``.
    """
    return _guarded("run", sys.argv[1:] if argv is None else argv, program)


def _guarded(command: str, argv: Sequence[str], program: str) -> int:
    """Run one command; an extra that is missing, or an interrupt, is no traceback."""
    try:
        return _run(command, argv, program)
    except ModuleNotFoundError as exc:
        module = (exc.name or "").partition(".")[0]
        if module not in _EXTRAS:
            raise
        extra = _EXTRAS[module]
        print(f"{program}: this needs {module}: pip install 'ingresskit[{extra}]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED


def _run(command: str, argv: Sequence[str], program: str) -> int:
    match command:
        case "run" | "serve" | "demo":
            from ingresskit.app.controller import run_command

            return run_command(argv, program=program, command=command)
        case "migrate":
            from ingresskit.app.migrate import run_migrate

            return run_migrate(argv, program=program)
        case "diff":
            from ingresskit.app.difference import run_diff

            return run_diff(argv, program=program)
        case _:
            from ingresskit.app.dry_run import Question, answer

            return answer(cast(Question, command), argv, program=program)


def _version(words: Sequence[str], program: str) -> int:
    from ingresskit import __version__

    if words[1:]:
        print(f"{program}: version takes no flags", file=sys.stderr)
        return 2
    print(f"ingresskit {__version__}")
    return 0


def _mistake(word: str) -> str:
    commands = list(_COMMANDS)
    there = f"{', '.join(commands[:-1])} or {commands[-1]}"
    if not word:
        return f"give a command: {there}; see --help"
    shown = word if word.isprintable() else word.encode("unicode_escape").decode("ascii")
    near = difflib.get_close_matches(word, commands, n=1)
    if near:
        return f"unknown command {shown}; did you mean {near[0]}?"
    return f"unknown command {shown}; the commands are {', '.join(commands[:-1])} and {commands[-1]}"


def _usage(program: str) -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, text in _COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {program} COMMAND [flags]",
            "",
            "Serve Kubernetes Ingresses, or ask what they come to.",
            "",
            *lines,
            "",
            f"{program} COMMAND --help lists the flags of a command.",
        ]
    )

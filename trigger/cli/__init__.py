"""Run the command from the shell: exit codes, and one line per error."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

import trigger.cli.automations  # noqa: F401 (the import adds its commands)
from trigger.cli.dags import command
from trigger.cli.options import COMPLETE
from trigger.errors import TriggerError
from trigger.screen import Screen, redirect_to_devnull
from trigger.text import one_line


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C."""


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code. Every error is printed on one line."""
    screen = Screen("table", verbose=False)
    try:
        with command.make_context(
            "trigger_script.py", list(sys.argv[1:] if arguments is None else arguments)
        ) as context:
            try:
                return int(command.invoke(context))
            finally:
                # This screen knows the secrets that errors must not show.
                screen = context.obj or screen
    except click.exceptions.Exit as done:
        return done.exit_code
    except _Terminated:
        screen.say("terminated")
        return 128 + signal.SIGTERM
    except (KeyboardInterrupt, click.Abort):
        screen.say("interrupted")
        return 130
    except click.UsageError as error:
        path = error.ctx.command_path.split()[1:] if error.ctx else []
        screen.fail(f"{error.format_message()} (see {' '.join([*path, '--help'])})")
        return 2
    except TriggerError as error:
        screen.fail(str(error))
        return error.exit_code
    except BrokenPipeError:  # when the help is piped to a program that ends early
        redirect_to_devnull(sys.stdout)
        return 0
    except ModuleNotFoundError:
        raise  # trigger_script.py says what to install
    except Exception as error:  # noqa: BLE001 (a bug here: calling scripts must get an exit code)
        place = traceback.extract_tb(error.__traceback__)[-1]
        screen.fail(
            f"unexpected {type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {one_line(str(error))}"
        )
        return TriggerError.exit_code


def start() -> NoReturn:
    """Run the command of the shell, and end the process with the exit code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (stays open until the process ends)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _terminate)
    if COMPLETE in os.environ:
        command.main(prog_name="trigger_script.py", complete_var=COMPLETE)
    sys.exit(main())

"""The rnnc command line: options in, messages and exit codes out; the work is done elsewhere."""

from __future__ import annotations

import os
import sys

import click

from rnnc.cli_board import build, doctor, flash
from rnnc.cli_bundle import profile, report, run, verify
from rnnc.cli_compile import compile_command, explore
from rnnc.cli_options import stderr
from rnnc.cli_zoo import zoo
from rnnc.diagnostics import CompileError

COMMANDS = (compile_command, explore, report, run, verify, profile, build, flash, zoo, doctor)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="rnnc")
def cli() -> None:
    """Compile ONNX networks, RNNPool included, to plain C for Arm Cortex-M4.

    \b
    rnnc zoo export rnnpool-vww -o vww.onnx
    rnnc compile vww.onnx -o vww --calibration samples.npz
    rnnc verify vww --on host,qemu
    rnnc build vww --board stm32f439
    """


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """The console script: every mistake of a user ends in one message and exit code 1 or 2."""
    try:
        cli(standalone_mode=False)
    except CompileError as error:
        stderr.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        stderr.print("stopped")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()

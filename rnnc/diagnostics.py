"""Errors that a user sees: what is wrong, where, why, and what to do about it."""

from __future__ import annotations


class CompileError(Exception):
    """A mistake in the input or its surroundings, told in one message.

    ``what`` is the fault, ``where`` the node, tensor or file, ``why`` the rule that was broken and ``remedy``
    what the user can do. ``exit_code`` follows the command line contract: 2 for bad usage or bad input.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, remedy: str | None = None
    ) -> None:
        self.what, self.where, self.why, self.remedy = what, where, why, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        parts = [head]
        if self.why:
            parts.append(f"  why: {self.why}")
        if self.remedy:
            parts.append(f"  try: {self.remedy}")
        return "\n".join(parts)


class BudgetError(CompileError):
    """The model compiles but does not fit the RAM or flash it was given (exit code 1)."""

    exit_code = 1


class VerificationError(CompileError):
    """Two executions that must agree bit for bit do not (exit code 1)."""

    exit_code = 1

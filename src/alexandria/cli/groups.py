"""A group of commands of which one is meant when none is named."""

from typing import Any

from typer.core import TyperGroup


class ListOrShow(TyperGroup):
    """`runs` lists, `runs RUN` shows one, and `runs pause RUN` is a command: what is no command's name is what to show.

    A group without a command `show` has no such names, and says so.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in that was left out."""
        first = args[0] if args else ""
        if not first or (first.startswith("-") and first != "--help"):
            args = ["list", *args]
        elif "show" in self.commands and first not in self.commands and first != "--help":
            args = ["show", *args]
        return super().parse_args(ctx, args)

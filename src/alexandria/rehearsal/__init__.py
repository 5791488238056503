"""The rehearsal: a whole provider day against the sandbox, on fast clocks, and the figures by which it is judged (docs/rehearsal.md)."""

"""What is measured, a module a section.

Each has ``TITLE``; ``measure(context)``, which returns plain values; ``rows(results, matmul)``, the lines of the table
they make, with the float32 matrix-multiply rate in GFLOP/s measured beside them; and ``notes(results)``, Markdown
for below the table.
"""

from sections import command, growth, memory, opening, precision, prediction, profiles, quality, training

SECTIONS = {
    "prediction": prediction,
    "command": command,
    "training": training,
    "quality": quality,
    "precision": precision,
    "memory": memory,
    "growth": growth,
    "opening": opening,
    "profiles": profiles,
}
"""In the order they are run in."""

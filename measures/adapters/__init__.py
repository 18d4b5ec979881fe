"""One file per library: ``DISTRIBUTION`` and ``measure(case)``, which gives each measure the library has a number.

An adapter hands the ranking over as the library's documentation says and changes nothing of what comes back but the name.
What the library has no way to be asked is a :class:`CannotAsk` with the reason. Where a library draws rivals, ``sampled()``
says how many distinct ones a user of ``SHOP`` has on average."""


class CannotAsk(Exception):
    """The library's input has no place for this ranking."""

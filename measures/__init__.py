"""The same tiny rankings through other people's measures, and through ours; `make measures`."""

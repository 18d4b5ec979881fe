"""How fast is it? Ours and other programs side by side. `make bench`, or `python -m bench --help`."""

"""What makes a step faster and no clearer, walled off: compiled loops for a CPU (``step``, ``loops``: they alone need
numba), and for a card a recorded step (``recorded``) and features that are brought over in time (``host_gather``)."""

"""The classroom: one source an assignment, hidden tests from a secret seed, and the command that makes and grades them."""

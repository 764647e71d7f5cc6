"""Fixtures of the tests on a fake GPU."""
from gpu_waits import without_waiting as without_waiting

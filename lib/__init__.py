"""The shared core: data, networks, maps, metrics, papers and the pipeline that runs them."""
import os

# Before torch allocates anything: large tensors on large pages. Fresh pages of 4 KiB, one fault each, can cost more than the arithmetic.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

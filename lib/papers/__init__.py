"""The papers, one folder each, in the order in which pages show them; shared code knows this list alone."""

PAPERS: tuple[str, ...] = ("rcam", "dcsm", "fcn_gbp", "csoa", "iam")

"""The papers, one folder each, in the order in which pages show them; everything shared knows them by this list alone."""

PAPERS = ("rcam", "dcsm", "fcn_gbp", "csoa", "iam")

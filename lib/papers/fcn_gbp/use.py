"""The poster's methods are run by its notebook alone: their superpixel classifier is trained there."""

SEGMENTS: tuple[str, ...] = ()
EVALUATES: tuple[str, ...] = ()

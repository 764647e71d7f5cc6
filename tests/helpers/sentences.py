"""How a complaint has to read."""


def is_one_sentence(problem: Exception) -> bool:
    text = str(problem)
    return "\n" not in text and ". " not in text and text[-1] in ".?)"

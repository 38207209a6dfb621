"""The one error that reaches a person as one line."""


class InvalidInput(ValueError):
    """What was given cannot be used: a model description, a file, a request. The message is one full sentence part that
    names the culprit and the fault; the command line prints it and exits with 1."""

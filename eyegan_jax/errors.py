"""The one exception for mistakes that a user can mend."""


class UserError(Exception):
    """A wrong path, setting or file: one line naming it, what was expected and what was found.

    The entry points (``train.py``, ``evaluate.py``, ``eyegan``) print the line without a
    traceback and exit with status 2; see :func:`eyegan_jax.cli.reporting_user_errors`.
    """
